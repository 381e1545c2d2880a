// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "cli/qos/nic_rates.h"
#include "cli/qos/policy_arguments.h"
#include "tests/support/temp_dir.h"

namespace qmasq::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

TEST(PolicyArguments, OnlyWhatIsTypedIsNamed) {
  EXPECT_THAT(policy_change({}).value().paths, IsEmpty());
  PolicyArguments args;
  args.guaranteed = "15Mbit";
  args.maximum = "none";
  args.burst = "64KiB";
  args.weight = "20";
  args.dscp = "ef";
  args.quotas = {"qps=100", "pinned=1GiB", "mrs=none"};
  args.rates = {"qps=50/s,burst=100", "verbs=none"};
  args.description = "";
  const PolicyChange change = policy_change(args).value();
  EXPECT_THAT(change.paths,
              ElementsAre("guaranteed_bps", "maximum_bps", "burst_bytes", "weight", "dscp",
                          "quotas.queue_pairs", "quotas.pinned_bytes", "quotas.memory_regions",
                          "verb_rates.queue_pairs", "verb_rates.verbs", "description"));
  const v1::QosPolicy& policy = change.policy;
  EXPECT_EQ(policy.guaranteed_bps(), 15'000'000U);
  EXPECT_FALSE(policy.has_maximum_bps());
  EXPECT_EQ(policy.burst_bytes(), 65536U);
  EXPECT_EQ(policy.weight(), 20U);
  EXPECT_EQ(policy.dscp(), 46U);
  EXPECT_EQ(policy.quotas().queue_pairs(), 100U);
  EXPECT_EQ(policy.quotas().pinned_bytes(), 1ULL << 30U);
  EXPECT_FALSE(policy.quotas().has_memory_regions());
  EXPECT_EQ(policy.verb_rates().queue_pairs().per_second(), 50U);
  EXPECT_EQ(policy.verb_rates().queue_pairs().burst(), 100U);
  EXPECT_FALSE(policy.verb_rates().has_verbs());
}

TEST(PolicyArguments, NoneAloneTakesAllQuotasOrRatesAway) {
  PolicyArguments args;
  args.quotas = {"none"};
  args.rates = {"none"};
  const PolicyChange change = policy_change(args).value();
  EXPECT_THAT(change.paths, ElementsAre("quotas", "verb_rates"));
  EXPECT_FALSE(change.policy.has_quotas());
}

TEST(PolicyArguments, EachOfTheResourcesAndVerbs) {
  PolicyArguments args;
  args.quotas = {"qps=1", "cqs=2", "mrs=3", "srqs=2147483647", "pinned=4096"};
  args.rates = {"contexts=1", "qps=2", "connects=3", "verbs=4"};
  const v1::QosPolicy policy = policy_change(args).value().policy;
  EXPECT_EQ(policy.quotas().completion_queues(), 2U);
  EXPECT_EQ(policy.quotas().memory_regions(), 3U);
  EXPECT_EQ(policy.quotas().shared_receive_queues(), 2147483647U);
  EXPECT_EQ(policy.quotas().pinned_bytes(), 4096U);
  EXPECT_EQ(policy.verb_rates().contexts().per_second(), 1U);
  EXPECT_EQ(policy.verb_rates().connects().per_second(), 3U);
  EXPECT_EQ(policy.verb_rates().verbs().per_second(), 4U);
}

