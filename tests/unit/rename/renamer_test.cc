// SPDX-License-Identifier: Apache-2.0
#include "vbond/rename/renamer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "tests/unit/rename/rename_fixture.h"
#include "vbond/nic/vpc_gid.h"
#include "vbond/rename/port_block_policy.h"

namespace qmasq::vbond::testing {
namespace {

using ::testing::HasSubstr;
using uverbs::QpState;
using uverbs::QpType;

class RenamerTest : public RenameFixture {};

TEST_F(RenamerTest, RtrGoesOutInPhysicalTerms) {
  renamer_.qp_created(blue_a_, 7, Qpn{0x11}, QpType::kRc);
  uverbs::ModifyQp command = rtr(7, "10.0.0.2");
  uverbs::ModifyQp expected = command;
  expected.dest = uverbs::QpDest{};
  expected.dest.dgid = gid("192.168.0.2");
  expected.dest.sgid_index = 1;
  expected.dest.flow_label = 0x4711;
  expected.dest.traffic_class = 0x20;
  expected.dest.sl = 3;
  expected.dest.hop_limit = 64;
  expected.dest.is_global = true;
  expected.dest.port_num = 1;
  auto plan = renamer_.before_modify(blue_a_, command);
  ASSERT_TRUE(plan) << plan.error().reason;
  EXPECT_EQ(command, expected);
  ASSERT_TRUE(plan->path);
  EXPECT_EQ(plan->path->peer, EndpointUid{102});
  EXPECT_EQ(plan->path->peer_name, "vpcs/blue/endpoints/b");
  EXPECT_EQ(plan->path->peer_host_name, "hosts/hostB");
  EXPECT_EQ(wire_.asked().endpoint, EndpointUid{101});
  EXPECT_EQ(wire_.asked().qpn, Qpn{0x11});
  EXPECT_EQ(wire_.asked().peer_qpn, Qpn{0x55});
}

TEST_F(RenamerTest, TheSameGidMeansSomebodyElseInAnotherVpc) {
  uverbs::ModifyQp blue = rtr(7, "10.0.0.2");
  uverbs::ModifyQp red = rtr(7, "10.0.0.2");
  auto blue_plan = renamer_.before_modify(blue_a_, blue);
  auto red_plan = renamer_.before_modify(red_a_, red);
  ASSERT_TRUE(blue_plan && red_plan);
  EXPECT_EQ(blue_plan->path->peer, EndpointUid{102});
  EXPECT_EQ(red_plan->path->peer, EndpointUid{202});
}

TEST_F(RenamerTest, ThePhysicalIndexIsTheNicsWhateverTheVirtualOneIs) {
  nics_.update({nic("rxe0", "192.168.0.1", 9)});
  for (auto [index, dgid] : {std::pair<std::uint8_t, const char*>{1, "10.0.0.2"}, {2, "fd00::2"}}) {
    uverbs::ModifyQp command = rtr(7, dgid, index);
    ASSERT_TRUE(renamer_.before_modify(blue_a_, command));
    EXPECT_EQ(command.dest.sgid_index, 9);
    EXPECT_EQ(command.dest.dgid, gid("192.168.0.2")) << "an IPv6 VPC runs over an IPv4 network";
  }
}

TEST_F(RenamerTest, LinkLocalGidsReachTheirMac) {
  uverbs::ModifyQp command = rtr(7, to_string(Gid::link_local(mac(102)).address()), 0);
  auto plan = renamer_.before_modify(blue_a_, command);
  ASSERT_TRUE(plan) << plan.error().reason;
  EXPECT_EQ(plan->path->peer, EndpointUid{102});
  EXPECT_EQ(command.dest.dgid, gid("192.168.0.2"));
}

TEST_F(RenamerTest, APeerOnThisHostIsReachedThroughTheNicItself) {
  // The controller still has the old address of this host.
  nics_.update({nic("rxe0", "192.168.0.77", 4)});
  uverbs::ModifyQp command = rtr(7, "10.0.0.4");
  auto plan = renamer_.before_modify(blue_a_, command);
  ASSERT_TRUE(plan) << plan.error().reason;
  EXPECT_EQ(command.dest.dgid, gid("192.168.0.77"));
  EXPECT_EQ(command.dest.sgid_index, 4);
  uverbs::ModifyQp self = rtr(8, "10.0.0.1");
  EXPECT_TRUE(renamer_.before_modify(blue_a_, self));
}

TEST_F(RenamerTest, WithoutAnAddressVectorNothingOfItIsPassedOn) {
  uverbs::ModifyQp command = rtr(7, "10.0.0.2");
  command.attr_mask = qp_mask::kState | qp_mask::kPort;
  command.state = QpState::kInit;
  command.port_num = 1;
  command.alt_dest.dgid = gid("192.168.0.2");
  ASSERT_TRUE(renamer_.before_modify(blue_a_, command));
  EXPECT_EQ(command.dest, uverbs::QpDest{});
  EXPECT_EQ(command.alt_dest, uverbs::QpDest{});
}

struct Refused {
  const char* what;
  void (*change)(uverbs::ModifyQp&);
  int err;
  const char* reason;
};

class RenamerRefuses : public RenameFixture, public ::testing::WithParamInterface<Refused> {};

TEST_P(RenamerRefuses, WithTheErrnoAndAnEvent) {
  uverbs::ModifyQp command = rtr(7, "10.0.0.2");
  GetParam().change(command);
  auto plan = renamer_.before_modify(blue_a_, command);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().err, GetParam().err);
  EXPECT_THAT(plan.error().reason, HasSubstr(GetParam().reason));
  Event event = last_event();
  EXPECT_EQ(event.type, EventType::kRefused);
  EXPECT_EQ(event.endpoint, "vpcs/blue/endpoints/a");
  EXPECT_EQ(event.verb, "MODIFY_QP");
  EXPECT_EQ(event.err, GetParam().err);
  EXPECT_EQ(event.reason, plan.error().reason);
  EXPECT_EQ(event.pid, 4242);
  EXPECT_EQ(event.command, "ibv_rc_pingpong");
  EXPECT_EQ(connections_.counts().total, 0U);
}

INSTANTIATE_TEST_SUITE_P(
    All, RenamerRefuses,
    ::testing::Values(
        Refused{"NoSuchPeer", [](uverbs::ModifyQp& c) { c.dest.dgid = gid("10.0.0.9"); },
                EHOSTUNREACH, "no endpoint of vpcs/blue has address 10.0.0.9"},
        Refused{"APhysicalAddress", [](uverbs::ModifyQp& c) { c.dest.dgid = gid("192.168.0.2"); },
                EHOSTUNREACH, "no endpoint of vpcs/blue has address 192.168.0.2"},
        Refused{"PeersHostWithoutNic", [](uverbs::ModifyQp& c) { c.dest.dgid = gid("10.0.0.3"); },
                EHOSTUNREACH, "hosts/hostC of vpcs/blue/endpoints/c has no NIC with an IPv4 GID"},
        Refused{"Multicast", [](uverbs::ModifyQp& c) { c.dest.dgid = gid("224.0.0.1"); },
                EHOSTUNREACH, "224.0.0.1"},
        Refused{"NoGrh", [](uverbs::ModifyQp& c) { c.dest.is_global = false; }, EINVAL,
                "no global route"},
        Refused{"IndexBeyond", [](uverbs::ModifyQp& c) { c.dest.sgid_index = 3; }, EINVAL,
                "vpcs/blue/endpoints/a has 3 GIDs"},
        Refused{"IndexFarBeyond", [](uverbs::ModifyQp& c) { c.dest.sgid_index = 255; }, EINVAL,
                "sgid_index 255"},
        Refused{"OtherFamily", [](uverbs::ModifyQp& c) { c.dest.sgid_index = 2; }, EINVAL,
                "from which 10.0.0.2 cannot be reached"},
        Refused{"FromLinkLocal",
                [](uverbs::ModifyQp& c) {
                  c.dest.sgid_index = 0;
                  c.dest.dgid = gid("fd00::2");
                },
                EINVAL, "from which fd00::2 cannot be reached"},
        Refused{"PortOfVector", [](uverbs::ModifyQp& c) { c.dest.port_num = 2; }, EINVAL,
                "no port 2"},
        Refused{"Port",
                [](uverbs::ModifyQp& c) {
                  c.attr_mask |= qp_mask::kPort;
                  c.port_num = 0;
                },
                EINVAL, "no port 0"},
        Refused{"AlternatePath", [](uverbs::ModifyQp& c) { c.attr_mask |= qp_mask::kAltPath; },
                EOPNOTSUPP, "alternate path"},
        Refused{"PrivilegedQkey",
                [](uverbs::ModifyQp& c) {
                  c.attr_mask |= qp_mask::kQkey;
                  c.qkey = 0x80010000U;
                },
                EPERM, "Q_Key 0x80010000"}),
    [](const auto& test) { return std::string(test.param.what); });

TEST_F(RenamerTest, NothingIsDecidedBeforeThereIsState) {
  SyncState fresh;
  Renamer renamer({fresh, endpoints_, peers_, nics_, tracker_, connections_, log_, clock_, wire_},
                  {});
  uverbs::ModifyQp command = rtr(7, "10.0.0.2");
  auto plan = renamer.before_modify(blue_a_, command);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().err, EAGAIN);
  // A step that names no address needs no state.
  uverbs::ModifyQp init = to_state(7, QpState::kInit);
  EXPECT_TRUE(renamer.before_modify(blue_a_, init));
}

