// SPDX-License-Identifier: Apache-2.0
#include "cli/completion/completion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <fstream>
#include <sstream>

#include <CLI/CLI.hpp>

#include "cli/app.h"
#include "tests/support/temp_dir.h"

namespace qmasq::cli {
namespace {

using ::testing::Contains;
using ::testing::Not;

class Completion : public ::testing::Test {
 protected:
  Completion()
      : console_{sink_, sink_, false, [](const std::string&) { return std::string(); }},
        shell_{console_, {}, {}, {}, false},
        app_(build_app(shell_)) {}

  // Candidates that bash offers for the last of `words`, with a qmasq that knows two names of each
  // kind.
  std::string bash(const std::string& words) {
    std::string script = folder_.file("qmasq.bash");
    std::ofstream(script) << completion_script(*app_, ShellKind::kBash);
    std::string driver = folder_.file("driver");
    std::ofstream(driver) << "source " << script
                          << "\nqmasq() { [[ $1 == __complete ]] || return; shift\n"
                             "for i; do if [[ $i == [A-Z]* ]]; then echo $i-one $i-two;"
                             " else echo $i; fi; done; }\n"
                             "COMP_WORDS=("
                          << words
                          << ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_qmasq\n"
                             "echo \"${COMPREPLY[*]}\"\n";
    FILE* pipe = ::popen(("bash --norc " + driver + " 2>&1").c_str(), "r");
    std::string out;
    for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe))
      out += static_cast<char>(c);
    ::pclose(pipe);
    if (!out.empty()) out.pop_back();
    return out;
  }
  qmasq::testing::TempDir folder_;
  std::ostringstream sink_;
  Console console_;
  Shell shell_;
  std::unique_ptr<CLI::App> app_;
};

TEST_F(Completion, BashAndZshAndFishTakeTheirScripts) {
  const std::pair<const char*, ShellKind> shells[] = {
      {"bash", ShellKind::kBash}, {"zsh", ShellKind::kZsh}, {"fish", ShellKind::kFish}};
  for (auto [name, kind] : shells) {
    std::string script = completion_script(*app_, kind);
    EXPECT_THAT(script, Not(::testing::HasSubstr("@PATHS")));
    if (std::system((std::string("command -v ") + name + " > /dev/null").c_str()) != 0) continue;
    std::ofstream(folder_.file(name)) << script;
    EXPECT_EQ(std::system((std::string(name) + " -n " + folder_.file(name)).c_str()), 0) << name;
  }
}

TEST_F(Completion, KnowsEveryCommandOfTheTree) {
  auto all = command_words(*app_);
  std::vector<std::string> paths;
  paths.reserve(all.size());
  for (const CommandWords& words : all)
    paths.push_back(words.path);
  EXPECT_THAT(paths, Contains("qmasq vpc create"));
  EXPECT_THAT(paths, Contains("qmasq agent"));
  EXPECT_THAT(paths, Not(Contains("qmasq __complete")));
}

TEST_F(Completion, BashOffersCommandsOptionsValuesAndNames) {
  EXPECT_EQ(bash("qmasq vp"), "vpc");
  EXPECT_EQ(bash("qmasq vpc ''"), "create list get update delete");
  EXPECT_EQ(bash("qmasq vpc list --pa"), "--page-size");
  EXPECT_EQ(bash("qmasq vpc list -o ''"), "table json yaml");
  EXPECT_EQ(bash("qmasq vpc get ''"), "VPC-one VPC-two");
  EXPECT_EQ(bash("qmasq endpoint list --vpc VPC-t"), "VPC-two");
  EXPECT_EQ(bash("qmasq run --endpoint ''"), "ENDPOINT-one ENDPOINT-two");
  EXPECT_EQ(bash("qmasq endpoint create blue/a --host ''"), "HOST-one HOST-two");
  EXPECT_EQ(bash("qmasq vpc create --range ''"), "");
  EXPECT_EQ(bash("qmasq trace --to ''"), "ENDPOINT-one ENDPOINT-two");
  EXPECT_EQ(bash("qmasq vpc delete --validate-only ''"), "VPC-one VPC-two");
  EXPECT_EQ(bash("qmasq vpc delete --wait ''"), "VPC-one VPC-two");
  EXPECT_EQ(bash("qmasq conn list --wa"), "");
  EXPECT_EQ(bash("qmasq run -e blue/a -- /bin/basenam"), "/bin/basename");
}

TEST_F(Completion, BashKnowsPoliciesAndWhichArgumentItIs) {
  EXPECT_EQ(bash("qmasq qos ''"), "policy attach detach show");
  EXPECT_EQ(bash("qmasq qos policy get ''"), "POLICY-one POLICY-two");
  EXPECT_EQ(bash("qmasq qos attach ''"), "POLICY-one POLICY-two");
  EXPECT_EQ(bash("qmasq qos attach gold V"), "VPC-one VPC-two");
  EXPECT_EQ(bash("qmasq qos attach --force gold ''"), "VPC-one VPC-two ENDPOINT-one ENDPOINT-two");
  EXPECT_EQ(bash("qmasq qos attach --etag e7 ''"), "POLICY-one POLICY-two");
  EXPECT_EQ(bash("qmasq qos attach gold blue ''"), "");
  EXPECT_EQ(bash("qmasq qos detach ''"), "VPC-one VPC-two ENDPOINT-one ENDPOINT-two");
  EXPECT_EQ(bash("qmasq vpc update blue --qos ''"), "POLICY-one POLICY-two none");
  EXPECT_EQ(bash("qmasq endpoint create blue/a --qos n"), "none");
  EXPECT_EQ(bash("qmasq qos policy create gold --maximum ''"), "none");
  EXPECT_EQ(bash("qmasq qos policy update gold --quota ''"), "");
  EXPECT_EQ(bash("qmasq qos show --host ''"), "HOST-one HOST-two");
  EXPECT_EQ(bash("qmasq top --in"), "--interval");
  // A value that is spelt like a command is none.
  EXPECT_EQ(bash("qmasq --controller qos vpc ''"), "create list get update delete");
}

}  // namespace
}  // namespace qmasq::cli