TEST(PolicyArguments, WrongValuesNameTheirOption) {
  struct Case {
    PolicyArguments args;
    std::string says;
  };
  auto quotas = [](std::vector<std::string> texts) {
    PolicyArguments args;
    args.quotas = std::move(texts);
    return args;
  };
  auto rates = [](std::vector<std::string> texts) {
    PolicyArguments args;
    args.rates = std::move(texts);
    return args;
  };
  auto one = [](std::optional<std::string> PolicyArguments::*field, const char* text) {
    PolicyArguments args;
    args.*field = text;
    return args;
  };
  using P = PolicyArguments;
  const std::vector<Case> cases = {
      {one(&P::maximum, "20"), "--maximum: '20' is not a rate: say 20Mbit"},
      {one(&P::maximum, "-5Mbit"), "--maximum: '-5Mbit' is not a rate"},
      {one(&P::maximum, "0"), "--maximum: '0' is not a rate"},
      {one(&P::maximum, ""), "--maximum: '' is not a rate"},
      {one(&P::maximum, "0Mbit"), "--maximum: 0 would let nothing through"},
      {one(&P::maximum, "20MB"), "--maximum: '20MB' is not a rate"},
      {one(&P::guaranteed, "11Tbit"), "--guaranteed: '11Tbit'"},
      {one(&P::burst, "64K"), "--burst: '64K' is not a size"},
      {one(&P::burst, "0"), "--burst: 0 would"},
      {one(&P::weight, "0"), "--weight: 0 would"},
      {one(&P::weight, "101"), "--weight: '101' is not a whole number from 1 to 100"},
      {one(&P::weight, "1.5"), "--weight: '1.5'"},
      {one(&P::dscp, "gold"), "--dscp: 'gold' is no DSCP"},
      {one(&P::dscp, "64"), "--dscp: '64'"},
      {quotas({"foo=1"}), "--quota: 'foo' is no resource with a quota: qps, cqs"},
      {quotas({"qps"}), "--quota: 'qps' is not as expected: say qps=100"},
      {quotas({"=1"}), "--quota: '=1'"},
      {quotas({"qps="}), "--quota: 'qps='"},
      {quotas({"qps=0"}), "--quota qps: 0 would"},
      {quotas({"qps=-1"}), "--quota qps: '-1' is not a whole number"},
      {quotas({"qps=2147483648"}), "--quota qps: '2147483648'"},
      {quotas({"qps=1GiB"}), "--quota qps: '1GiB' is not a whole number"},
      {quotas({"pinned=lots"}), "--quota pinned: 'lots' is not a size"},
      {quotas({"pinned=0"}), "--quota pinned: 0 would"},
      {quotas({"qps=1", "queue_pairs=2"}), "--quota: queue_pairs is there twice"},
      {quotas({"none", "qps=2"}), "--quota: none takes all of them away"},
      {rates({"qps=0"}), "--rate qps: '0' is no rate of verbs"},
      {rates({"mrs=5"}), "--rate: 'mrs' is no verb with a rate"},
      {rates({"qps=5,burst=x"}), "--rate qps: '5,burst=x'"},
      {rates({"qps=5", "qps=none"}), "--rate: qps is there twice"},
      {rates({"qps=5", "none"}), "--rate: none takes all of them away"},
  };
  for (const Case& wrong : cases) {
    auto change = policy_change(wrong.args);
    ASSERT_FALSE(change) << wrong.says;
    EXPECT_EQ(change.error().exit_code, kExitUsage);
    EXPECT_THAT(change.error().message, StartsWith(wrong.says));
  }
}

class PolicyFile : public ::testing::Test {
 protected:
  Outcome<PolicyChange> read(const std::string& text) {
    PolicyArguments args;
    args.file = folder_.file("policy.yaml");
    std::ofstream(args.file) << text;
    return policy_change(args);
  }
  qmasq::testing::TempDir folder_;
};

TEST_F(PolicyFile, SaysTheSameAsOptions) {
  const PolicyChange change = read(R"(guaranteed: 15Mbit
maximum: ~
dscp: 46
quotas: {qps: 100, pinned: 1GiB, mrs: ~}
rates:
  qps: 50/s,burst=100
  verbs: 1000
description: For the trainers
)")
                                  .value();
  EXPECT_THAT(change.paths,
              ElementsAre("guaranteed_bps", "maximum_bps", "dscp", "quotas.queue_pairs",
                          "quotas.pinned_bytes", "quotas.memory_regions", "verb_rates.queue_pairs",
                          "verb_rates.verbs", "description"));
  EXPECT_EQ(change.policy.guaranteed_bps(), 15'000'000U);
  EXPECT_EQ(change.policy.verb_rates().verbs().per_second(), 1000U);
  EXPECT_EQ(change.policy.description(), "For the trainers");
  const PolicyChange json = read(R"({"maximum": "20Mbit", "quotas": "none", "weight": 7})").value();
  EXPECT_THAT(json.paths, ElementsAre("maximum_bps", "quotas", "weight"));
  EXPECT_EQ(json.policy.weight(), 7U);
}