TEST_F(RenamerTest, WhoCannotBeToldOnTheWireDoesNotConnect) {
  PortBlockPolicy wire;
  Renamer renamer({sync_, endpoints_, peers_, nics_, tracker_, connections_, log_, clock_, wire},
                  {});
  uverbs::ModifyQp command = rtr(7, "10.0.0.2");
  auto plan = renamer.before_modify(blue_a_, command);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().err, EAGAIN);
  EXPECT_EQ(last_event().err, EAGAIN);
  EXPECT_NE(last_event().reason.find("UDP source ports"), std::string::npos);
  const std::vector<PortBlockPolicy::Entry> blocks{
      {EndpointUid{101}, PortBlockPolicy::Marking{{0xc010, 16}, 46U << 2U}}};
  wire.update(blocks);
  command = rtr(7, "10.0.0.2");
  plan = renamer.before_modify(blue_a_, command);
  ASSERT_TRUE(plan);
  EXPECT_EQ(udp_source_port(command.dest.flow_label) & 0xfff0U, 0xc010U);
  EXPECT_EQ(command.dest.traffic_class, 46U << 2U);
  EXPECT_EQ(command.dest.sl, 0);
  renamer.after_modify(blue_a_, *plan, EINVAL);
}

TEST_F(RenamerTest, RefusesWhatHasGone) {
  Change change;
  change.endpoints = {endpoint(101, 1, "blue/a", 10, {"fd00::1"})};
  change.removed_endpoints = {EndpointUid{102}};
  apply(change);
  // 10.0.0.1, which was index 1, is no more; fd00::1 took the index.
  EXPECT_EQ(modify(blue_a_, rtr(7, "10.0.0.4", 1)), EINVAL);
  EXPECT_EQ(modify(blue_a_, rtr(7, "fd00::2", 1)), EHOSTUNREACH);
  change = {};
  change.removed_endpoints = {EndpointUid{101}};
  apply(change);
  EXPECT_EQ(modify(blue_a_, rtr(7, "10.0.0.4", 1)), ENODEV);
  EXPECT_EQ(modify(red_a_, rtr(7, "10.0.0.2")), 0);
  nics_.update({});
  EXPECT_EQ(modify(red_a_, rtr(8, "10.0.0.2")), ENODEV);
  // Tearing down works without either.
  EXPECT_EQ(modify(red_a_, to_state(7, QpState::kErr)), 0);
}

