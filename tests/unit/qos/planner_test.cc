// SPDX-License-Identifier: Apache-2.0
// Small trees, as people would draw them.
#include "qos/planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/qos/values.h"

namespace qmasq::qos {
namespace {

using test::kMbit;
using test::limits;
using test::lines;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class PlannerTest : public ::testing::Test {
 protected:
  void rate(std::uint64_t mbit) { planner_.set_rate(BitsPerSecond{mbit * kMbit}); }
  void vpc(std::uint64_t uid, const Bandwidth& bandwidth) {
    planner_.put_vpc(VpcUid{uid}, bandwidth);
  }
  void endpoint(std::uint64_t uid, std::uint64_t vpc, const Bandwidth& bandwidth = {}) {
    planner_.put_endpoint(EndpointUid{uid}, VpcUid{vpc}, bandwidth, ports(uid));
  }
  static PortBlock ports(std::uint64_t uid) {
    return {static_cast<std::uint16_t>(0xc000 + uid * 16), 16};
  }
  [[nodiscard]] Node at(const NodeId& id) const { return planner_.plan().nodes.at(id); }
  [[nodiscard]] Node at_vpc(std::uint64_t uid) const { return at(NodeId::vpc(VpcUid{uid})); }
  [[nodiscard]] Node at_endpoint(std::uint64_t uid) const {
    return at(NodeId::endpoint(EndpointUid{uid}));
  }
  [[nodiscard]] std::vector<std::string> shortfalls() const {
    std::vector<std::string> out;
    for (const Shortfall& one : planner_.shortfalls()) {
      out.push_back(to_string(one.node) + ": " + to_string(one.planned) + " of " +
                    to_string(one.asked));
    }
    return out;
  }

  Planner planner_;
};

TEST_F(PlannerTest, NothingWithoutRateOrEndpoints) {
  vpc(1, limits(15, 20));
  EXPECT_THAT(planner_.take_changes(), IsEmpty());
  rate(30);
  EXPECT_THAT(lines(planner_.plan()), IsEmpty()) << "nobody of VPC 1 is here";
  endpoint(11, 1);
  EXPECT_EQ(planner_.take_changes().size(), 4U);
  rate(0);
  EXPECT_THAT(lines(planner_.plan()), IsEmpty());
  EXPECT_THAT(planner_.shortfalls(), IsEmpty());
  EXPECT_EQ(planner_.take_changes().size(), 4U);
  rate(30);
  planner_.remove_endpoint(EndpointUid{11});
  EXPECT_THAT(planner_.take_changes(), IsEmpty());
}

TEST_F(PlannerTest, WithoutPoliciesAllMayUseAllOfIt) {
  rate(30);
  endpoint(11, 1);
  endpoint(12, 1);
  EXPECT_THAT(
      lines(planner_.plan()),
      ElementsAre("nic: 30Mbit to 30Mbit", "other: 8kbit to 30Mbit", "vpc 1: 16kbit to 30Mbit",
                  "endpoint 11: 8kbit to 30Mbit", "endpoint 12: 8kbit to 30Mbit"));
  EXPECT_EQ(at_endpoint(11).ports, ports(11));
  EXPECT_EQ(at_endpoint(11).parent, NodeId::vpc(VpcUid{1}));
  EXPECT_EQ(at_vpc(1).parent, NodeId::nic());
}

// Blue is promised 15 of 30, red may have 10 and shares it 3 to 1.
TEST_F(PlannerTest, EachHasWhatItsPolicySays) {
  rate(30);
  vpc(1, limits(15, 0));
  vpc(2, limits(0, 10));
  endpoint(11, 1);
  endpoint(21, 2, limits(0, 0, 30));
  endpoint(22, 2, limits(0, 4));
  EXPECT_THAT(
      lines(planner_.plan()),
      ElementsAre("nic: 30Mbit to 30Mbit", "other: 8kbit to 30Mbit", "vpc 1: 15Mbit to 30Mbit",
                  "vpc 2: 16kbit to 10Mbit", "endpoint 11: 8kbit to 30Mbit",
                  "endpoint 21: 8kbit to 10Mbit, weight 30", "endpoint 22: 8kbit to 4Mbit"));
  EXPECT_THAT(shortfalls(), IsEmpty());
}

TEST_F(PlannerTest, PromisesToEndpointsAddUpToTheirVpcs) {
  rate(100);
  vpc(1, limits(15, 0));
  endpoint(11, 1, limits(10, 0));
  EXPECT_EQ(at_vpc(1).guaranteed.value, 15 * kMbit);
  endpoint(12, 1, limits(20, 0));
  EXPECT_EQ(at_vpc(1).guaranteed.value, 30 * kMbit);
  EXPECT_EQ(at_endpoint(12).guaranteed.value, 20 * kMbit);
  endpoint(12, 1, limits(0, 0));
  EXPECT_EQ(at_vpc(1).guaranteed.value, 15 * kMbit);
}

TEST_F(PlannerTest, AVpcsMaximumScalesThePromisesToItsEndpoints) {
  rate(100);
  vpc(1, limits(0, 20));
  endpoint(11, 1, limits(30, 0));
  endpoint(12, 1, limits(10, 0));
  // Beyond 8 kbit each: 19.984 Mbit in the proportion of 29.992 to 9.992.
  EXPECT_EQ(at_vpc(1).guaranteed.value, 20 * kMbit);
  EXPECT_EQ(at_endpoint(11).guaranteed.value, 8000 + 19'984'000ULL * 29'992 / 39'984);
  EXPECT_EQ(at_endpoint(12).guaranteed.value, 8000 + 19'984'000ULL * 9'992 / 39'984);
  EXPECT_THAT(shortfalls(),
              ElementsAre("vpc 1: 20Mbit of 40Mbit", "endpoint 11: 14997999bit of 30Mbit",
                          "endpoint 12: 5002kbit of 10Mbit"));
  vpc(1, limits(0, 0));
  EXPECT_THAT(shortfalls(), IsEmpty());
  EXPECT_EQ(at_endpoint(12).guaranteed.value, 10 * kMbit);
}

TEST_F(PlannerTest, ATooSmallNicScalesAllThatIsPromised) {
  rate(30);
  vpc(1, limits(25, 0));
  vpc(2, limits(20, 0));
  endpoint(11, 1, limits(25, 0));
  endpoint(21, 2);
  // 30 Mbit less three times 8 kbit, in the proportion of 24.992 to 19.992.
  const std::uint64_t first = 8000 + 29'976'000ULL * 24'992 / 44'984;
  EXPECT_EQ(first, 16'661'925U);
  EXPECT_THAT(lines(planner_.plan()),
              ElementsAre("nic: 30Mbit to 30Mbit", "other: 8kbit to 30Mbit",
                          "vpc 1: 16661925bit to 30Mbit", "vpc 2: 13330074bit to 30Mbit",
                          "endpoint 11: 16661925bit to 30Mbit", "endpoint 21: 8kbit to 30Mbit"));
  EXPECT_THAT(shortfalls(),
              ElementsAre("vpc 1: 16661925bit of 25Mbit", "vpc 2: 13330074bit of 20Mbit",
                          "endpoint 11: 16661925bit of 25Mbit"));
}

TEST_F(PlannerTest, WhoIsPromisedAllFallsShortByTheLeastOfOthers) {
  rate(30);
  vpc(1, limits(30, 0));
  endpoint(11, 1);
  EXPECT_THAT(shortfalls(), ElementsAre("vpc 1: 29992kbit of 30Mbit"));
  vpc(1, limits(29, 0));
  EXPECT_THAT(shortfalls(), IsEmpty());
}

TEST_F(PlannerTest, NobodyStarvesHoweverSmallTheRate) {
  planner_.set_rate(BitsPerSecond{1});
  Bandwidth one_bit;
  one_bit.guaranteed = one_bit.maximum = BitsPerSecond{1};
  vpc(1, one_bit);
  endpoint(11, 1, one_bit);
  endpoint(12, 1, limits(10, 0));
  endpoint(21, 2);
  EXPECT_THAT(
      lines(planner_.plan()),
      ElementsAre("nic: 32kbit to 32kbit", "other: 8kbit to 32kbit", "vpc 1: 16kbit to 16kbit",
                  "vpc 2: 8kbit to 32kbit", "endpoint 11: 8kbit to 8kbit",
                  "endpoint 12: 8kbit to 16kbit", "endpoint 21: 8kbit to 32kbit"));
  EXPECT_EQ(test::fault(planner_.plan()), "");
}

TEST_F(PlannerTest, TheLargestNumbersFit) {
  const BitsPerSecond most{~std::uint64_t{0}};
  Bandwidth all;
  all.guaranteed = all.maximum = most;
  all.burst = ~std::uint64_t{0};
  all.weight = ~std::uint32_t{0};
  planner_.set_rate(most);
  for (std::uint64_t uid = 1; uid <= 1000; ++uid) {
    vpc(uid % 3, all);
    endpoint(uid, uid % 3, all);
  }
  EXPECT_EQ(test::fault(planner_.plan()), "");
  EXPECT_EQ(at(NodeId::nic()).maximum.value, 10'000'000 * kMbit);
  EXPECT_EQ(at_vpc(1).weight, kMaxWeight);
}

TEST_F(PlannerTest, BurstIsTenMillisecondsOfThePlannedMaximum) {
  rate(1000);
  vpc(1, limits(0, 100));
  Bandwidth own = limits(0, 50);
  own.burst = 4096;
  endpoint(11, 1, own);
  endpoint(12, 1, limits(0, 200));
  endpoint(13, 1, limits(0, 1));
  EXPECT_EQ(at(NodeId::nic()).burst, 1'250'000U);
  EXPECT_EQ(at(NodeId::other()).burst, 1'250'000U);
  EXPECT_EQ(at_vpc(1).burst, 125'000U);
  EXPECT_EQ(at_endpoint(11).burst, 4096U);
  EXPECT_EQ(at_endpoint(12).burst, 125'000U);
  EXPECT_EQ(at_endpoint(13).burst, 16384U);
}

TEST_F(PlannerTest, AChangeTouchesNoOneElse) {
  rate(100);
  vpc(1, limits(0, 20));
  endpoint(11, 1, limits(1, 0));
  endpoint(12, 1, limits(1, 0));
  endpoint(21, 2);
  (void)planner_.take_changes();
  EXPECT_THAT(planner_.take_changes(), IsEmpty());
  endpoint(11, 1, limits(1, 0, 50));
  auto steps = planner_.take_changes();
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0], (Step{Step::Kind::kChange, at_endpoint(11)}));
  endpoint(11, 1, limits(2, 0, 50));
  steps = planner_.take_changes();
  ASSERT_EQ(steps.size(), 2U) << "and its VPC's guarantee";
  endpoint(11, 1, limits(1, 0, 50));
  endpoint(11, 1, limits(2, 0, 50));
  EXPECT_THAT(planner_.take_changes(), IsEmpty()) << "there and back again";
  endpoint(13, 1);
  planner_.remove_endpoint(EndpointUid{13});
  EXPECT_THAT(planner_.take_changes(), IsEmpty());
}

TEST_F(PlannerTest, AVpcTakesItsEndpointsAndItsPolicyWithIt) {
  rate(100);
  vpc(1, limits(50, 60));
  endpoint(11, 1);
  endpoint(21, 2);
  planner_.remove_vpc(VpcUid{1});
  EXPECT_THAT(lines(planner_.plan()),
              ElementsAre("nic: 100Mbit to 100Mbit", "other: 8kbit to 100Mbit",
                          "vpc 2: 8kbit to 100Mbit", "endpoint 21: 8kbit to 100Mbit"));
  endpoint(11, 1);
  EXPECT_EQ(at_vpc(1).maximum.value, 100 * kMbit) << "its policy went with it";
}

TEST_F(PlannerTest, AnEndpointThatMovesIsAnotherNode) {
  rate(100);
  endpoint(11, 1);
  (void)planner_.take_changes();
  endpoint(11, 2);
  const auto steps = planner_.take_changes();
  ASSERT_EQ(steps.size(), 4U);
  EXPECT_EQ(steps[0].kind, Step::Kind::kRemove);
  EXPECT_EQ(to_string(steps[0].node.id), "endpoint 11");
  EXPECT_EQ(to_string(steps[1].node.id), "vpc 1");
  EXPECT_EQ(to_string(steps[2].node.id), "vpc 2");
  EXPECT_EQ(steps[3].node.parent, NodeId::vpc(VpcUid{2}));
}

TEST_F(PlannerTest, StartsFromWhatTheKernelHas) {
  rate(100);
  vpc(1, limits(50, 60));
  endpoint(11, 1);
  endpoint(12, 1);
  const Plan before = planner_.plan();

  // A former process made it, with one endpoint that is gone by now and one rate of old.
  Plan found = before;
  Node gone = found.nodes.at(NodeId::endpoint(EndpointUid{12}));
  gone.id = NodeId::endpoint(EndpointUid{13});
  gone.ports = ports(13);
  found.nodes[gone.id] = gone;
  found.nodes[NodeId::vpc(VpcUid{1})].maximum.value = 40 * kMbit;
  planner_.assume(found);
  auto steps = planner_.take_changes();
  EXPECT_EQ(steps, diff(found, before));
  EXPECT_EQ(steps.size(), 2U);
  EXPECT_THAT(planner_.take_changes(), IsEmpty());

  // All is lost.
  planner_.assume({});
  EXPECT_EQ(planner_.take_changes(), diff({}, before));
  // Somebody else's tree.
  planner_.remove_vpc(VpcUid{1});
  planner_.assume(found);
  EXPECT_EQ(planner_.take_changes(), diff(found, {}));
}

}  // namespace
}  // namespace qmasq::qos
