// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <fstream>

#include "tests/integration/cli/with_controller.h"
#include "tests/support/temp_dir.h"

// Security groups as an admin types them, from the command line to the store and back.
namespace qmasq::cli::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class SecurityGroups : public WithController {
 protected:
  void SetUp() override {
    WithController::SetUp();
    ok({"vpc", "create", "blue", "--range", "10.0.0.0/24", "--range", "fd00::/64"});
    ok({"host", "create", "hostA"});
    ok({"endpoint", "create", "blue/a", "--host", "hostA", "--address", "10.0.0.1"});
    ok({"endpoint", "create", "blue/b", "--host", "hostA", "--address", "10.0.0.2"});
  }
  Ran ok(std::vector<std::string> args) {
    const std::string line = ::testing::PrintToString(args);
    Ran ran = run(std::move(args));
    EXPECT_EQ(ran.code, 0) << line << ran.err;
    return ran;
  }
};

TEST_F(SecurityGroups, EachVpcHasADefaultGroupThatItsEndpointsCarry) {
  EXPECT_EQ(ok({"sg", "list"}).out,
            "NAME          RULES  ENDPOINTS  DESCRIPTION\n"
            "blue/default  2      2          Members admit each other\n");
  EXPECT_EQ(ok({"sg", "rule", "list", "blue/default"}).out,
            "ID        DIR  ACTION  PRIO  TRANSPORT  REMOTE      OPS  FLAGS  DESCRIPTION\n"
            "self-in   in   allow   1000  any        sg:default  all  -      -\n"
            "self-out  out  allow   1000  any        sg:default  all  -      -\n");
  EXPECT_THAT(run({"sg", "delete", "blue/default"}).err, HasSubstr("goes with its VPC"));
  ok({"endpoint", "delete", "blue/a"});
  ok({"endpoint", "delete", "blue/b"});
  ok({"vpc", "delete", "blue"});
  EXPECT_EQ(run({"sg", "list"}).err, "no security groups\n");
}

TEST_F(SecurityGroups, RulesAsPeopleTypeThem) {
  ok({"sg", "create", "blue/web"});
  ok({"sg", "create", "blue/clients"});
  ok({"sg", "rule", "add", "web", "--vpc", "blue", "--in", "--from", "sg:clients", "--transport",
      "rc", "--ops", "send,read"});
  ok({"sg", "rule", "add", "web", "--in", "--from", "10.0.0.9", "--deny", "--priority", "2000",
      "--log", "--shadow", "--id", "keep-out", "--description", "old machine"});
  ok({"sg", "rule", "add", "blue/web", "--out", "--to", "fd00::/64"});
  EXPECT_EQ(
      ok({"sg", "rule", "list", "web"}).out,
      "ID        DIR  ACTION  PRIO  TRANSPORT  REMOTE       OPS        FLAGS       DESCRIPTION\n"
      "r1        in   allow   1000  rc         sg:clients   send,read  -           -\n"
      "keep-out  in   deny    2000  any        10.0.0.9/32  -          log,shadow  old machine\n"
      "r2        out  allow   1000  any        fd00::/64    all        -           -\n");
  EXPECT_EQ(json({"sg", "get", "web"})["rules"][0]["securityGroup"],
            "vpcs/blue/securityGroups/clients");
  ok({"sg", "rule", "remove", "web", "keep-out", "r1"});
  EXPECT_EQ(json({"sg", "get", "web"})["rules"].size(), 1U);
  Ran unknown = run({"sg", "rule", "remove", "web", "r7"});
  EXPECT_EQ(unknown.code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("It has: r2"));
}

