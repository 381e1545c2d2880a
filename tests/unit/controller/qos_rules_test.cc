// SPDX-License-Identifier: Apache-2.0
// The bounds that qos.proto and host.proto name, from both sides.
#include "controller/model/qos_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace qmasq::controller {
namespace {

using ::testing::HasSubstr;
using Change = std::function<void(AskedPolicy&)>;

AskedPolicy with(const Change& change) {
  AskedPolicy asked;
  change(asked);
  return asked;
}

void refused(const Change& change, const std::string& field, const std::string& reason) {
  auto policy = check_policy(with(change));
  ASSERT_FALSE(policy) << field << " " << reason;
  EXPECT_EQ(policy.error().code, Code::kInvalidArgument);
  EXPECT_EQ(policy.error().field, field);
  EXPECT_THAT(policy.error().message, HasSubstr(reason));
}

qos::Policy taken(const Change& change) {
  auto policy = check_policy(with(change));
  EXPECT_TRUE(policy) << policy.error().field << " " << policy.error().message;
  return policy ? *policy : qos::Policy{};
}

TEST(QosRules, NothingIsNoLimit) {
  EXPECT_EQ(check_policy({}).value(), qos::Policy{});
  EXPECT_EQ(check_policy({}).value().bandwidth.weight, 10U);
}

struct Bound {
  const char* field;
  std::function<void(AskedPolicy&, std::uint64_t)> set;
  std::uint64_t least, most;
};

TEST(QosRules, EachBoundFromBothSides) {
  std::vector<Bound> bounds = {
      {"guaranteed_bps", [](auto& a, auto v) { a.guaranteed_bps = v; }, 8000, kMostRate},
      {"maximum_bps", [](auto& a, auto v) { a.maximum_bps = v; }, 8000, kMostRate},
      {"burst_bytes", [](auto& a, auto v) { a.burst_bytes = v; }, 4096, 1U << 30U},
      {"weight", [](auto& a, auto v) { a.weight = v; }, 1, 100},
      {"dscp", [](auto& a, auto v) { a.dscp = v; }, 0, 63},
  };
  const char* quotas[] = {"quotas.queue_pairs", "quotas.completion_queues", "quotas.memory_regions",
                          "quotas.shared_receive_queues", "quotas.pinned_bytes"};
  for (std::size_t i = 0; i < 5; ++i) {
    const bool bytes = i == 4;
    bounds.push_back({quotas[i], [i](auto& a, auto v) { a.quotas[i] = v; }, bytes ? 4096ULL : 1ULL,
                      bytes ? std::uint64_t{1} << 60U : std::uint64_t{2147483647}});
  }
  const char* verbs[] = {"contexts", "queue_pairs", "connects", "verbs"};
  std::vector<std::string> names;
  names.reserve(8);
  for (std::size_t i = 0; i < 4; ++i) {
    names.push_back(std::string("verb_rates.") + verbs[i] + ".per_second");
    bounds.push_back({names.back().c_str(),
                      [i](auto& a, auto v) {
                        a.verb_rates[i] = {v, 1};
                      },
                      1, 1'000'000});
    names.push_back(std::string("verb_rates.") + verbs[i] + ".burst");
    // 0 stands for as many as a second has.
    bounds.push_back({names.back().c_str(),
                      [i](auto& a, auto v) {
                        a.verb_rates[i] = {5, v};
                      },
                      0, 1'000'000});
  }
  for (const Bound& bound : bounds) {
    SCOPED_TRACE(bound.field);
    const std::string field = std::string("qos_policy.") + bound.field;
    for (std::uint64_t value : {bound.least, bound.most}) {
      EXPECT_TRUE(check_policy(with([&](auto& a) { bound.set(a, value); }))) << value;
    }
    refused([&](auto& a) { bound.set(a, bound.most + 1); }, field, "is not between");
    refused([&](auto& a) { bound.set(a, ~std::uint64_t{0}); }, field, "is not between");
    if (bound.least == 0) continue;
    refused([&](auto& a) { bound.set(a, 0); }, field, "is not between");
    if (bound.least > 1) {
      refused([&](auto& a) { bound.set(a, bound.least - 1); }, field, "is not between");
    }
  }
}

TEST(QosRules, AMaximumBelowTheGuaranteeIsRefused) {
  refused(
      [](auto& a) {
        a.guaranteed_bps = 20'000'000;
        a.maximum_bps = 10'000'000;
      },
      "qos_policy.maximum_bps", "10Mbit is below the guarantee of 20Mbit");
  auto same = taken([](auto& a) { a.guaranteed_bps = a.maximum_bps = 20'000'000; });
  EXPECT_EQ(same.bandwidth.guaranteed, same.bandwidth.maximum);
}

TEST(QosRules, RefusalsAreWrittenAsPeopleDo) {
  refused([](auto& a) { a.maximum_bps = 1000; }, "qos_policy.maximum_bps",
          "1kbit is not between 8kbit and 10Tbit");
  refused([](auto& a) { a.maximum_bps = 0; }, "qos_policy.maximum_bps",
          "leave it out for no limit");
  refused([](auto& a) { a.burst_bytes = 100; }, "qos_policy.burst_bytes",
          "100B is not between 4KiB and 1GiB");
  refused([](auto& a) { a.dscp = 64; }, "qos_policy.dscp", "64 is not between 0 and 63");
}

TEST(QosRules, ValuesComeThrough) {
  auto policy = taken([](auto& a) {
    a.guaranteed_bps = 10'000;
    a.maximum_bps = 20'000;
    a.burst_bytes = 5000;
    a.weight = 7;
    a.dscp = 0;
    a.quotas = {1, 2, 3, 4, 4096};
    a.verb_rates[0] = {5, 0};
    a.verb_rates[3] = {6, 7};
  });
  EXPECT_EQ(policy.bandwidth.guaranteed, BitsPerSecond{10'000});
  EXPECT_EQ(policy.bandwidth.maximum, BitsPerSecond{20'000});
  EXPECT_EQ(policy.bandwidth.burst, 5000U);
  EXPECT_EQ(policy.bandwidth.weight, 7U);
  EXPECT_EQ(policy.dscp, 0);
  EXPECT_EQ(policy.quotas.of(qos::Resource::kSharedReceiveQueues), 4U);
  EXPECT_EQ(policy.quotas.of(qos::Resource::kPinnedBytes), 4096U);
  EXPECT_EQ(policy.verb_rates.of(qos::VerbKind::kContexts), (qos::VerbRate{5, 5}));
  EXPECT_FALSE(policy.verb_rates.of(qos::VerbKind::kConnects));
  EXPECT_EQ(policy.verb_rates.of(qos::VerbKind::kVerbs), (qos::VerbRate{6, 7}));
}

TEST(QosRules, NicRates) {
  EXPECT_TRUE(check_nic_rates({}));
  EXPECT_TRUE(check_nic_rates(std::vector<NicRate>{{"rxe0", 1000}, {"rxe1", kMostRate}}));
  auto wrong = [](std::vector<NicRate> rates, const std::string& field, const std::string& reason) {
    auto status = check_nic_rates(rates);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, Code::kInvalidArgument);
    EXPECT_EQ(status.error().field, field);
    EXPECT_THAT(status.error().message, HasSubstr(reason));
  };
  wrong({{"rxe0", 5000}, {"rxe1", 999}}, "host.nic_rates[1].rate_bps",
        "999bit is not between 1kbit and 10Tbit");
  wrong({{"rxe0", 0}}, "host.nic_rates[0].rate_bps", "is not between");
  wrong({{"rxe0", kMostRate + 1}}, "host.nic_rates[0].rate_bps", "is not between");
  wrong({{"rxe0", 5000}, {"rxe0", 5000}}, "host.nic_rates[1].device", "twice");
  wrong({{"", 5000}}, "host.nic_rates[0].device", "1 to 64 bytes");
  wrong({{std::string(65, 'x'), 5000}}, "host.nic_rates[0].device", "1 to 64 bytes");
  std::vector<NicRate> many(129);
  for (std::size_t i = 0; i < many.size(); ++i)
    many[i] = {"rxe" + std::to_string(i), 5000};
  wrong(many, "host.nic_rates", "at most 128");
  many.pop_back();
  EXPECT_TRUE(check_nic_rates(many));
}

}  // namespace
}  // namespace qmasq::controller
