// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <fstream>

#include "tests/integration/cli/with_controller.h"
#include "tests/support/temp_dir.h"

// QoS as an admin types it, from the command line to the store and back.
namespace qmasq::cli::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Qos : public WithController {
 protected:
  void SetUp() override {
    WithController::SetUp();
    ok({"vpc", "create", "blue", "--range", "10.0.0.0/24"});
    ok({"host", "create", "hostA"});
    ok({"endpoint", "create", "blue/a", "--host", "hostA", "--address", "10.0.0.1"});
  }
  Ran ok(std::vector<std::string> args) {
    const std::string line = ::testing::PrintToString(args);
    Ran ran = run(std::move(args));
    EXPECT_EQ(ran.code, 0) << line << ran.err;
    return ran;
  }
};

TEST_F(Qos, APolicyFromCreationToDeletion) {
  ok({"qos", "policy", "create", "gold", "--guaranteed", "15Mbit", "--maximum", "20Mbit", "--dscp",
      "ef", "--quota", "qps=100,pinned=1GiB", "--rate", "qps=50/s,burst=100"});
  EXPECT_EQ(
      ok({"qos", "policy", "list"}).out,
      "NAME  GUARANTEED  MAXIMUM  BURST  WEIGHT  DSCP  QUOTAS               RATES              "
      " VPCS  ENDPOINTS  DESCRIPTION\n"
      "gold  15Mbit      20Mbit   -      10      46    qps=100,pinned=1GiB  "
      "qps=50/s,burst=100  0     0          -\n");
  // Only what is named changes, and what is "none" goes.
  ok({"qos", "policy", "update", "gold", "--maximum", "25Mbit", "--quota", "qps=none", "--weight",
      "20"});
  auto now = json({"qos", "policy", "get", "gold"});
  EXPECT_EQ(now["guaranteedBps"], "15000000");
  EXPECT_EQ(now["maximumBps"], "25000000");
  EXPECT_EQ(now["weight"], 20);
  EXPECT_EQ(now["dscp"], 46);
  EXPECT_FALSE(now["quotas"].contains("queuePairs"));
  EXPECT_EQ(now["quotas"]["pinnedBytes"], "1073741824");
  EXPECT_EQ(now["verbRates"]["queuePairs"]["burst"], 100);
  ok({"qos", "policy", "update", "gold", "--maximum", "none", "--quota", "none", "--rate", "none"});
  now = json({"qos", "policy", "get", "gold"});
  EXPECT_FALSE(now.contains("maximumBps"));
  EXPECT_EQ(now["guaranteedBps"], "15000000");
  EXPECT_THAT(ok({"qos", "policy", "get", "gold"}).out, Not(HasSubstr("pinned")));

  Ran stale = run({"qos", "policy", "delete", "gold", "--etag", "stale"});
  EXPECT_EQ(stale.code, 1);
  EXPECT_THAT(stale.err, HasSubstr("etag: "));
  EXPECT_EQ(ok({"qos", "policy", "delete", "gold"}).out, "deleted qosPolicies/gold\n");
  EXPECT_EQ(run({"qos", "policy", "list"}).err, "no QoS policies\n");
}

TEST_F(Qos, WhatTheControllerRefusesNamesTheField) {
  ok({"qos", "policy", "create", "gold", "--maximum", "20Mbit"});
  struct Case {
    std::vector<std::string> args;
    std::string says;
  };
  const std::vector<Case> cases = {
      {{"create", "bad", "--guaranteed", "20Mbit", "--maximum", "10Mbit"},
       "maximum_bps: 10Mbit is below the guarantee of 20Mbit"},
      {{"create", "bad", "--maximum", "1kbit"}, "maximum_bps"},
      {{"create", "bad", "--burst", "1KiB"}, "burst_bytes"},
      {{"create", "bad", "--quota", "pinned=1KiB"}, "pinned_bytes"},
      {{"create", "gold"}, "qos_policy_id"},
      {{"create", "Gold"}, ""},
      {{"update", "gold", "--guaranteed", "30Mbit"}, "maximum_bps: 20Mbit is below"},
  };
  for (const Case& one : cases) {
    std::vector<std::string> line = {"qos", "policy"};
    line.insert(line.end(), one.args.begin(), one.args.end());
    Ran ran = run(line);
    EXPECT_NE(ran.code, 0) << ::testing::PrintToString(line);
    EXPECT_THAT(ran.err, HasSubstr(one.says)) << ::testing::PrintToString(line);
    EXPECT_EQ(ran.out, "");
  }
  EXPECT_EQ(json({"qos", "policy", "list"})["qosPolicies"].size(), 1U);
  EXPECT_FALSE(json({"qos", "policy", "get", "gold"}).contains("guaranteedBps"));
}

