// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include <CLI/CLI.hpp>

#include "cli/app.h"

// docs/cli.md has a synopsis of each command, made here from the tree of commands.
namespace qmasq::cli {
namespace {

std::string synopsis_option(const CLI::Option& option) {
  std::string text;
  for (const std::string& name : option.get_snames())
    text += (text.empty() ? "-" : "|-") + name;
  for (const std::string& name : option.get_lnames())
    text += (text.empty() ? "--" : "|--") + name;
  std::string type = option.get_type_name();
  type = type.substr(0, type.find(":INT in"));  // what a validator adds
  if (!type.empty()) text += " " + type;        // flags have none
  if (option.get_expected_max() > 1) text += "...";
  return option.get_required() ? text : "[" + text + "]";
}

void add_synopsis(const CLI::App& app, const std::string& path, std::string& out) {
  auto visible = app.get_subcommands([](const CLI::App* sub) { return !sub->get_group().empty(); });
  for (const CLI::App* sub : visible)
    add_synopsis(*sub, path + " " + sub->get_name(), out);
  if (!visible.empty()) return;
  std::string line = path;
  for (const std::string& alias : app.get_aliases())
    line += "|" + alias;
  std::vector<std::string> words;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) words.push_back(option->get_type_name());
  }
  for (const CLI::Option* option : app.get_options()) {
    // The common ones are told once.
    if (option->get_positional() || option->get_group() == "Common options") continue;
    if (option->check_lname("help")) continue;
    words.push_back(synopsis_option(*option));
  }
  if (app.get_name() == "run") words.emplace_back("-- PROGRAM [ARGUMENTS...]");
  constexpr std::size_t kWidth = 100;
  std::size_t start = 0;
  for (const std::string& word : words) {
    if (line.size() - start + 1 + word.size() > kWidth) {
      start = line.size() + 1;
      line += "\n       ";
    }
    line += " " + word;
  }
  out += line + "\n";
}

TEST(Docs, TheSynopsisIsThatOfTheProgram) {
  std::ostringstream sink;
  Console console{sink, sink, false, [](const std::string&) { return std::string(); }};
  Shell shell{console, {}, {}, {}, false};
  auto app = build_app(shell);
  std::string expected;
  add_synopsis(*app, "qmasq", expected);

  std::ifstream file("docs/cli.md");
  ASSERT_TRUE(file) << "run from the root of the repository";
  std::stringstream text;
  text << file.rdbuf();
  std::string page = text.str();
  std::string open = "<!-- synopsis: checked by cli_test -->\n```\n";
  std::size_t begin = page.find(open);
  ASSERT_NE(begin, std::string::npos);
  begin += open.size();
  EXPECT_EQ(page.substr(begin, page.find("```", begin) - begin), expected)
      << "docs/cli.md needs this between the marks:\n"
      << expected;
}

}  // namespace
}  // namespace qmasq::cli
