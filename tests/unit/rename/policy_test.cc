// SPDX-License-Identifier: Apache-2.0
#include <cerrno>

#include "conntrack/rule_text.h"
#include "tests/unit/rename/rename_fixture.h"

namespace qmasq::vbond::testing {
namespace {

using conntrack::Operations;
using uverbs::QpState;
using uverbs::QpType;
namespace access = uverbs::access;

class PolicyTest : public RenameFixture {
 protected:
  // What blue's default group becomes.
  void set_rules(std::vector<conntrack::Rule> rules) {
    Change change;
    conntrack::Group blue = group(1, "blue");
    blue.rules = std::move(rules);
    change.groups = {blue};
    apply(change);
  }
  static conntrack::Rule members_in(Operations operations = Operations::all()) {
    conntrack::Rule rule = group(1, "blue").rules[0];
    rule.operations = operations;
    return rule;
  }
  static conntrack::Rule members_out(Operations operations) {
    conntrack::Rule rule = members_in(operations);
    rule.id = "self-out";
    rule.direction = conntrack::Direction::kEgress;
    return rule;
  }
  // Both sides' rules speak for the memory of each, and openings add up: to narrow it, both must.
  void only(Operations operations) { set_rules({members_in(operations), members_out(operations)}); }

  static uverbs::ModifyQp init(std::uint32_t handle, std::uint32_t flags) {
    uverbs::ModifyQp out = to_state(handle, QpState::kInit);
    out.attr_mask |= qp_mask::kAccessFlags;
    out.access_flags = flags;
    return out;
  }
  // Decides, and takes it for done: what the kernel would have got.
  uverbs::ModifyQp done(uverbs::ModifyQp command) {
    auto plan = renamer_.before_modify(blue_a_, command);
    EXPECT_TRUE(plan);
    if (plan) renamer_.after_modify(blue_a_, *plan, 0);
    return command;
  }
  void make(std::uint32_t handle) { renamer_.qp_created(blue_a_, handle, Qpn{0x11}, QpType::kRc); }
  static constexpr std::uint32_t kWide =
      access::kLocalWrite | access::kRemoteRead | access::kRemoteWrite | access::kRemoteAtomic;
};

TEST_F(PolicyTest, WhoIsForbiddenGetsEaccesWithTheRule) {
  set_rules({});
  make(7);
  EXPECT_EQ(modify(blue_a_, rtr(7, "10.0.0.2")), EACCES);
  const Event event = last_event();
  EXPECT_EQ(event.type, EventType::kRefused);
  EXPECT_EQ(event.err, EACCES);
  EXPECT_NE(event.reason.find("vpcs/blue/endpoints/b does not admit vpcs/blue/endpoints/a"),
            std::string::npos)
      << event.reason;
  conntrack::Rule deny = members_in({});
  deny.id = "closed";
  deny.action = conntrack::Action::kDeny;
  set_rules({deny});
  EXPECT_EQ(modify(blue_a_, rtr(7, "10.0.0.2")), EACCES);
  EXPECT_NE(last_event().reason.find("default/closed"), std::string::npos) << last_event().reason;
}

TEST_F(PolicyTest, AccessFlagsAreNarrowedWithThePeerAndStaySo) {
  only({Operations::kSend | Operations::kRead});
  make(7);
  EXPECT_EQ(done(init(7, kWide)).access_flags, kWide);  // nobody can reach it yet
  uverbs::ModifyQp connected = done(rtr(7, "10.0.0.2"));
  EXPECT_TRUE(connected.sets(qp_mask::kAccessFlags));
  EXPECT_EQ(connected.access_flags, access::kLocalWrite | access::kRemoteRead);
  // A tenant that raises them later.
  uverbs::ModifyQp raise = to_state(7, QpState::kRts);
  raise.attr_mask |= qp_mask::kAccessFlags;
  raise.access_flags = kWide;
  EXPECT_EQ(done(raise).access_flags, access::kLocalWrite | access::kRemoteRead);
  // In the command that connects.
  make(8);
  uverbs::ModifyQp both = rtr(8, "10.0.0.2");
  both.attr_mask |= qp_mask::kAccessFlags;
  both.access_flags = access::kRemoteWrite;
  EXPECT_EQ(done(both).access_flags, 0U);
}

TEST_F(PolicyTest, WhatIsPermittedIsNotTouched) {
  make(7);
  done(init(7, kWide));
  EXPECT_FALSE(done(rtr(7, "10.0.0.2")).sets(qp_mask::kAccessFlags));
}

TEST_F(PolicyTest, FewerOperationsNarrowAQpThatStandsOrCutIt) {
  make(7);
  make(8);
  for (std::uint32_t handle : {7U, 8U}) {
    done(init(handle, kWide));
    done(rtr(handle, "10.0.0.2"));
  }
  only({Operations::kSend | Operations::kRead});
  ASSERT_EQ(effects_.size(), 2U);
  std::vector<uverbs::ModifyQp> commands;
  for (const auto& effect : effects_) {
    auto modify_qp = [&](const uverbs::ModifyQp& command) {
      commands.push_back(command);
      const bool narrows = command.attr_mask == qp_mask::kAccessFlags;
      // The NIC takes it of one QP and not of the other.
      return narrows && command.qp_handle == 8 ? EINVAL : 0;
    };
    renamer_.enforce(effect, {modify_qp, {}});
  }
  ASSERT_EQ(commands.size(), 3U);
  EXPECT_EQ(connections_.find({blue_a_.id, 7})->state, QpState::kRtr);
  EXPECT_EQ(connections_.find({blue_a_.id, 8})->state, QpState::kErr);
  EXPECT_EQ(tracker_.size(), 1U);
  std::vector<EventType> types;
  for (const Event& event : events())
    types.push_back(event.type);
  EXPECT_EQ(std::count(types.begin(), types.end(), EventType::kNarrowed), 1);
  EXPECT_EQ(std::count(types.begin(), types.end(), EventType::kCut), 1);
}

TEST_F(PolicyTest, ACutQpIsRefusedOnItsWayBack) {
  connect(blue_a_, 7, "10.0.0.2");
  set_rules({});
  ASSERT_EQ(effects_.size(), 1U);
  std::vector<QpState> states;
  auto kernel = [&](const uverbs::ModifyQp& command) {
    states.push_back(command.state);
    return 0;
  };
  renamer_.enforce(effects_[0], {kernel, {}});
  EXPECT_EQ(states, std::vector<QpState>{QpState::kErr});
  const Event event = last_event();
  EXPECT_EQ(event.type, EventType::kCut);
  EXPECT_NE(event.reason.find("was: "), std::string::npos) << event.reason;
  EXPECT_NE(event.reason.find("default/self-in"), std::string::npos) << event.reason;
  EXPECT_EQ(event.connection->peer_endpoint, "vpcs/blue/endpoints/b");
  EXPECT_EQ(modify(blue_a_, to_state(7, QpState::kReset)), 0);
  EXPECT_EQ(modify(blue_a_, to_state(7, QpState::kInit)), 0);
  EXPECT_EQ(modify(blue_a_, rtr(7, "10.0.0.2")), EACCES);
  // Once more: it has nothing to do with that connection any more.
  renamer_.enforce(effects_[0], {kernel, {}});
  EXPECT_EQ(states.size(), 1U);
}

TEST_F(PolicyTest, AFailedCommandLeavesTheConnectionThatWas) {
  connect(blue_a_, 7, "10.0.0.2");
  uverbs::ModifyQp elsewhere = rtr(7, "10.0.0.4");
  elsewhere.attr_mask = qp_mask::kAv;
  EXPECT_EQ(modify(blue_a_, elsewhere, EINVAL), EINVAL);
  EXPECT_EQ(tracker_.size(), 1U);
  set_rules({});
  ASSERT_EQ(effects_.size(), 1U);
  EXPECT_EQ(effects_[0].connection.peer, EndpointUid{102});
}

TEST_F(PolicyTest, ATransportThatNoRuleCouldAdmitIsRefusedAtTheStart) {
  conntrack::Rule none = members_in({});
  none.direction = conntrack::Direction::kEgress;
  none.action = conntrack::Action::kDeny;
  none.remote = {};
  set_rules({none});
  auto verdict = renamer_.check_create_qp(blue_a_, QpType::kRc);
  ASSERT_FALSE(verdict);
  EXPECT_EQ(verdict.error().err, EACCES);
  EXPECT_TRUE(renamer_.check_create_qp(red_a_, QpType::kRc));
}

TEST_F(PolicyTest, RulesThatLogAndShadowRulesMakeEvents) {
  conntrack::Rule logs = members_in();
  logs.log = true;
  conntrack::Rule shadow = members_in({});
  shadow.id = "shadow";
  shadow.action = conntrack::Action::kDeny;
  shadow.priority = 2000;
  shadow.shadow = true;
  set_rules({logs, shadow});
  connect(blue_a_, 7, "10.0.0.2");
  std::vector<EventType> types;
  for (const Event& event : events())
    types.push_back(event.type);
  EXPECT_EQ(std::count(types.begin(), types.end(), EventType::kAdmitted), 1);
  EXPECT_GE(std::count(types.begin(), types.end(), EventType::kShadowHit), 1);
  EXPECT_EQ(std::count(types.begin(), types.end(), EventType::kConnected), 1);
}

}  // namespace
}  // namespace qmasq::vbond::testing