TEST_F(RenamerTest, ANicWithoutAPhysicalGidSendsNothing) {
  nics_.update({nic("rxe0", "", 0)});
  EXPECT_EQ(modify(blue_a_, rtr(7, "10.0.0.2")), EHOSTUNREACH);
  EXPECT_THAT(last_event().reason, HasSubstr("no RoCE v2 GID to send from"));
  nics_.update({nic("rxe0", "192.168.0.1", 256)});  // does not fit sgid_index
  EXPECT_EQ(modify(blue_a_, rtr(7, "10.0.0.2")), EHOSTUNREACH);
}

// Where both hosts have GIDs for VPCs, each VPC sends from its own to the peer's own.
TEST_F(RenamerTest, VpcsSendFromTheirOwnGids) {
  const Gid here = gid("fd00:0:0:1:c0a8:1::");
  Nic ours = nic("rxe0", "192.168.0.1", 1);
  ours.vpc_prefix = here;
  ours.vpc_gids = {{Vni{100}, 4}};
  nics_.update({ours});
  Change change;
  change.revision = Revision{2};
  change.hosts = {host(11, "hostB", {{"rxe0", "192.168.0.2", "fd00:0:0:1:c0a8:2::"}})};
  apply(change);

  auto command = rtr(7, "10.0.0.2");
  ASSERT_EQ(modify(blue_a_, command), 0);
  auto connection = connections_.find({blue_a_.id, 7});
  ASSERT_TRUE(connection);
  EXPECT_EQ(connection->path->phys.local, vpc_gid(here, Vni{100}));
  EXPECT_EQ(connection->path->phys.sgid_index, 4);
  EXPECT_EQ(connection->path->phys.remote, gid("fd00:0:0:1:c0a8:2:0:64"));
  // On this very host as well.
  ASSERT_EQ(modify(blue_a_, rtr(9, "10.0.0.4")), 0);
  EXPECT_EQ(connections_.find({blue_a_.id, 9})->path->phys.remote, vpc_gid(here, Vni{100}));
  // The kernel has no GID for red yet.
  EXPECT_EQ(modify(red_a_, rtr(8, "10.0.0.2")), EHOSTUNREACH);
  EXPECT_THAT(last_event().reason, HasSubstr("no GID for vpcs/red yet"));
  // A host that has none is sent to as ever.
  change.revision = Revision{3};
  change.hosts = {host(11, "hostB", {{"rxe0", "192.168.0.2"}})};
  apply(change);
  ASSERT_EQ(modify(red_a_, rtr(8, "10.0.0.2")), 0);
  connection = connections_.find({red_a_.id, 8});
  EXPECT_EQ(connection->path->phys.local, gid("192.168.0.1"));
  EXPECT_EQ(connection->path->phys.remote, gid("192.168.0.2"));
}