TEST_F(SecurityGroups, WrongRulesAreRefusedAndNothingChanges) {
  ok({"sg", "create", "blue/web"});
  ok({"vpc", "create", "red", "--range", "10.0.0.0/24"});
  const auto before = json({"sg", "get", "blue/web"});
  struct Case {
    std::vector<std::string> args;
    int code;
    std::string says;
  };
  const std::vector<Case> cases = {
      {{"--from", "any"}, 2, "give one of --in and --out"},
      {{"--in", "--out", "--from", "any"}, 2, "--out"},
      {{"--in"}, 2, "--from is missing"},
      {{"--in", "--to", "any"}, 2, "--to is for --out"},
      {{"--out", "--from", "any"}, 2, "--from is for --in"},
      {{"--in", "--from", "nonsense"}, 2, "is no remote"},
      {{"--in", "--from", "10.0.0.1/24"}, 2, "10.0.0.0/24"},
      {{"--in", "--from", "any", "--transport", "tcp"}, 2, "is no transport"},
      {{"--in", "--from", "any", "--ops", "send,fly"}, 2, "is no operation"},
      {{"--in", "--from", "any", "--deny", "--ops", "send"}, 2, "rules that allow"},
      {{"--in", "--from", "any", "--priority", "70000"}, 1, "rules[0].priority: 70000"},
      {{"--in", "--from", "any", "--id", "No"}, 1, "rules[0].id"},
      {{"--in", "--from", "sg:nobody"}, 1, "there is no vpcs/blue/securityGroups/nobody"},
      {{"--in", "--from", "sg:red/default"}, 1, "of another VPC"},
  };
  for (const Case& one : cases) {
    std::vector<std::string> line = {"sg", "rule", "add", "blue/web"};
    line.insert(line.end(), one.args.begin(), one.args.end());
    Ran ran = run(line);
    EXPECT_EQ(ran.code, one.code) << ::testing::PrintToString(line) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr(one.says)) << ::testing::PrintToString(line);
  }
  EXPECT_EQ(json({"sg", "get", "blue/web"}), before);
  ok({"sg", "rule", "add", "blue/web", "--in", "--from", "any", "--id", "one"});
  EXPECT_THAT(run({"sg", "rule", "add", "blue/web", "--in", "--from", "any", "--id", "one"}).err,
              HasSubstr("there are two rules 'one'"));
}

TEST_F(SecurityGroups, WhoRefersToAGroupHoldsIt) {
  ok({"sg", "create", "blue/web"});
  ok({"sg", "create", "blue/clients"});
  ok({"sg", "rule", "add", "blue/web", "--in", "--from", "sg:clients"});
  ok({"sg", "rule", "add", "blue/web", "--in", "--from", "sg:web"});
  EXPECT_THAT(run({"sg", "delete", "blue/clients"}).err,
              HasSubstr("rules of these groups name vpcs/blue/securityGroups/clients: "
                        "vpcs/blue/securityGroups/web"));
  ok({"endpoint", "update", "blue/a", "--group", "web,default"});
  EXPECT_THAT(run({"sg", "delete", "blue/web"}).err, HasSubstr("vpcs/blue/endpoints/a"));
  EXPECT_THAT(ok({"endpoint", "list", "--filter", "group=web"}).out, HasSubstr("web,default"));
  ok({"endpoint", "update", "blue/a", "--group", "default"});
  ok({"sg", "delete", "blue/web"});  // its rule that names itself does not hold it
  ok({"sg", "delete", "blue/clients"});
}

TEST_F(SecurityGroups, EndpointsCarryOnlyGroupsOfTheirVpc) {
  ok({"vpc", "create", "red", "--range", "10.0.0.0/24"});
  ok({"sg", "create", "red/web"});
  EXPECT_THAT(run({"endpoint", "update", "blue/a", "--group", "web"}).err,
              HasSubstr("there is no vpcs/blue/securityGroups/web"));
  EXPECT_THAT(run({"endpoint", "update", "blue/a", "--group", "red/web"}).err,
              HasSubstr("of another VPC"));
  EXPECT_THAT(run({"endpoint", "update", "blue/a", "--group", "default,default"}).err,
              HasSubstr("in the list twice"));
}

