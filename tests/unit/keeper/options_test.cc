// SPDX-License-Identifier: Apache-2.0
#include "keeper/options.h"

#include <gtest/gtest.h>

#include <vector>

#include "vbond/keeper/keeper.h"

namespace qmasq::keeper {
namespace {

CommandLine parse(std::vector<const char*> words) {
  words.insert(words.begin(), "qmasq-keeper");
  return parse_command_line(static_cast<int>(words.size()), words.data());
}

TEST(KeeperOptions, Defaults) {
  auto command = parse({});
  ASSERT_TRUE(command.options);
  EXPECT_EQ(command.options->socket, vbond::kDefaultKeeperSocket);
  EXPECT_EQ(command.options->most, kUsualDescriptors);
}

TEST(KeeperOptions, BothForms) {
  for (const auto& words : {std::vector<const char*>{"--socket", "/a", "--max-descriptors", "7"},
                            std::vector<const char*>{"--socket=/a", "--max-descriptors=7"}}) {
    auto command = parse(words);
    ASSERT_TRUE(command.options) << command.text;
    EXPECT_EQ(command.options->socket, "/a");
    EXPECT_EQ(command.options->most, 7U);
  }
}

TEST(KeeperOptions, WrongOnesAreNamed) {
  struct Case {
    std::vector<const char*> words;
    const char* part;
  };
  for (const auto& one : {
           Case{{"--sockets", "/a"}, "\"--sockets\""},
           Case{{"--socket"}, "--socket needs a value"},
           Case{{"--max-descriptors", "0"}, "\"0\" is not 1 to 16000"},
           Case{{"--max-descriptors=16001"}, "\"16001\""},
           Case{{"--max-descriptors", "7x"}, "\"7x\""},
           Case{{"--max-descriptors", "-7"}, "\"-7\""},
           Case{{"stray"}, "\"stray\""},
       }) {
    auto command = parse(one.words);
    EXPECT_FALSE(command.options);
    EXPECT_EQ(command.exit_code, 2);
    EXPECT_NE(command.text.find(one.part), std::string::npos) << command.text;
  }
}

TEST(KeeperOptions, HelpAndVersionAreNoErrors) {
  for (const char* word : {"--help", "-h", "--version"}) {
    auto command = parse({word});
    EXPECT_FALSE(command.options);
    EXPECT_EQ(command.exit_code, 0);
    EXPECT_FALSE(command.text.empty());
  }
}

}  // namespace
}  // namespace qmasq::keeper