TEST_F(RenamerTest, OnlyConnectedTypesMayBeCreated) {
  EXPECT_TRUE(renamer_.check_create_qp(blue_a_, QpType::kRc));
  EXPECT_TRUE(renamer_.check_create_qp(blue_a_, QpType::kUc));
  EXPECT_TRUE(events().empty());
  for (QpType type : {QpType::kRawPacket, QpType::kXrcIni, QpType::kXrcTgt, QpType::kDriver,
                      QpType{0}, QpType{1}, QpType{5}, QpType{12345}}) {
    auto verdict = renamer_.check_create_qp(blue_a_, type);
    ASSERT_FALSE(verdict);
    EXPECT_EQ(verdict.error().err, EOPNOTSUPP);
    EXPECT_EQ(last_event().verb, "CREATE_QP");
    EXPECT_EQ(last_event().reason, verdict.error().reason);
  }
  Renamer xrc({sync_, endpoints_, peers_, nics_, tracker_, connections_, log_, clock_, wire_},
              RenameOptions{true});
  EXPECT_TRUE(xrc.check_create_qp(blue_a_, QpType::kXrcIni));
  EXPECT_TRUE(xrc.check_create_qp(blue_a_, QpType::kXrcTgt));
  EXPECT_FALSE(xrc.check_create_qp(blue_a_, QpType::kRawPacket));
}

