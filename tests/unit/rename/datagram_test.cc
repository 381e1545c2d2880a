// SPDX-License-Identifier: Apache-2.0
#include <cerrno>

#include "tests/unit/rename/rename_fixture.h"

namespace qmasq::vbond::testing {
namespace {

using conntrack::Direction;
using uverbs::QpState;
using uverbs::QpType;

class DatagramTest : public RenameFixture {
 protected:
  static conntrack::Rule ud(Direction direction, const std::string& peer = {}) {
    conntrack::Rule rule = group(1, "blue").rules[0];
    rule.id = direction == Direction::kIngress ? "ud-in" : "ud-out";
    rule.direction = direction;
    rule.transport = conntrack::Transport::kUd;
    if (!peer.empty()) {
      rule.remote = {};
      rule.remote.kind = conntrack::Remote::Kind::kCidr;
      rule.remote.cidr = parse_prefix(peer).value();
    }
    return rule;
  }
  void set_rules(std::vector<conntrack::Rule> rules) {
    Change change;
    conntrack::Group blue = group(1, "blue");
    blue.rules.insert(blue.rules.end(), rules.begin(), rules.end());
    change.groups = {blue};
    apply(change);
  }
  void allow_ud() { set_rules({ud(Direction::kIngress), ud(Direction::kEgress)}); }

  static QpKey ah_key(std::uint32_t number) { return {1, kFirstAddressHandle + number}; }
  static uverbs::CreateAh ah_to(const std::string& address) {
    uverbs::CreateAh out;
    out.dest = rtr(0, address).dest;
    return out;
  }
  // The errno; 0: the kernel has it by handle 70 + number.
  int create_ah(std::uint32_t number, uverbs::CreateAh command) {
    auto plan = renamer_.before_create_ah(blue_a_, ah_key(number), command);
    if (!plan) return plan.error().err;
    sent_ = command.dest;
    renamer_.after_create_ah(blue_a_, *plan, 70 + number);
    return 0;
  }
  void carry_out() {
    for (const auto& effect : effects_)
      renamer_.enforce(effect, hands_);
    for (const QpKey& key : renamer_.barred_datagrams())
      renamer_.bar_datagram(key, hands_);
  }