TEST_F(SecurityGroups, RulesOfAFile) {
  ok({"sg", "create", "blue/web"});
  qmasq::testing::TempDir dir;
  const std::string path = dir.file("rules.yaml");
  std::ofstream(path) << "- {direction: in, remote: sg:default, ops: \"send,read\"}\n"
                         "- direction: out\n  remote: any\n  action: deny\n  id: closed\n";
  ok({"sg", "rule", "replace", "blue/web", "-f", path});
  EXPECT_EQ(json({"sg", "get", "blue/web"})["rules"][1]["id"], "closed");
  std::ofstream(path) << "- {direction: in, remote: any}\n- {direction: sideways, remote: any}\n";
  Ran wrong = run({"sg", "rule", "replace", "blue/web", "-f", path});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("rules.yaml:2: rule 2: direction 'sideways'"));
  EXPECT_EQ(json({"sg", "get", "blue/web"})["rules"].size(), 2U);
  EXPECT_EQ(run({"sg", "rule", "replace", "blue/web", "-f", "/nowhere"}).code, 2);
}

TEST_F(SecurityGroups, TraceTellsWhoDecides) {
  EXPECT_THAT(ok({"trace", "--from", "blue/a", "--to", "blue/b"}).out,
              HasSubstr("Allowed at revision"));
  ok({"sg", "create", "blue/web"});
  ok({"endpoint", "update", "blue/b", "--group", "web"});
  Ran refused = run({"trace", "--from", "blue/a", "--to", "10.0.0.2"});
  EXPECT_EQ(refused.code, 5);
  EXPECT_THAT(refused.out, HasSubstr("in  of blue/b: denies by default, no rule matches"));
  EXPECT_THAT(refused.out, HasSubstr("Refused at revision"));
  ok({"sg", "rule", "add", "blue/web", "--in", "--from", "sg:default", "--ops", "read"});
  ok({"sg", "rule", "add", "blue/web", "--out", "--to", "any", "--deny"});
  EXPECT_EQ(run({"trace", "--from", "blue/a", "--to", "blue/b", "--op", "read"}).code, 0);
  Ran write = run({"trace", "--from", "blue/a", "--to", "blue/b", "--op", "write", "--live"});
  EXPECT_EQ(write.code, 5);
  EXPECT_THAT(write.out, HasSubstr("web/r1: in allow 1000 any from sg:default ops read"));
  EXPECT_THAT(write.out, HasSubstr("write: not permitted"));
  EXPECT_THAT(write.out, HasSubstr("Live  hostA: its agent is not connected"));
  EXPECT_THAT(run({"trace", "--from", "blue/a", "--to", "10.0.0.77"}).err,
              HasSubstr("no endpoint of vpcs/blue has address 10.0.0.77"));
  EXPECT_EQ(run({"trace", "--from", "blue/a", "--to", "blue/nobody"}).code, 1);
}

TEST_F(SecurityGroups, ADryRunSaysWhoseConnectionsItDoesNotKnow) {
  Ran dry = ok({"sg", "rule", "remove", "blue/default", "self-in", "--validate-only"});
  EXPECT_THAT(dry.out, HasSubstr("Would cut 0 connections"));
  EXPECT_THAT(dry.err, HasSubstr("hostA did not answer"));
  EXPECT_EQ(json({"sg", "get", "blue/default"})["rules"].size(), 2U);
}

TEST_F(SecurityGroups, UdIsAllowedWithAWarning) {
  Ran any = ok({"sg", "rule", "add", "blue/default", "--in", "--from", "any"});
  EXPECT_THAT(any.err, Not(HasSubstr("UD")));
  Ran named =
      ok({"sg", "rule", "add", "blue/default", "--in", "--from", "any", "--transport", "ud"});
  EXPECT_THAT(named.err, HasSubstr("good will"));
}

}  // namespace
}  // namespace qmasq::cli::testing