TEST_F(RenamerTest, ALifeIsRecordedAndTold) {
  renamer_.qp_created(blue_a_, 7, Qpn{0x11}, QpType::kUc);
  auto record = connections_.find({1, 7});
  ASSERT_TRUE(record);
  EXPECT_EQ(record->endpoint_name, "vpcs/blue/endpoints/a");
  EXPECT_EQ(record->state, QpState::kReset);
  EXPECT_EQ(modify(blue_a_, to_state(7, QpState::kInit)), 0);
  EXPECT_TRUE(events().empty());
  EXPECT_EQ(modify(blue_a_, rtr(7, "10.0.0.2")), 0);

  Event event = last_event();
  EXPECT_EQ(event.type, EventType::kConnected);
  EXPECT_EQ(event.endpoint, "vpcs/blue/endpoints/a");
  EXPECT_EQ(event.reason, "to vpcs/blue/endpoints/b (10.0.0.2) on hosts/hostB");
  EXPECT_EQ(event.pid, 4242);
  ASSERT_TRUE(event.connection);
  EXPECT_EQ(event.connection->peer_endpoint, "vpcs/blue/endpoints/b");
  EXPECT_EQ(event.connection->peer_host, "hosts/hostB");
  EXPECT_EQ(event.connection->nic, "rxe0");
  EXPECT_EQ(event.connection->transport, "uc");
  EXPECT_EQ(event.connection->qpn, Qpn{0x11});
  EXPECT_EQ(event.connection->peer_qpn, Qpn{0x55});
  EXPECT_EQ(event.connection->virtual_gid, gid("10.0.0.1"));
  EXPECT_EQ(event.connection->peer_virtual_gid, gid("10.0.0.2"));
  EXPECT_EQ(event.connection->physical_gid, gid("192.168.0.1"));
  EXPECT_EQ(event.connection->peer_physical_gid, gid("192.168.0.2"));

  EXPECT_EQ(modify(blue_a_, to_state(7, QpState::kRts)), 0);
  EXPECT_EQ(modify(blue_a_, to_state(7, QpState::kErr)), 0);
  record = connections_.find({1, 7});
  EXPECT_EQ(record->state, QpState::kErr);
  EXPECT_TRUE(record->connected) << "in error, but not gone";
  EXPECT_EQ(record->since, clock_.wall());
  EXPECT_EQ(events().size(), 1U);

  EXPECT_EQ(modify(blue_a_, to_state(7, QpState::kReset)), 0);
  EXPECT_EQ(last_event().type, EventType::kDisconnected);
  EXPECT_EQ(last_event().reason, "QP reset");
  EXPECT_EQ(last_event().connection->peer_endpoint, "vpcs/blue/endpoints/b");
  record = connections_.find({1, 7});
  EXPECT_FALSE(record->connected);
  EXPECT_FALSE(record->path);

  EXPECT_EQ(modify(blue_a_, rtr(7, "10.0.0.4")), 0);
  EXPECT_EQ(last_event().connection->peer_endpoint, "vpcs/blue/endpoints/d");
  renamer_.qp_destroyed(blue_a_, 7);
  EXPECT_EQ(last_event().type, EventType::kDisconnected);
  EXPECT_EQ(last_event().reason, "QP destroyed");
  EXPECT_EQ(connections_.counts().total, 0U);
  renamer_.qp_destroyed(blue_a_, 7);
  EXPECT_EQ(events().size(), 4U);
}

