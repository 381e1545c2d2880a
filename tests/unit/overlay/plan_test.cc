// SPDX-License-Identifier: Apache-2.0
#include "vbond/overlay/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "tests/fake_netlink/scene.h"

namespace qmasq::vbond {
namespace {

using netlink::FdbEntry;
using netlink::Link;
using netlink::Operation;
using test::endpoint;
using test::host;
using test::mac_of;
using test::vpc;

struct World {
  VpcView blue = vpc(1, "blue", 100);
  VpcView red = vpc(2, "red", 200);
  HostView a = host(1, "hostA", "192.0.2.1");
  HostView b = host(2, "hostB", "192.0.2.2");
  OverlaySite site{HostUid{1}, *parse_ip("192.0.2.1"), 1500, 4789};

  Change all() const {
    Change change;
    change.snapshot = true;
    change.vpcs = {blue, red};
    change.hosts = {a, b};
    change.endpoints = {endpoint(1, blue, "a", 1, "10.0.0.1"),
                        endpoint(2, blue, "b", 2, "10.0.0.2"),
                        endpoint(3, red, "a", 2, "10.0.0.1")};
    return change;
  }
};

VpcPlan plan_of(const World& world, const OverlayState& state, std::uint64_t uid,
                const std::vector<OverlayPlug>& plugs = {}) {
  auto plan = plan_vpc(world.site, state, *state.vpc(VpcUid{uid}), plugs);
  EXPECT_TRUE(plan);
  return plan ? *plan : VpcPlan{};
}

bool same(const VpcPlan& a, const VpcPlan& b) {
  return a.links == b.links && a.plugs == b.plugs && a.fdb == b.fdb &&
         *a.neighbours == *b.neighbours && a.warnings == b.warnings;
}

TEST(Plan, AVpcWithoutLocalEndpointNeedsNothing) {
  World world;
  OverlayState state;
  state.apply(world.all());
  EXPECT_TRUE(plan_vpc(world.site, state, *state.vpc(VpcUid{1}), {}));
  EXPECT_FALSE(plan_vpc(world.site, state, *state.vpc(VpcUid{2}), {}));
}

TEST(Plan, RemoteEndpointsBecomeEntriesAndNobodyFloods) {
  World world;
  OverlayState state;
  state.apply(world.all());
  VpcPlan plan = plan_of(world, state, 1, {{EndpointUid{1}, "eth0"}});
  ASSERT_EQ(plan.links.size(), 3U);
  EXPECT_EQ(plan.links[0].link.name, "qmb100");
  EXPECT_EQ(plan.links[1].link.name, "qmx100");
  EXPECT_EQ(plan.links[1].link.mtu, 1450U);
  EXPECT_EQ(plan.links[1].link.vxlan->vni, Vni{100});
  for (const LinkPlan& link : plan.links) {
    EXPECT_LE(link.link.name.size(), netlink::kMaxLinkName);
    EXPECT_EQ(link.link.group, netlink::kLinkGroup);
    if (link.link.kind == netlink::LinkKind::kBridge) continue;
    EXPECT_EQ(link.master, "qmb100");
    ASSERT_TRUE(link.link.port);
    EXPECT_FALSE(link.link.port->learning || link.link.port->unicast_flood ||
                 link.link.port->multicast_flood || link.link.port->broadcast_flood);
    EXPECT_EQ(link.link.port->locked, link.link.name == "qmv1");
  }
  EXPECT_EQ(plan.fdb, (std::vector<FdbRow>{
                          {"qmv1", FdbEntry::Table::kBridge, mac_of(1), {}},
                          {"qmx100", FdbEntry::Table::kBridge, mac_of(2), {}},
                          {"qmx100", FdbEntry::Table::kDevice, mac_of(2), *parse_ip("192.0.2.2")},
                      }));
  EXPECT_EQ(*plan.neighbours, (std::vector<NeighbourRow>{{*parse_ip("10.0.0.1"), mac_of(1)},
                                                         {*parse_ip("10.0.0.2"), mac_of(2)}}));
  ASSERT_EQ(plan.plugs.size(), 1U);
  EXPECT_EQ(plan.plugs[0].addresses[0], (AddressRow{*parse_ip("10.0.0.1"), 24}));
  EXPECT_EQ(plan.plugs[0].addresses[1].ip, Gid::link_local(mac_of(1)).address());
}

TEST(Plan, MtuFollowsVpcThenUnderlay) {
  World world;
  OverlayState state;
  state.apply(world.all());
  world.site.underlay_mtu = 9000;
  EXPECT_EQ(plan_of(world, state, 1).links[1].link.mtu, 8950U);
  world.site.underlay = *parse_ip("fd00::1");
  EXPECT_EQ(plan_of(world, state, 1).links[1].link.mtu, 8930U);

  Change change;
  change.vpcs = {vpc(1, "blue", 100, 9000)};
  state.apply(change);
  VpcPlan plan = plan_of(world, state, 1);
  EXPECT_EQ(plan.links[1].link.mtu, 9000U);
  // hostB is IPv4 here, which a device with an IPv6 underlay cannot reach.
  ASSERT_EQ(plan.warnings.size(), 2U);
  EXPECT_NE(plan.warnings[0].find("8930"), std::string::npos) << plan.warnings[0];
}

TEST(Plan, WithoutAnUnderlayTheLocalPartStands) {
  World world;
  OverlayState state;
  state.apply(world.all());
  world.site.underlay = {};
  VpcPlan plan = plan_of(world, state, 1, {{EndpointUid{1}, "eth0"}});
  EXPECT_EQ(plan.links.size(), 2U);
  EXPECT_EQ(plan.fdb.size(), 1U);
  EXPECT_FALSE(plan.warnings.empty());
}

TEST(Plan, V6AddressesAndLinkLocalNeighbours) {
  World world;
  world.blue.ranges.push_back(*parse_prefix("fd00:1::/64"));
  Change change = world.all();
  change.endpoints[0].addresses.push_back(*parse_ip("fd00:1::1"));
  OverlayState state;
  state.apply(change);
  VpcPlan plan = plan_of(world, state, 1, {{EndpointUid{1}, "eth0"}});
  EXPECT_EQ(plan.plugs[0].addresses[1], (AddressRow{*parse_ip("fd00:1::1"), 64}));
  EXPECT_EQ(plan.neighbours->size(), 5U);  // 10.0.0.1, 10.0.0.2, fd00:1::1, and fe80:: of both
}

TEST(Plan, LargestNumbersFitALinkName) {
  EXPECT_EQ(bridge_name(Vni{kMaxVni}).size(), 11U);
  EXPECT_EQ(port_name(EndpointUid{4738381338321616895ULL}), "qmvzzzzzzzzzzzz");  // 36^12 - 1
}

// The order in which a state arrives, and how often, makes no difference to the plan.
TEST(Plan, TheSameWhateverTheWayThere) {
  World world;
  std::vector<EndpointView> endpoints;
  for (std::uint64_t uid = 1; uid <= 30; ++uid) {
    endpoints.push_back(endpoint(uid, uid % 3 == 0 ? world.red : world.blue,
                                 "e" + std::to_string(uid), 1 + uid % 2,
                                 "10.0.0." + std::to_string(uid)));
  }
  Change whole = world.all();
  whole.endpoints = endpoints;
  OverlayState direct;
  direct.apply(whole);
  std::vector<OverlayPlug> plugs = {{EndpointUid{2}, "eth0"}, {EndpointUid{4}, "eth0"}};
  VpcPlan wanted = plan_of(world, direct, 1, plugs);

  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    OverlayState state;
    Change first = world.all();  // other values for 1..3, overwritten below
    if (round % 2 == 0) first.endpoints.clear();
    state.apply(first);
    std::vector<EndpointView> shuffled = endpoints;
    if (round % 3 == 0) shuffled.insert(shuffled.end(), endpoints.begin(), endpoints.end());
    std::shuffle(shuffled.begin(), shuffled.end(), random);
    for (std::size_t i = 0; i < shuffled.size();) {
      Change step;
      for (std::size_t n = 1 + random() % 5; n > 0 && i < shuffled.size(); --n) {
        step.endpoints.push_back(shuffled[i++]);
      }
      state.apply(step);
      // Something else comes and goes in the middle.
      Change passing;
      passing.endpoints = {endpoint(99, world.blue, "x", 2, "10.0.0.99")};
      state.apply(passing);
      Change away;
      away.removed_endpoints = {EndpointUid{99}};
      EXPECT_EQ(state.apply(away), std::set<VpcUid>{VpcUid{1}});
    }
    std::shuffle(plugs.begin(), plugs.end(), random);
    std::sort(plugs.begin(), plugs.end(),
              [](const OverlayPlug& a, const OverlayPlug& b) { return a.endpoint < b.endpoint; });
    EXPECT_TRUE(same(plan_of(world, state, 1, plugs), wanted)) << round;
  }
}

TEST(State, RemovalsAndMovesTouchWhatTheyTouch) {
  World world;
  OverlayState state;
  state.apply(world.all());
  Change change;
  change.hosts = {host(2, "hostB", "192.0.2.22")};
  EXPECT_EQ(state.apply(change).size(), 2U);
  EXPECT_TRUE(state.apply(change).empty());  // nothing new
  Change gone;
  gone.removed_vpcs = {VpcUid{1}};
  EXPECT_EQ(state.apply(gone), std::set<VpcUid>{VpcUid{1}});
  EXPECT_EQ(state.vpc_of(EndpointUid{1}), VpcUid{});
  EXPECT_EQ(state.vpc_of(EndpointUid{3}), VpcUid{2});
  EXPECT_EQ(state.host_named("hosts/hostA"), HostUid{1});
}

// Model: applying the difference to what is gives what should be.
TEST(Diff, LeadsFromAnyTableToAnyOther) {
  std::mt19937 random(11);
  auto table = [&] {
    std::vector<FdbRow> rows;
    for (int i = 0; i < 20; ++i) {
      if (random() % 2 == 0) continue;
      FdbRow row{random() % 2 == 0 ? "qmx1" : "qmv1", FdbEntry::Table::kDevice,
                 mac_of(static_cast<std::uint64_t>(i)), IpAddress::from_v4(random() % 3)};
      rows.push_back(row);
    }
    std::sort(rows.begin(), rows.end());
    return rows;
  };
  for (int round = 0; round < 500; ++round) {
    std::vector<FdbRow> from = table();
    std::vector<FdbRow> to = table();
    std::map<std::pair<std::string, Mac>, std::optional<IpAddress>> model;
    for (const FdbRow& row : from)
      model[{row.link, row.mac}] = row.remote;
    bool putting = false;
    std::size_t changes = 0;
    for (const Operation& operation : diff_fdb(to, from)) {
      ++changes;
      if (const auto* put = std::get_if<netlink::PutFdb>(&operation)) {
        putting = true;
        model[{put->link, put->mac}] = put->remote;
      } else {
        EXPECT_FALSE(putting);  // a MAC that moves is deleted there before it is put here
        const auto& gone = std::get<netlink::DeleteFdb>(operation);
        EXPECT_EQ((model.erase({gone.link, gone.mac})), 1U);
      }
    }
    std::map<std::pair<std::string, Mac>, std::optional<IpAddress>> wanted;
    for (const FdbRow& row : to)
      wanted[{row.link, row.mac}] = row.remote;
    EXPECT_EQ(model, wanted);
    EXPECT_EQ(changes == 0, from == to);
    EXPECT_TRUE(diff_fdb(to, to).empty());
  }
}

TEST(Diff, LinksAreMendedRemadeOrLeftAlone) {
  World world;
  OverlayState state;
  state.apply(world.all());
  LinkPlan wanted = plan_of(world, state, 1).links[1];
  Link there = wanted.link;
  there.index = 5;
  there.master = 4;
  Link bridge;
  bridge.index = 4;
  bridge.name = "qmb100";
  using Kind = LinkAction::Kind;
  auto kind = [&](const Link& link) { return diff_link(wanted, std::vector{bridge, link}).kind; };

  EXPECT_EQ(kind(there), Kind::kKeep);
  EXPECT_EQ(diff_link(wanted, std::vector{bridge}).kind, Kind::kMake);

  Link other = there;
  other.mtu = 1300;
  LinkAction action = diff_link(wanted, std::vector{bridge, other});
  EXPECT_EQ(action.kind, Kind::kSet);
  EXPECT_EQ(action.set.mtu, 1450U);
  EXPECT_FALSE(action.set.up || action.set.port || action.set.master || action.set.alias);

  other = there;
  other.port->unicast_flood = true;
  EXPECT_EQ(kind(other), Kind::kSet);
  other = there;
  other.vxlan->local = *parse_ip("192.0.2.77");
  EXPECT_EQ(kind(other), Kind::kRemake);
  other = there;
  other.vxlan->learning = true;
  EXPECT_EQ(kind(other), Kind::kRemake);
  other.group = 0;  // somebody else's
  EXPECT_EQ(kind(other), Kind::kForeign);
}

TEST(Diff, AddressesOfOthersStay) {
  IpAddress ours = *parse_ip("10.0.0.1");
  IpAddress old = *parse_ip("10.0.0.9");
  IpAddress foreign = *parse_ip("10.9.9.9");
  std::vector<netlink::Address> actual = {{2, old, 24, netlink::kProtocol}, {2, foreign, 24, 0}};
  std::vector<AddressRow> wanted = {{ours, 24}};
  auto operations = diff_addresses("eth0", wanted, actual);
  ASSERT_EQ(operations.size(), 2U);
  EXPECT_EQ(netlink::describe(operations[0]), "delete address 10.0.0.9 on eth0");
  EXPECT_EQ(netlink::describe(operations[1]), "add address 10.0.0.1 on eth0");
}

TEST(Diff, LeftoversAreOnlyWhatCarriesTheMark) {
  Link ours;
  ours.name = "qmb7";
  ours.kind = netlink::LinkKind::kBridge;
  ours.group = netlink::kLinkGroup;
  Link port = ours;
  port.name = "qmv7";
  port.kind = netlink::LinkKind::kVeth;
  Link wanted = ours;
  wanted.name = "qmb1";
  Link foreign = ours;
  foreign.name = "qmb8";
  foreign.group = 0;
  auto operations = leftovers({"qmb1"}, std::vector{ours, port, wanted, foreign});
  ASSERT_EQ(operations.size(), 2U);
  EXPECT_EQ(netlink::describe(operations[0]), "delete link qmv7");
  EXPECT_EQ(netlink::describe(operations[1]), "delete link qmb7");
}

TEST(Rows, OnlyWhatAnAdministratorSetCounts) {
  Link vxlan;
  vxlan.index = 3;
  vxlan.name = "qmx1";
  vxlan.kind = netlink::LinkKind::kVxlan;
  Link port = vxlan;
  port.index = 4;
  port.name = "qmv1";
  port.kind = netlink::LinkKind::kVeth;
  std::vector<FdbEntry> entries = {
      {3, FdbEntry::Table::kDevice, mac_of(1), *parse_ip("192.0.2.1"), true, false},
      {3, FdbEntry::Table::kBridge, mac_of(1), {}, true, false},
      {3, FdbEntry::Table::kBridge, mac_of(2), {}, false, true},   // the port's own MAC
      {4, FdbEntry::Table::kDevice, mac_of(3), {}, true, false},   // a multicast subscription
      {4, FdbEntry::Table::kBridge, mac_of(4), {}, false, false},  // learnt
      {9, FdbEntry::Table::kBridge, mac_of(5), {}, true, false},   // of a link that is gone
  };
  EXPECT_EQ(
      rows_of(entries, std::vector{vxlan, port}),
      (std::vector<FdbRow>{{"qmx1", FdbEntry::Table::kBridge, mac_of(1), {}},
                           {"qmx1", FdbEntry::Table::kDevice, mac_of(1), *parse_ip("192.0.2.1")}}));
}

}  // namespace
}  // namespace qmasq::vbond
