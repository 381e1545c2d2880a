// SPDX-License-Identifier: Apache-2.0
#include "conntrack/tracker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/unit/conntrack/values.h"

namespace qmasq::conntrack {
namespace {

using namespace test;  // NOLINT: all of this is about values

constexpr VpcUid kVpc{1};

class TrackerTest : public ::testing::Test {
 protected:
  TrackerTest() {
    put(1, 10, "10.0.0.1", {1});
    put(2, 11, "10.0.0.2", {2});
    change({group(1, {}), group(2, {allow_in("r1", sg(1))})});
  }
  void put(std::uint64_t uid, std::uint64_t host, const char* address,
           const std::vector<std::uint64_t>& groups) {
    TableDirectory::Member member{kVpc, HostUid{host}, {ip(address)}, {}};
    for (auto each : groups)
      member.groups.push_back(SecurityGroupUid{each});
    directory_.put(EndpointUid{uid}, std::move(member));
  }
  std::vector<Effect> change(std::vector<Group> groups, std::vector<EndpointUid> endpoints = {}) {
    PolicyChange change;
    change.groups = std::move(groups);
    change.endpoints = std::move(endpoints);
    return tracker_.apply(std::move(change));
  }
  static Tracked connection(std::uint32_t handle) {
    return {{1, handle},    Transport::kRc, EndpointUid{1}, EndpointUid{2},
            ip("10.0.0.1"), ip("10.0.0.2"), HostUid{11}};
  }