  uverbs::QpDest sent_;
  std::vector<std::pair<std::uint32_t, QpState>> modified_;
  std::vector<std::uint32_t> destroyed_;
  Hands hands_{[this](const uverbs::ModifyQp& command) {
                 modified_.emplace_back(command.qp_handle, command.state);
                 return 0;
               },
               [this](std::uint32_t handle) {
                 destroyed_.push_back(handle);
                 return 0;
               }};
};

TEST_F(DatagramTest, NoUdUnlessARuleNamesIt) {
  EXPECT_EQ(renamer_.check_create_qp(blue_a_, QpType::kUd).error().err, EACCES);
  EXPECT_NE(last_event().reason.find("could ever admit ud"), std::string::npos)
      << last_event().reason;
  EXPECT_EQ(create_ah(1, ah_to("10.0.0.2")), EACCES);
  EXPECT_EQ(last_event().verb, "CREATE_AH");
  allow_ud();
  EXPECT_TRUE(renamer_.check_create_qp(blue_a_, QpType::kUd));
  EXPECT_EQ(create_ah(1, ah_to("10.0.0.2")), 0);
}

TEST_F(DatagramTest, AnAddressHandleIsAConnectionWithPhysicalAddresses) {
  allow_ud();
  ASSERT_EQ(create_ah(1, ah_to("10.0.0.2")), 0);
  EXPECT_EQ(sent_.dgid, gid("192.168.0.2"));
  EXPECT_EQ(sent_.sgid_index, 1);
  EXPECT_EQ(sent_.flow_label, 0x4711U);   // not the tenant's
  EXPECT_EQ(sent_.traffic_class, 0x20U);  // likewise
  EXPECT_EQ(last_event().type, EventType::kConnected);
  EXPECT_EQ(last_event().connection->transport, "ud");
  auto counts = connections_.counts();
  EXPECT_EQ(counts.address_handles, 1U);
  EXPECT_EQ(counts.connected, 1U);
  EXPECT_EQ(counts.total, 0U);  // QPs
  EXPECT_EQ(connections_.count_of(blue_a_.endpoint), 0U);
  EXPECT_EQ(tracker_.size(), 1U);
  renamer_.ah_destroyed(ah_key(1));
  EXPECT_EQ(last_event().type, EventType::kDisconnected);
  EXPECT_EQ(connections_.counts().address_handles, 0U);
  EXPECT_EQ(tracker_.size(), 0U);
  renamer_.ah_destroyed(ah_key(1));  // twice: nothing
}

TEST_F(DatagramTest, AHandleThatTheKernelDidNotGiveLeavesNothing) {
  allow_ud();
  uverbs::CreateAh command = ah_to("10.0.0.2");
  auto plan = renamer_.before_create_ah(blue_a_, ah_key(1), command);
  ASSERT_TRUE(plan);
  EXPECT_EQ(tracker_.size(), 1U);
  renamer_.after_create_ah(blue_a_, *plan, tl::unexpected(ENOMEM));
  EXPECT_EQ(tracker_.size(), 0U);
  EXPECT_FALSE(connections_.find(ah_key(1)));
}

TEST_F(DatagramTest, BadAddressVectorsAreRefused) {
  allow_ud();
  EXPECT_EQ(create_ah(1, ah_to("10.0.0.77")), EHOSTUNREACH);
  EXPECT_EQ(create_ah(1, ah_to("192.168.0.2")), EHOSTUNREACH);  // the host's own
  uverbs::CreateAh command = ah_to("10.0.0.2");
  command.dest.is_global = false;
  EXPECT_EQ(create_ah(1, command), EINVAL);
  command = ah_to("10.0.0.2");
  command.dest.sgid_index = 9;
  EXPECT_EQ(create_ah(1, command), EINVAL);
  EXPECT_EQ(tracker_.size(), 0U);
}

TEST_F(DatagramTest, AChangeCutsOneAddressAndLeavesTheOther) {
  allow_ud();
  ASSERT_EQ(create_ah(1, ah_to("10.0.0.2")), 0);
  ASSERT_EQ(create_ah(2, ah_to("10.0.0.4")), 0);
  renamer_.qp_created(blue_a_, 7, Qpn{0x11}, QpType::kUd);
  ASSERT_EQ(modify(blue_a_, to_state(7, QpState::kInit)), 0);
  set_rules({ud(Direction::kIngress, "10.0.0.4/32"), ud(Direction::kEgress, "10.0.0.4/32"),
             ud(Direction::kIngress, "10.0.0.1/32")});
  carry_out();
  EXPECT_EQ(destroyed_, std::vector<std::uint32_t>{71});
  EXPECT_TRUE(modified_.empty());  // the QP goes on with the other
  EXPECT_FALSE(connections_.find(ah_key(1)));
  EXPECT_TRUE(connections_.find(ah_key(2)));
  EXPECT_EQ(last_event().type, EventType::kCut);
  EXPECT_EQ(create_ah(3, ah_to("10.0.0.2")), EACCES);
}

TEST_F(DatagramTest, WithoutAnyRuleForItAUdQpEnds) {
  allow_ud();
  for (std::uint32_t handle : {7U, 8U})
    renamer_.qp_created(blue_a_, handle, Qpn{0x11}, QpType::kUd);
  ASSERT_EQ(modify(blue_a_, to_state(7, QpState::kInit)), 0);
  ASSERT_EQ(create_ah(1, ah_to("10.0.0.2")), 0);
  set_rules({});
  carry_out();
  EXPECT_EQ(destroyed_, std::vector<std::uint32_t>{71});
  // The other one has not left RESET.
  ASSERT_EQ(modified_.size(), 1U);
  EXPECT_EQ(modified_[0], std::make_pair(7U, QpState::kErr));
  EXPECT_EQ(connections_.find({1, 7})->state, QpState::kErr);
  EXPECT_EQ(modify(blue_a_, to_state(8, QpState::kInit)), EACCES);
  EXPECT_EQ(modify(blue_a_, to_state(7, QpState::kReset)), 0);
  EXPECT_EQ(modify(blue_a_, to_state(7, QpState::kInit)), EACCES);
  // Nobody looks at it again while it is dead.
  carry_out();
  EXPECT_EQ(modified_.size(), 1U);
  allow_ud();
  EXPECT_EQ(modify(blue_a_, to_state(7, QpState::kInit)), 0);
}

TEST_F(DatagramTest, AQpOnItsWayOutOfResetIsEndedBehindTheVerb) {
  allow_ud();
  renamer_.qp_created(blue_a_, 7, Qpn{0x11}, QpType::kUd);
  uverbs::ModifyQp command = to_state(7, QpState::kInit);
  auto plan = renamer_.before_modify(blue_a_, command);  // decided
  ASSERT_TRUE(plan);
  set_rules({});
  const auto barred = renamer_.barred_datagrams();  // before the verb is recorded
  renamer_.after_modify(blue_a_, *plan, 0);
  for (const QpKey& key : barred)
    renamer_.bar_datagram(key, hands_);
  EXPECT_EQ(connections_.find({1, 7})->state, QpState::kErr);
}

TEST_F(DatagramTest, TheContextTakesItsAddressesAlong) {
  allow_ud();
  ASSERT_EQ(create_ah(1, ah_to("10.0.0.2")), 0);
  renamer_.context_closed(blue_a_);
  EXPECT_EQ(tracker_.size(), 0U);
  EXPECT_EQ(connections_.counts().address_handles, 0U);
}

}  // namespace
}  // namespace qmasq::vbond::testing