TEST_F(PolicyFile, MistakesHaveALineAndAKey) {
  const std::pair<const char*, const char*> cases[] = {
      {"maximum: 20\n", "policy.yaml:1: maximum: '20' is not a rate"},
      {"weight: 3\nmaximun: 20Mbit\n", "policy.yaml:2: 'maximun' is no key of a policy: guar"},
      {"weight: 3\nquotas: {foo: 1}\n", "policy.yaml:2: quotas: 'foo' is no resource"},
      {"rates: {qps: 0}\n", "policy.yaml:1: rates qps: '0' is no rate"},
      {"weight: 3\nweight: 4\n", "policy.yaml:2: weight: weight is there twice"},
      {"quotas: none\n\nquotas: {qps: 1}\n", "policy.yaml: quotas: none takes all"},
      {"maximum: [1, 2]\n", "policy.yaml: "},
      {"- maximum: 1Mbit\n", "policy.yaml: a map of keys is expected"},
      {"", "policy.yaml: a map of keys is expected"},
      {"{maximum", "policy.yaml: "},
  };
  for (auto [text, says] : cases) {
    auto change = read(text);
    ASSERT_FALSE(change) << text;
    EXPECT_EQ(change.error().exit_code, kExitUsage);
    EXPECT_THAT(change.error().message, HasSubstr(says));
  }
  PolicyArguments nowhere;
  nowhere.file = "/nowhere/policy.yaml";
  EXPECT_EQ(policy_change(nowhere).error().message, "/nowhere/policy.yaml: cannot be read");
}

TEST(NicRates, ChangeWhatIsNamedAndKeepTheOthers) {
  v1::Host host;
  for (auto [device, rate] : {std::pair{"rxe1", 5000}, {"rxe0", 6000}, {"mlx5_0", 7000}}) {
    v1::NicRate& one = *host.add_nic_rates();
    one.set_device(device);
    one.set_rate_bps(static_cast<std::uint64_t>(rate));
  }
  const auto changes = parse_nic_rates("--nic-rate", {"rxe0=30Mbit", "rxe1=none", "new0=1Gbit"});
  apply(changes.value(), host);
  std::vector<std::string> rates;
  for (const v1::NicRate& rate : host.nic_rates())
    rates.push_back(rate.device() + " " + std::to_string(rate.rate_bps()));
  EXPECT_THAT(rates, ElementsAre("mlx5_0 7000", "new0 1000000000", "rxe0 30000000"));
}

TEST(NicRates, MistakesNameTheOptionAndTheNic) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"rxe0"}, "--nic-rate: 'rxe0' is not as expected"},
      {{"=1Gbit"}, "--nic-rate: '=1Gbit' is not as expected"},
      {{"rxe0=30"}, "--nic-rate rxe0: '30' is not a rate"},
      {{"rxe0="}, "--nic-rate rxe0: '' is not a rate"},
      {{"rxe0=0bit"}, "--nic-rate rxe0: 0 would leave"},
      {{"rxe0=1Gbit", "rxe0=none"}, "--nic-rate: rxe0 is there twice"},
  };
  for (const auto& [typed, says] : cases) {
    auto changes = parse_nic_rates("--nic-rate", typed);
    ASSERT_FALSE(changes) << says;
    EXPECT_THAT(changes.error().message, StartsWith(says));
  }
}

}  // namespace
}  // namespace qmasq::cli