  GroupSets sets_;
  TableDirectory directory_{sets_};
  Tracker tracker_{sets_, directory_, {3}};
};

TEST_F(TrackerTest, CutsWhatAChangeOfRulesForbids) {
  const Admission admission = tracker_.admit(connection(1));
  ASSERT_EQ(admission.result, Admission::Result::kAdmitted);
  EXPECT_TRUE(change({group(2, {allow_in("r2", sg(1))})}).empty());
  const auto effects = change({group(2, {})});
  ASSERT_EQ(effects.size(), 1U);
  EXPECT_EQ(effects[0].kind, Effect::Kind::kCut);
  EXPECT_EQ(effects[0].cause, Effect::Cause::kRules);
  EXPECT_EQ(effects[0].ticket, admission.ticket);
  EXPECT_EQ(effects[0].before->verdict.first_opens.ingress.deciding_rule()->id, "r2");
  EXPECT_EQ(tracker_.size(), 0U);
  EXPECT_EQ(tracker_.admit(connection(1)).result, Admission::Result::kForbidden);
}

TEST_F(TrackerTest, SaysWhenOperationsChange) {
  ASSERT_EQ(tracker_.admit(connection(1)).result, Admission::Result::kAdmitted);
  Rule narrow = allow_out("out", any());
  narrow.operations = {Operations::kSend};
  const auto effects = change({group(1, {narrow})});
  ASSERT_EQ(effects.size(), 1U);
  EXPECT_EQ(effects[0].kind, Effect::Kind::kChanged);
  EXPECT_EQ(effects[0].after->verdict.on_first, Operations{Operations::kSend});
  EXPECT_EQ(tracker_.size(), 1U);
}

TEST_F(TrackerTest, FollowsEndpoints) {
  ASSERT_EQ(tracker_.admit(connection(1)).result, Admission::Result::kAdmitted);
  put(2, 12, "10.0.0.2", {2});
  auto effects = change({}, {EndpointUid{2}});
  ASSERT_EQ(effects.size(), 1U);
  EXPECT_EQ(effects[0].cause, Effect::Cause::kPeerMoved);

  put(2, 11, "10.0.0.2", {2});
  ASSERT_EQ(tracker_.admit(connection(1)).result, Admission::Result::kAdmitted);
  put(2, 11, "10.0.0.9", {2});
  effects = change({}, {EndpointUid{2}});
  ASSERT_EQ(effects.size(), 1U);
  EXPECT_EQ(effects[0].cause, Effect::Cause::kPeerGone);

  put(2, 11, "10.0.0.2", {2});
  ASSERT_EQ(tracker_.admit(connection(1)).result, Admission::Result::kAdmitted);
  put(1, 10, "10.0.0.1", {});
  effects = change({}, {EndpointUid{1}});
  ASSERT_EQ(effects.size(), 1U);
  EXPECT_EQ(effects[0].cause, Effect::Cause::kRules);

  EXPECT_EQ(tracker_.admit(connection(1)).result, Admission::Result::kForbidden);
  directory_.remove(EndpointUid{1});
  EXPECT_EQ(tracker_.admit(connection(1)).result, Admission::Result::kGone);
}

TEST_F(TrackerTest, ARemovedGroupClosesWhatItOpened) {
  ASSERT_EQ(tracker_.admit(connection(1)).result, Admission::Result::kAdmitted);
  PolicyChange change;
  change.removed_groups = {SecurityGroupUid{2}};
  EXPECT_EQ(tracker_.apply(change).size(), 1U);
}

TEST_F(TrackerTest, ASnapshotForgetsGroupsThatAreNotInIt) {
  ASSERT_EQ(tracker_.admit(connection(1)).result, Admission::Result::kAdmitted);
  PolicyChange change;
  change.snapshot = true;
  change.groups = {group(1, {}), group(2, {allow_in("r1", sg(1))})};
  EXPECT_TRUE(tracker_.apply(change).empty());
  change.groups.pop_back();
  EXPECT_EQ(tracker_.apply(change).size(), 1U);
}

TEST_F(TrackerTest, ARemovedVpcTakesAllAlong) {
  ASSERT_EQ(tracker_.admit(connection(1)).result, Admission::Result::kAdmitted);
  directory_.remove(EndpointUid{1});
  directory_.remove(EndpointUid{2});
  PolicyChange change;
  change.removed_vpcs = {kVpc};
  EXPECT_EQ(tracker_.apply(change).size(), 1U);
  EXPECT_EQ(sets_.size().groups, 0U);
}

TEST_F(TrackerTest, AQueuePairOnItsWayToAnotherPeerHasBothAdmissions) {
  const auto first = tracker_.admit(connection(1));
  const auto second = tracker_.admit(connection(1));
  EXPECT_EQ(tracker_.size(), 2U);
  tracker_.release(second.ticket);
  EXPECT_EQ(tracker_.size(), 1U);
  const auto effects = change({group(2, {})});
  ASSERT_EQ(effects.size(), 1U);
  EXPECT_EQ(effects[0].ticket, first.ticket);
  tracker_.release(first.ticket);  // cut already
  EXPECT_EQ(tracker_.size(), 0U);
}

TEST_F(TrackerTest, AVpcHasOnlySoManyConnections) {
  std::vector<Ticket> tickets;
  for (std::uint32_t handle = 1; handle <= 3; ++handle) {
    const auto admission = tracker_.admit(connection(handle));
    ASSERT_EQ(admission.result, Admission::Result::kAdmitted);
    tickets.push_back(admission.ticket);
  }
  EXPECT_EQ(tracker_.admit(connection(4)).result, Admission::Result::kLimit);
  EXPECT_EQ(tracker_.connections_of(kVpc), 3U);
  tracker_.release(tickets[1]);
  EXPECT_EQ(tracker_.admit(connection(4)).result, Admission::Result::kAdmitted);
}

TEST_F(TrackerTest, OnlyWhatAChangeCanTouchIsLookedAt) {
  put(3, 11, "10.0.0.3", {3});
  change({group(3, {allow_in("r1", sg(1))})});
  Tracked other = connection(2);
  other.peer = EndpointUid{3};
  other.peer_address = ip("10.0.0.3");
  ASSERT_EQ(tracker_.admit(connection(1)).result, Admission::Result::kAdmitted);
  ASSERT_EQ(tracker_.admit(other).result, Admission::Result::kAdmitted);
  auto before = tracker_.counters().looked_at_again;
  change({group(3, {allow_in("r1", sg(1)), deny_in("r2", sg(9))})});
  EXPECT_EQ(tracker_.counters().looked_at_again, before);  // nobody carries group 9
  change({group(3, {allow_in("r1", any())})});
  EXPECT_EQ(tracker_.counters().looked_at_again, before + 1);
  change({group(3, {allow_in("r1", any())})});
  EXPECT_EQ(tracker_.counters().looked_at_again, before + 1);
}

TEST_F(TrackerTest, SupposingChangesNothing) {
  ASSERT_EQ(tracker_.admit(connection(1)).result, Admission::Result::kAdmitted);
  Hypothesis hypothesis;
  hypothesis.groups = {group(2, {})};
  EXPECT_EQ(tracker_.suppose(hypothesis).size(), 1U);
  hypothesis.groups.clear();
  hypothesis.endpoints = {{EndpointUid{1}, {}, {ip("10.0.0.1")}}};
  EXPECT_EQ(tracker_.suppose(hypothesis).size(), 1U);
  hypothesis.endpoints = {{EndpointUid{2}, {SecurityGroupUid{2}}, {ip("10.0.0.7")}}};
  ASSERT_EQ(tracker_.suppose(hypothesis).size(), 1U);
  EXPECT_EQ(tracker_.suppose(hypothesis)[0].cause, Effect::Cause::kPeerGone);
  EXPECT_EQ(tracker_.size(), 1U);
  EXPECT_TRUE(change({group(2, {allow_in("r1", sg(1))})}).empty());
}

TEST_F(TrackerTest, ShadowRulesAreReportedWithTheirSide) {
  Rule shadow = deny_in("s", any(), 900);
  shadow.shadow = true;
  change({group(2, {allow_in("r1", sg(1)), shadow})});
  const auto admission = tracker_.admit(connection(1));
  ASSERT_EQ(admission.result, Admission::Result::kAdmitted);
  ASSERT_EQ(admission.shadow.size(), 1U);
  EXPECT_EQ(admission.shadow[0].endpoint, EndpointUid{2});
  EXPECT_EQ(admission.shadow[0].direction, Direction::kIngress);
}

// For the thread sanitizer: verbs on their way while rules change. Whatever the order, in the end
// there is nothing that the rules forbid.
TEST_F(TrackerTest, VerbsAndChangesAtOnce) {
  Tracker tracker(sets_, directory_, {});
  std::atomic<bool> stop = false;
  auto verbs = [&](std::uint64_t context) {
    for (std::uint32_t handle = 0; !stop.load(); ++handle) {
      Tracked mine = connection(handle);
      mine.key.context = context;
      const auto admission = tracker.admit(mine);
      if (handle % 3 != 0) tracker.release(admission.ticket);
    }
  };
  std::thread one(verbs, 1);
  std::thread two(verbs, 2);
  for (int i = 0; i < 300; ++i) {
    PolicyChange change;
    change.groups = {i % 2 == 0 ? group(2, {}) : group(2, {allow_in("r1", sg(1))})};
    (void)tracker.apply(change);
    (void)tracker.suppose({{group(2, {})}, {}});
  }
  stop = true;
  one.join();
  two.join();
  PolicyChange last;
  last.groups = {group(2, {})};
  (void)tracker.apply(last);
  EXPECT_EQ(tracker.size(), 0U);
}

}  // namespace
}  // namespace qmasq::conntrack
