// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "cli/app.h"
#include "cli/batch/lines.h"
#include "tests/support/temp_dir.h"

namespace qmasq::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST(Words, AreThoseOfAShell) {
  EXPECT_THAT(*split_words("vpc  create\tblue "), ElementsAre("vpc", "create", "blue"));
  EXPECT_THAT(*split_words("a 'b c' \"d 'e\" f\\ g h'i'j ''"),
              ElementsAre("a", "b c", "d 'e", "f g", "hij", ""));
  EXPECT_THAT(*split_words(R"("say \"so\"" '\')"), ElementsAre("say \"so\"", "\\"));
  EXPECT_THAT(*split_words("a#b # comment 'not closed"), ElementsAre("a#b"));
  EXPECT_THAT(*split_words("  "), IsEmpty());
  EXPECT_THAT(*split_words("# all"), IsEmpty());
}

TEST(Words, WhatIsNotClosedIsSaid) {
  EXPECT_THAT(split_words("a 'b").error().message, HasSubstr("within '"));
  EXPECT_THAT(split_words("\"b").error().message, HasSubstr("within \""));
  EXPECT_THAT(split_words("b\\").error().message, HasSubstr("after \\"));
}

class Batch : public ::testing::Test {
 protected:
  int run(const std::string& lines, std::vector<std::string> more = {}) {
    std::ofstream(file_) << lines;
    std::vector<std::string> args{"batch", file_};
    args.insert(args.end(), more.begin(), more.end());
    Console console{out_, err_, false, [](const std::string&) { return std::string(); }};
    return run_cli(args, console);
  }
  qmasq::testing::TempDir folder_;
  const std::string file_ = folder_.file("lines");
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(Batch, DoesEachLine) {
  EXPECT_EQ(run("version\n\n# nothing\nversion -o json\n"), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("qmasq 0."));
  EXPECT_THAT(out_.str(), HasSubstr("\"version\""));
  EXPECT_EQ(err_.str(), "");
}

TEST_F(Batch, EndsAtTheFirstThatFailsAndSaysWhere) {
  EXPECT_EQ(run("version\nvpc crate blue\nversion -o json\n"), 2);
  EXPECT_THAT(err_.str(), HasSubstr("no command 'crate'"));
  EXPECT_THAT(err_.str(), HasSubstr("line 2 of " + file_));
  EXPECT_THAT(out_.str(), Not(HasSubstr("json")));
  EXPECT_THAT(out_.str(), Not(HasSubstr("\"version\"")));
}

TEST_F(Batch, KeepsGoingWhenAsked) {
  EXPECT_EQ(run("vpc 'crate\nversion\n", {"--keep-going"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("line 1 of "));
  EXPECT_THAT(out_.str(), HasSubstr("qmasq 0."));
}

TEST_F(Batch, TheControllerOfTheWholeIsThatOfEachLine) {
  const std::string nowhere = "unix:" + folder_.file("nobody.sock");
  EXPECT_EQ(run("vpc list\n", {"--controller", nowhere}), 3);
  EXPECT_THAT(err_.str(), HasSubstr("nobody.sock"));
}

TEST_F(Batch, WhatCannotBeDoneInIt) {
  EXPECT_EQ(run("run --endpoint blue/a -- true\n"), 2);
  EXPECT_THAT(err_.str(), HasSubstr("batch does not do 'run'"));
  EXPECT_EQ(run("batch " + file_ + "\n"), 2);
}

TEST_F(Batch, FileThatIsNotThere) {
  std::vector<std::string> args{"batch", folder_.file("none")};
  Console console{out_, err_, false, [](const std::string&) { return std::string(); }};
  EXPECT_EQ(run_cli(args, console), 2);
  EXPECT_THAT(err_.str(), HasSubstr("No such file"));
}

}  // namespace
}  // namespace qmasq::cli