TEST_F(Qos, AttachedToAVpcAndToAnEndpoint) {
  ok({"qos", "policy", "create", "gold", "--maximum", "20Mbit"});
  ok({"qos", "policy", "create", "small", "--quota", "qps=2"});
  ok({"qos", "attach", "gold", "blue"});
  ok({"endpoint", "update", "blue/a", "--qos", "small"});
  EXPECT_EQ(json({"vpc", "get", "blue"})["qosPolicy"], "qosPolicies/gold");
  EXPECT_EQ(json({"endpoint", "get", "blue/a"})["qosPolicy"], "qosPolicies/small");
  EXPECT_THAT(ok({"vpc", "list"}).out, HasSubstr("  gold  "));
  EXPECT_THAT(ok({"endpoint", "list"}).out, HasSubstr("  small  "));
  EXPECT_EQ(json({"qos", "policy", "get", "gold"})["vpcCount"], 1);
  EXPECT_EQ(json({"qos", "policy", "get", "small"})["endpointCount"], 1);
  // Other updates leave it.
  ok({"vpc", "update", "blue", "--description", "Trainers"});
  EXPECT_EQ(json({"vpc", "get", "blue"})["qosPolicy"], "qosPolicies/gold");

  Ran held = run({"qos", "policy", "delete", "gold"});
  EXPECT_EQ(held.code, 1);
  EXPECT_THAT(held.err, HasSubstr("vpcs/blue"));
  Ran unknown = run({"vpc", "update", "blue", "--qos", "glod"});
  EXPECT_EQ(unknown.code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("Did you mean gold?"));
  EXPECT_THAT(run({"qos", "attach", "smal", "blue/a"}).err, HasSubstr("Did you mean small?"));

  ok({"vpc", "update", "blue", "--qos", "none"});
  ok({"qos", "detach", "blue/a"});
  EXPECT_EQ(json({"vpc", "get", "blue"})["qosPolicy"], "");
  EXPECT_EQ(json({"endpoint", "get", "blue/a"})["qosPolicy"], "");
  ok({"qos", "policy", "delete", "gold"});
}

TEST_F(Qos, PromisesThatDoNotFitNeedForce) {
  ok({"host", "update", "hostA", "--nic-rate", "rxe0=30Mbit,rxe1=none"});
  ok({"host", "update", "hostA", "--nic-rate", "rxe1=1Gbit"});
  EXPECT_EQ(json({"host", "get", "hostA"})["nicRates"].size(), 2U);
  ok({"host", "update", "hostA", "--nic-rate", "rxe1=none"});
  auto rates = json({"host", "get", "hostA"})["nicRates"];
  ASSERT_EQ(rates.size(), 1U);
  EXPECT_EQ(rates[0]["device"], "rxe0");
  EXPECT_EQ(rates[0]["rateBps"], "30000000");
  EXPECT_THAT(ok({"host", "get", "hostA"}).out, HasSubstr("rxe0=30Mbit"));

  ok({"qos", "policy", "create", "greedy", "--guaranteed", "40Mbit"});
  Ran refused = run({"qos", "attach", "greedy", "blue"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_EQ(json({"vpc", "get", "blue"})["qosPolicy"], "");
  Ran forced = ok({"qos", "attach", "greedy", "blue", "--force"});
  EXPECT_EQ(forced.err,
            "warning: rxe0 of hostA has 30Mbit, and the guarantees there add up to 40Mbit\n"
            "  may get less than promised: blue\n");
}

TEST_F(Qos, OfAFile) {
  qmasq::testing::TempDir folder;
  const std::string path = folder.file("gold.yaml");
  std::ofstream(path) << "guaranteed: 15Mbit\nquotas: {qps: 3}\nrates: {verbs: 100/s}\n";
  ok({"qos", "policy", "create", "gold", "-f", path});
  auto made = json({"qos", "policy", "get", "gold"});
  EXPECT_EQ(made["quotas"]["queuePairs"], 3);
  EXPECT_EQ(made["verbRates"]["verbs"]["perSecond"], 100);
  std::ofstream(path) << "quotas: {qps: ~, mrs: 9}\n";
  ok({"qos", "policy", "update", "gold", "-f", path});
  made = json({"qos", "policy", "get", "gold"});
  EXPECT_FALSE(made["quotas"].contains("queuePairs"));
  EXPECT_EQ(made["quotas"]["memoryRegions"], 9);
  EXPECT_EQ(made["guaranteedBps"], "15000000");
}

TEST_F(Qos, ShowSaysWhichHostsAreSilent) {
  ok({"qos", "policy", "create", "gold", "--maximum", "20Mbit"});
  ok({"qos", "attach", "gold", "blue"});
  Ran ran = run({"qos", "show", "--vpc", "blue"});
  EXPECT_EQ(ran.code, 4);
  EXPECT_THAT(ran.out, HasSubstr("hostA: no answer: "));
  EXPECT_EQ(ran.err, "qmasq: no answer from hostA\n");
  EXPECT_THAT(run({"qos", "show", "--vpc", "bleu"}).err, HasSubstr("Did you mean blue?"));
  EXPECT_THAT(run({"qos", "show", "--host", "hosta"}).err, HasSubstr("Did you mean hostA?"));
  Ran top = run({"top", "--count", "1", "--interval", "100ms"});
  EXPECT_EQ(top.code, 0) << top.err;
  EXPECT_THAT(top.out, HasSubstr("hostA: no answer: "));
}

}  // namespace
}  // namespace qmasq::cli::testing
