// SPDX-License-Identifier: Apache-2.0
#include "vbond/qos/policy_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "tests/unit/qos_agent/qos_world.h"

namespace qmasq::vbond {
namespace {

using test::endpoint;
using test::kElsewhere;
using test::kHere;
using test::policy;
using test::vpc;

// What the listener makes of it must be what list() says.
class Follower {
 public:
  explicit Follower(PolicyTable& table) {
    table.set_host(kHere);
    table.add_listener([this](const PolicyTable::Changed& changed) {
      EXPECT_FALSE(changed.empty());
      for (const auto& [uid, governed] : changed) {
        if (governed) {
          held[uid] = governed;
        } else {
          EXPECT_EQ(held.erase(uid), 1U) << "gone, and never came";
        }
      }
      ++calls;
    });
  }
  std::map<EndpointUid, GovernedPtr> held;
  int calls = 0;
};

std::string text(const GovernedPtr& one) {
  auto id = [](const std::shared_ptr<const qos::Policy>& of) {
    return of ? of->id + "/" + std::to_string(of->bandwidth.maximum.value_or(BitsPerSecond{}).value)
              : std::string("-");
  };
  return one->name + " " + one->vpc_name + " " + id(one->own) + " " + id(one->of_vpc);
}

std::vector<std::string> texts(const PolicyTable& table) {
  std::vector<std::string> out;
  for (const GovernedPtr& one : table.list())
    out.push_back(text(one));
  return out;
}

TEST(PolicyTable, KnowsEndpointsOfThisHostAndTheirPolicies) {
  PolicyTable table;
  Follower follower(table);
  Change change;
  change.snapshot = true;
  change.policies = {policy(70, 1, 5), policy(71, 0, 7)};
  change.vpcs = {vpc(1, 70), vpc(2)};
  change.endpoints = {endpoint(11, 1, 71), endpoint(12, 1, 0, kElsewhere), endpoint(21, 2)};
  table.apply(change);
  EXPECT_THAT(texts(table),
              ::testing::ElementsAre("vpcs/v1/endpoints/e11 vpcs/v1 p71/7000000 p70/5000000",
                                     "vpcs/v2/endpoints/e21 vpcs/v2 - -"));
  EXPECT_EQ(table.find(EndpointUid{12}), nullptr);
  EXPECT_EQ(follower.calls, 1);
  table.apply(change);
  EXPECT_EQ(follower.calls, 1) << "the same again is no change";
}

TEST(PolicyTable, AChangedPolicyReachesWhoeverHasIt) {
  PolicyTable table;
  Follower follower(table);
  Change change;
  change.snapshot = true;
  change.policies = {policy(70, 0, 5)};
  change.vpcs = {vpc(1, 70), vpc(2)};
  change.endpoints = {endpoint(11, 1), endpoint(21, 2, 70), endpoint(22, 2)};
  table.apply(change);
  Change faster;
  faster.policies = {policy(70, 0, 6)};
  follower.calls = 0;
  const GovernedPtr bystander = follower.held[EndpointUid{22}];
  table.apply(faster);
  EXPECT_EQ(follower.calls, 1);
  EXPECT_EQ(follower.held[EndpointUid{22}], bystander);
  EXPECT_EQ(follower.held[EndpointUid{11}]->of_vpc->bandwidth.maximum, BitsPerSecond{6'000'000});
  EXPECT_EQ(follower.held[EndpointUid{21}]->own->bandwidth.maximum, BitsPerSecond{6'000'000});
  Change gone;
  gone.removed_policies = {QosPolicyUid{70}};
  table.apply(gone);
  EXPECT_EQ(follower.held[EndpointUid{11}]->of_vpc, nullptr);
}

TEST(PolicyTable, EndpointsThatMoveComeAndGo) {
  PolicyTable table;
  Follower follower(table);
  Change change;
  change.snapshot = true;
  change.vpcs = {vpc(1)};
  change.endpoints = {endpoint(11, 1)};
  table.apply(change);
  Change away;
  away.endpoints = {endpoint(11, 1, 0, kElsewhere)};
  table.apply(away);
  EXPECT_TRUE(follower.held.empty());
  Change back;
  back.endpoints = {endpoint(11, 1)};
  table.apply(back);
  EXPECT_EQ(follower.held.size(), 1U);
  Change vpc_gone;
  vpc_gone.removed_vpcs = {VpcUid{1}};
  table.apply(vpc_gone);
  EXPECT_TRUE(follower.held.empty());
}

TEST(PolicyTable, TheEndpointsDscpGoesBeforeItsVpcs) {
  GovernedEndpoint one;
  EXPECT_FALSE(one.dscp().has_value());
  qos::Policy of_vpc;
  of_vpc.dscp = 10;
  one.of_vpc = std::make_shared<const qos::Policy>(of_vpc);
  EXPECT_EQ(one.dscp(), 10);
  qos::Policy own;
  one.own = std::make_shared<const qos::Policy>(own);
  EXPECT_EQ(one.dscp(), 10);
  own.dscp = 0;
  one.own = std::make_shared<const qos::Policy>(own);
  EXPECT_EQ(one.dscp(), 0);
}

// Objects of one state, each a change of its own: whatever the order, and whatever comes twice, the
// end is the same; as with one snapshot of all.
TEST(PolicyTable, TheOrderOfChangesDoesNotMatter) {
  std::vector<Change> pieces;
  for (std::uint64_t uid : {70, 71}) {
    pieces.emplace_back().policies = {policy(uid, 0, uid)};
  }
  pieces.emplace_back().vpcs = {vpc(1, 70)};
  pieces.emplace_back().vpcs = {vpc(2, 71)};
  pieces.emplace_back().endpoints = {endpoint(11, 1, 71)};
  pieces.emplace_back().endpoints = {endpoint(12, 1, 0, kElsewhere)};
  pieces.emplace_back().endpoints = {endpoint(21, 2, 70)};

  PolicyTable at_once;
  Follower whole(at_once);
  Change snapshot;
  snapshot.snapshot = true;
  for (const Change& piece : pieces) {
    snapshot.policies.insert(snapshot.policies.end(), piece.policies.begin(), piece.policies.end());
    snapshot.vpcs.insert(snapshot.vpcs.end(), piece.vpcs.begin(), piece.vpcs.end());
    snapshot.endpoints.insert(snapshot.endpoints.end(), piece.endpoints.begin(),
                              piece.endpoints.end());
  }
  at_once.apply(snapshot);
  const auto expected = texts(at_once);
  ASSERT_EQ(expected.size(), 2U);

  std::vector<std::size_t> order(pieces.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  std::mt19937 random(1);
  do {
    PolicyTable table;
    Follower follower(table);
    for (std::size_t i : order) {
      table.apply(pieces[i]);
      if (random() % 4 == 0) table.apply(pieces[order[random() % order.size()]]);
    }
    for (std::size_t i : order)
      table.apply(pieces[i]);
    ASSERT_EQ(texts(table), expected);
    ASSERT_EQ(follower.held.size(), expected.size());
    // A reconnect in the middle brings all of it again.
    table.apply(snapshot);
    ASSERT_EQ(texts(table), expected);
    for (const GovernedPtr& one : table.list())
      ASSERT_EQ(text(follower.held.at(one->uid)), text(one));
  } while (std::next_permutation(order.begin(), order.end()));
}

}  // namespace
}  // namespace qmasq::vbond
