// SPDX-License-Identifier: Apache-2.0
#include "cli/app.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <sstream>

#include <CLI/CLI.hpp>

namespace qmasq::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Ran {
  int code = -1;
  std::string out;
  std::string err;
};

Ran run(std::vector<std::string> args, std::map<std::string, std::string> env = {}) {
  std::ostringstream out;
  std::ostringstream err;
  Console console{out, err, false, [&](const std::string& name) { return env[name]; }};
  int code = run_cli(std::move(args), console);
  return {code, out.str(), err.str()};
}

TEST(CommandLine, VersionIsOneLine) {
  Ran ran = run({"version"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.out, testing::MatchesRegex("qmasq [0-9]+\\.[0-9]+\\.[0-9]+\n"));
  EXPECT_EQ(ran.err, "");
}

TEST(CommandLine, EveryCommandHasHelpWithItsPathAndAnExample) {
  std::ostringstream sink;
  Console console{sink, sink, false, [](const std::string&) { return std::string(); }};
  Shell shell{console, {}, {}, {}, false};
  auto app = build_app(shell);
  int leaves = 0;
  std::function<void(const CLI::App*, std::vector<std::string>)> visit =
      [&](const CLI::App* at, std::vector<std::string> path) {
        auto below = at->get_subcommands([](const CLI::App*) { return true; });
        for (const CLI::App* sub : below) {
          auto longer = path;
          longer.push_back(sub->get_name());
          visit(sub, longer);
        }
        if (!below.empty() || at->get_group().empty()) return;
        ++leaves;
        std::string name = "qmasq";
        for (const std::string& word : path)
          name += " " + word;
        path.emplace_back("--help");
        Ran ran = run(path);
        EXPECT_EQ(ran.code, 0) << name;
        EXPECT_EQ(ran.err, "") << name;
        EXPECT_THAT(ran.out, HasSubstr("Usage: " + name));
        if (name != "qmasq version") {
          EXPECT_THAT(ran.out, HasSubstr("Example")) << name;
        }
        EXPECT_THAT(ran.out, Not(HasSubstr("Excludes"))) << name;
      };
  visit(app.get(), {});
  EXPECT_GE(leaves, 36);
}

TEST(CommandLine, NothingAtAllPrintsHelpAsAnError) {
  Ran ran = run({});
  EXPECT_EQ(ran.code, 2);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, HasSubstr("Exit codes"));
  Ran group = run({"vpc"});
  EXPECT_EQ(group.code, 2);
  EXPECT_THAT(group.err, HasSubstr("a command is missing after 'qmasq vpc'"));
  EXPECT_THAT(group.err, HasSubstr("create"));
}

struct BadLine {
  std::vector<std::string> args;
  std::string message;
};