TEST_F(RenamerTest, AFailedCommandChangesNothing) {
  connect(blue_a_, 7, "10.0.0.2");
  auto before = connections_.find({1, 7});
  EXPECT_EQ(modify(blue_a_, rtr(7, "10.0.0.4"), EINVAL), EINVAL);
  EXPECT_EQ(modify(blue_a_, to_state(7, QpState::kReset), EIO), EIO);
  auto after = connections_.find({1, 7});
  EXPECT_EQ(after->path->peer, before->path->peer);
  EXPECT_EQ(after->state, before->state);
  EXPECT_EQ(events().size(), 1U);
  // Handles that do not exist leave no trace.
  EXPECT_EQ(modify(blue_a_, rtr(999, "10.0.0.2"), EINVAL), EINVAL);
  EXPECT_EQ(connections_.counts().total, 1U);
}

TEST_F(RenamerTest, TakesInAQpThatWasNotAnnounced) {
  EXPECT_EQ(modify(blue_a_, rtr(7, "10.0.0.2")), 0);
  auto record = connections_.find({1, 7});
  ASSERT_TRUE(record);
  EXPECT_STREQ(transport_name(record->type), "unknown");
  EXPECT_TRUE(record->connected);
  EXPECT_EQ(record->endpoint_name, "vpcs/blue/endpoints/a");
}

TEST_F(RenamerTest, ANewPathInSqdIsANewConnection) {
  connect(blue_a_, 7, "10.0.0.2");
  uverbs::ModifyQp command = rtr(7, "10.0.0.4");
  command.attr_mask = qp_mask::kAv;
  EXPECT_EQ(modify(blue_a_, command), 0);
  auto all = events();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[1].type, EventType::kDisconnected);
  EXPECT_EQ(all[1].reason, "QP has another peer");
  EXPECT_EQ(all[2].type, EventType::kConnected);
  EXPECT_EQ(all[2].connection->peer_endpoint, "vpcs/blue/endpoints/d");
  EXPECT_EQ(tracker_.size(), 1U);
}

TEST_F(RenamerTest, AClosedDeviceTakesItsQpsAlong) {
  connect(blue_a_, 7, "10.0.0.2");
  connect(red_a_, 7, "10.0.0.2");
  renamer_.qp_created(blue_a_, 8, Qpn{0x12}, QpType::kRc);
  renamer_.context_closed(blue_a_);
  EXPECT_EQ(last_event().type, EventType::kDisconnected);
  EXPECT_EQ(last_event().reason, "device closed");
  EXPECT_EQ(events().size(), 3U);
  EXPECT_EQ(connections_.counts().total, 1U);
  EXPECT_TRUE(connections_.find({2, 7}));
}

TEST(SpreadPolicy, LabelsAreStableNeverZeroAndSpread) {
  SpreadPolicy policy;
  std::set<std::uint16_t> ports;
  for (std::uint32_t qpn = 1; qpn <= 2000; ++qpn) {
    WireQuestion question{EndpointUid{1}, EndpointUid{2}, Qpn{qpn}, Qpn{77}};
    WireMarks marks = *policy.marks(question);
    EXPECT_NE(marks.flow_label, 0U);
    EXPECT_LT(marks.flow_label, 1U << 20U);
    EXPECT_EQ(marks.flow_label, policy.marks(question)->flow_label);
    EXPECT_EQ(marks.traffic_class, 0);
    ports.insert(udp_source_port(marks.flow_label));
  }
  EXPECT_GT(ports.size(), 1700U);  // of 16384; a fair draw repeats about 120 times
}

TEST(FlowLabel, EveryPortHasALabel) {
  for (std::uint32_t port = 0xc000; port <= 0xffff; ++port) {
    std::uint32_t label = flow_label_for(static_cast<std::uint16_t>(port));
    ASSERT_NE(label, 0U);
    ASSERT_LT(label, 1U << 20U);
    ASSERT_EQ(udp_source_port(label), port);
  }
  // The kernel's convention: the upper six bits folded onto the lower fourteen.
  EXPECT_EQ(udp_source_port(0x12345), 0xc000 | (0x2345 ^ 0x4));
}

}  // namespace
}  // namespace qmasq::vbond::testing