TEST(CommandLine, MistakesAreNamedAndExitWithTwo) {
  const std::vector<BadLine> lines = {
      {{"vpc", "crate"}, "qmasq: qmasq vpc has no command 'crate'\n  Did you mean create?"},
      {{"vcp", "list"}, "Did you mean vpc?"},
      {{"vpc", "create", "blue"}, "--range is required"},
      {{"vpc", "create", "--range", "10.0.0.0/24"}, "name is required"},
      {{"vpc", "create", "blue", "--range", "10.0.0.0/24", "--vni", "many"}, "--vni"},
      {{"vpc", "get", "a/b"}, "qmasq: 'a/b' is not "},
      {{"vpc", "list", "--page-size", "0"}, "--page-size"},
      {{"vpc", "list", "-o", "xml"}, "xml"},
      {{"vpc", "list", "--timeout", "soon"}, "'soon' is not a duration"},
      {{"vpc", "list", "--", "x"}, "takes nothing after --"},
      {{"vpc", "update", "blue"}, "nothing to update"},
      {{"endpoint", "update", "blue/a"}, "nothing to update"},
      {{"host", "update", "hostA"}, "nothing to update"},
      {{"endpoint", "create", "a", "--host", "h"}, "'a' lacks the VPC"},
      {{"endpoint", "create", "blue/a"}, "--host is required"},
      {{"endpoint", "list", "--vpc", "a/b"}, "'a/b'"},
      {{"vpc", "delete", "blue", "--wait", "--validate-only"}, "--wait"},
      {{"conn", "list", "--vpc", "blue", "--endpoint", "blue/a"}, "--vpc"},
      {{"events", "--limit", "-1"}, "--limit"},
      {{"qos", "policy"}, "a command is missing after 'qmasq qos policy'"},
      {{"qos", "policy", "create", "gold", "--maximum", "20"}, "--maximum: '20' is not a rate"},
      {{"qos", "policy", "create", "gold", "--maximum=-5Mbit"}, "--maximum: '-5Mbit'"},
      {{"qos", "policy", "create", "gold", "--maximum", "-5Mbit"}, "--maximum"},
      {{"qos", "policy", "create", "gold", "--maximum", "0"}, "--maximum: '0' is not a rate"},
      {{"qos", "policy", "create", "gold", "--quota", "foo=1"}, "--quota: 'foo' is no resource"},
      {{"qos", "policy", "create", "gold", "--rate", "qps=0"}, "--rate qps: '0'"},
      {{"qos", "policy", "create", "gold", "--dscp", "best"}, "--dscp: 'best' is no DSCP"},
      {{"qos", "policy", "create", "gold", "-f", "x.yaml", "--weight", "3"}, "--file"},
      {{"qos", "policy", "create", "none"}, "cannot be called 'none'"},
      {{"qos", "policy", "create", "a/b"}, "'a/b'"},
      {{"qos", "policy", "update", "gold"}, "nothing to update"},
      {{"vpc", "update", "blue", "--qos", "a/b"}, "--qos: 'a/b'"},
      {{"endpoint", "update", "blue/a", "--qos", ""}, "--qos: the QoS policy id is missing"},
      {{"host", "update", "hostA", "--nic-rate", "rxe0"}, "--nic-rate: 'rxe0' is not as expected"},
      {{"host", "update", "hostA", "--nic-rate", "rxe0=20"}, "--nic-rate rxe0: '20'"},
      {{"qos", "attach", "gold"}, "target is required"},
      {{"qos", "attach", "none", "blue"}, "qmasq qos detach blue"},
      {{"qos", "attach", "gold", "a/b/c"}, "'a/b/c' is the name of neither a VPC"},
      {{"qos", "show", "--vpc", "a/b"}, "--vpc: 'a/b'"},
      {{"qos", "show", "--local", "--host", "hostA"}, "--local"},
      {{"top", "--interval", "0"}, "--interval: at least 100ms"},
      {{"top", "--interval", "soon"}, "'soon' is not a duration"},
      {{"top", "--count", "0"}, "--count: Value 0 not in range 1 to"},
      {{"run", "--", "true"}, "--endpoint is required"},
      {{"run", "--endpoint", "blue/a"}, "run: the program is missing"},
      {{"run", "--endpoint", "a/b/c", "--", "true"}, "'a/b/c'"},
  };
  for (const BadLine& line : lines) {
    Ran ran = run(line.args);
    std::string shown;
    for (const auto& arg : line.args)
      shown += arg + " ";
    EXPECT_EQ(ran.code, 2) << shown << ran.err;
    EXPECT_EQ(ran.out, "") << shown;
    EXPECT_THAT(ran.err, HasSubstr(line.message)) << shown;
    EXPECT_THAT(ran.err, HasSubstr("qmasq: ")) << shown;
  }
}

TEST(CommandLine, NoControllerNamesTheSocketAndHowToStartIt) {
  Ran ran = run({"vpc", "list", "--controller", "/nonexistent/c.sock"});
  EXPECT_EQ(ran.code, 3);
  EXPECT_THAT(ran.err, HasSubstr("unix:/nonexistent/c.sock: there is no such socket"));
  EXPECT_THAT(ran.err, HasSubstr("qmasq-controller"));
}

TEST(CommandLine, TheControllerComesFromOptionThenEnvironmentThenDefault) {
  EXPECT_THAT(run({"vpc", "list"}, {{"QMASQ_CONTROLLER", "unix:///env.sock"}}).err,
              HasSubstr("unix:/env.sock"));
  EXPECT_THAT(
      run({"vpc", "list", "--controller", "/option.sock"}, {{"QMASQ_CONTROLLER", "/env.sock"}}).err,
      HasSubstr("unix:/option.sock"));
  EXPECT_THAT(run({"--controller", "/before.sock", "vpc", "list"}).err,
              HasSubstr("unix:/before.sock"));
}

TEST(CommandLine, NoAgentNamesTheSocketAndHowToStartIt) {
  for (std::vector<std::string> args : {std::vector<std::string>{"conn", "list"},
                                        {"events"},
                                        {"status"},
                                        {"agent"},
                                        {"qos", "show", "--local"},
                                        {"top", "--local"}}) {
    args.insert(args.end(), {"--agent-socket-dir", "/nonexistent"});
    Ran ran = run(args);
    EXPECT_EQ(ran.code, 3) << args[0];
    EXPECT_THAT(ran.err, HasSubstr("unix:/nonexistent/vbond.sock")) << args[0];
    EXPECT_THAT(ran.err, HasSubstr("qmasq-vbond")) << args[0];
  }
}

}  // namespace
}  // namespace qmasq::cli
