// SPDX-License-Identifier: Apache-2.0
#include "vbond/sync/batch_collector.h"

#include <gmock/gmock.h>
#include <google/protobuf/unknown_field_set.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "qmasq/v1/sync.pb.h"

namespace qmasq::vbond {
namespace {

using ::testing::HasSubstr;

// A snapshot that is right in every way.
v1::Batch good() {
  v1::Batch batch;
  batch.set_revision(10);
  batch.set_snapshot(true);
  auto* vpc = batch.add_vpcs();
  vpc->set_uid(1);
  vpc->set_name("vpcs/blue");
  vpc->set_vni(4096);
  vpc->add_ranges("10.0.0.0/24");
  vpc->add_ranges("fd00::/64");
  auto* host = batch.add_hosts();
  host->set_uid(100);
  host->set_name("hosts/hostA");
  host->set_underlay_address("192.0.2.1");
  auto* nic = host->add_nics();
  nic->set_device("rxe0");
  nic->set_primary_gid("0000:0000:0000:0000:0000:ffff:c000:0201");
  auto* endpoint = batch.add_endpoints();
  endpoint->set_uid(11);
  endpoint->set_vpc_uid(1);
  endpoint->set_name("vpcs/blue/endpoints/a");
  endpoint->set_host("hosts/hostA");
  endpoint->set_mac("02:71:00:00:00:0b");
  endpoint->add_addresses("10.0.0.1");
  endpoint->add_addresses("fd00::1");
  endpoint->add_security_groups("vpcs/blue/securityGroups/web");
  endpoint->add_security_group_uids(50);
  auto* group = batch.add_security_groups();
  group->set_uid(50);
  group->set_vpc_uid(1);
  group->set_name("vpcs/blue/securityGroups/web");
  auto* own = group->add_rules();
  own->set_id("r1");
  own->set_direction(v1::SecurityGroupRule::INGRESS);
  own->set_priority(65535);
  own->set_action(v1::SecurityGroupRule::ALLOW);
  own->set_security_group("vpcs/blue/securityGroups/web");
  own->set_security_group_uid(50);
  own->add_operations(v1::SecurityGroupRule::SEND);
  own->add_operations(v1::SecurityGroupRule::READ);
  own->set_log(true);
  auto* range = group->add_rules();
  range->set_id("r2");
  range->set_direction(v1::SecurityGroupRule::EGRESS);
  range->set_action(v1::SecurityGroupRule::DENY);
  range->set_transport(v1::SecurityGroupRule::UD);
  range->set_cidr("10.0.0.0/25");
  range->set_shadow(true);
  auto* all = group->add_rules();
  all->set_id("r3");
  all->set_direction(v1::SecurityGroupRule::INGRESS);
  all->set_action(v1::SecurityGroupRule::ALLOW);
  all->set_any(true);
  return batch;
}

Result<Change> collect(const v1::Batch& batch, const HeldState& held = {},
                       BatchCollector::Limits limits = {}) {
  BatchCollector collector(limits);
  collector.add(batch);
  return collector.finish(held);
}

HeldState held_good() {
  HeldState held;
  held.store_id = "s";
  held.apply(*collect(good()));
  return held;
}

TEST(BatchCollector, TurnsAllOfItIntoAChange) {
  auto change = collect(good());
  ASSERT_TRUE(change.has_value()) << change.error().message;
  EXPECT_EQ(change->revision, Revision{10});
  EXPECT_TRUE(change->snapshot);
  ASSERT_EQ(change->vpcs.size(), 1U);
  EXPECT_EQ(change->vpcs[0].vni, Vni{4096});
  EXPECT_EQ(change->vpcs[0].ranges.size(), 2U);
  ASSERT_EQ(change->endpoints.size(), 1U);
  const EndpointView& endpoint = change->endpoints[0];
  EXPECT_EQ(endpoint.host, HostUid{100});
  EXPECT_EQ(endpoint.vpc, VpcUid{1});
  EXPECT_EQ(to_string(endpoint.mac), "02:71:00:00:00:0b");
  ASSERT_EQ(endpoint.addresses.size(), 2U);
  EXPECT_EQ(to_string(endpoint.addresses[1]), "fd00::1");
  ASSERT_EQ(change->hosts.size(), 1U);
  EXPECT_EQ(to_string(change->hosts[0].underlay), "192.0.2.1");
  EXPECT_EQ(change->hosts[0].nics[0].primary_gid, Gid::from_ip(*parse_ip("192.0.2.1")));
}

TEST(BatchCollector, TakesGroupsAndWhoCarriesThem) {
  v1::Batch batch = good();
  batch.add_removed_security_group_uids(51);
  auto change = collect(batch);
  ASSERT_TRUE(change.has_value()) << change.error().message;
  EXPECT_EQ(change->endpoints[0].groups, std::vector{SecurityGroupUid{50}});
  EXPECT_EQ(change->removed_groups, std::vector{SecurityGroupUid{51}});
  ASSERT_EQ(change->groups.size(), 1U);
  conntrack::Group expected{SecurityGroupUid{50}, VpcUid{1}, "vpcs/blue/securityGroups/web", {}};
  conntrack::Rule own;
  own.id = "r1";
  own.priority = 65535;
  own.remote.kind = conntrack::Remote::Kind::kGroup;
  own.remote.group = SecurityGroupUid{50};
  own.remote.group_id = "web";
  own.operations = {conntrack::Operations::kSend | conntrack::Operations::kRead};
  own.log = true;
  conntrack::Rule range;
  range.id = "r2";
  range.direction = conntrack::Direction::kEgress;
  range.action = conntrack::Action::kDeny;
  range.transport = conntrack::Transport::kUd;
  range.remote.kind = conntrack::Remote::Kind::kCidr;
  range.remote.cidr = *parse_prefix("10.0.0.0/25");
  range.shadow = true;
  conntrack::Rule all;
  all.id = "r3";
  expected.rules = {own, range, all};
  EXPECT_EQ(change->groups[0], expected);
  EXPECT_EQ(change->groups[0].rules[2].operations, conntrack::Operations::all());
}

TEST(BatchCollector, GroupsThatAreHeldMayBeCarriedAndNamed) {
  v1::Batch delta;
  delta.set_revision(11);
  *delta.add_endpoints() = good().endpoints(0);
  EXPECT_TRUE(collect(delta, held_good()).has_value());
  v1::Batch removes = delta;
  removes.add_removed_security_group_uids(50);
  EXPECT_FALSE(collect(removes, held_good()).has_value());
  HeldState held = held_good();
  held.groups[SecurityGroupUid{50}] = VpcUid{2};
  EXPECT_FALSE(collect(delta, held).has_value()) << "a group of another VPC";
  held = held_good();
  Change gone;
  gone.removed_vpcs = {VpcUid{1}};
  held.apply(gone);
  EXPECT_TRUE(held.groups.empty()) << "they go with their VPC";
}

TEST(BatchCollector, RulesCountAsObjects) {
  BatchCollector::Limits limits;
  limits.objects = 7;
  EXPECT_TRUE(collect(good(), {}, limits).has_value());
  limits.objects = 6;
  auto change = collect(good(), {}, limits);
  ASSERT_FALSE(change.has_value());
  EXPECT_EQ(change.error().code, Code::kResourceExhausted);
}

TEST(BatchCollector, TakesAHostThatHasNotJoined) {
  v1::Batch batch = good();
  batch.mutable_hosts(0)->clear_underlay_address();
  batch.mutable_hosts(0)->clear_nics();
  auto change = collect(batch);
  ASSERT_TRUE(change.has_value()) << change.error().message;
  EXPECT_TRUE(change->hosts[0].underlay.is_unspecified());
}

TEST(BatchCollector, JoinsPartsInAnyOrderOfObjects) {
  v1::Batch whole = good();
  v1::Batch first;
  first.set_revision(10);
  first.set_snapshot(true);
  first.set_more(true);
  *first.mutable_endpoints() = whole.endpoints();
  v1::Batch second;
  second.set_revision(10);
  second.set_snapshot(true);
  *second.mutable_hosts() = whole.hosts();
  *second.mutable_vpcs() = whole.vpcs();
  *second.mutable_security_groups() = whole.security_groups();
  BatchCollector collector({});
  EXPECT_TRUE(collector.empty());
  collector.add(first);
  EXPECT_FALSE(collector.empty());
  collector.add(second);
  auto change = collector.finish({});
  ASSERT_TRUE(change.has_value()) << change.error().message;
  EXPECT_EQ(change->endpoints[0].host, HostUid{100});
  EXPECT_TRUE(collector.empty());
}

TEST(BatchCollector, BuildsOnWhatIsHeld) {
  v1::Batch delta;
  delta.set_revision(11);
  auto* endpoint = delta.add_endpoints();
  *endpoint = good().endpoints(0);
  endpoint->set_uid(12);
  endpoint->set_name("vpcs/blue/endpoints/b");
  EXPECT_FALSE(collect(delta).has_value()) << "nothing is held";
  auto change = collect(delta, held_good());
  ASSERT_TRUE(change.has_value()) << change.error().message;
  EXPECT_EQ(change->endpoints[0].host, HostUid{100});
}

struct Bad {
  const char* what;
  std::function<void(v1::Batch&)> spoil;
  const char* says;
};

class BadBatch : public ::testing::TestWithParam<Bad> {};

TEST_P(BadBatch, IsRefusedWholeWithTheObjectAtFault) {
  v1::Batch batch = good();
  GetParam().spoil(batch);
  auto change = collect(batch);
  ASSERT_FALSE(change.has_value()) << GetParam().what;
  EXPECT_THAT(change.error().message, HasSubstr(GetParam().says)) << GetParam().what;
  EXPECT_LT(change.error().message.size(), 400U);
}

v1::SecurityGroupRule& first_rule(v1::Batch& batch) {
  return *batch.mutable_security_groups(0)->mutable_rules(0);
}

const std::string kLong(1 << 20, 'x');

INSTANTIATE_TEST_SUITE_P(
    All, BadBatch,
    ::testing::Values(
        Bad{"VPC without uid", [](auto& b) { b.mutable_vpcs(0)->clear_uid(); }, "no uid"},
        Bad{"VPC name", [](auto& b) { b.mutable_vpcs(0)->set_name("blue"); }, "vpc blue"},
        Bad{"VNI 0", [](auto& b) { b.mutable_vpcs(0)->set_vni(0); }, "VNI 0"},
        Bad{"VNI too large", [](auto& b) { b.mutable_vpcs(0)->set_vni(1U << 24U); },
            "VNI 16777216"},
        Bad{"MTU", [](auto& b) { b.mutable_vpcs(0)->set_mtu(100); }, "MTU 100"},
        Bad{"range", [](auto& b) { b.mutable_vpcs(0)->set_ranges(0, "10.0.0.1/24"); },
            "10.0.0.1/24"},
        Bad{"overlapping ranges", [](auto& b) { b.mutable_vpcs(0)->add_ranges("10.0.0.128/25"); },
            "overlap"},
        Bad{"same VPC twice", [](auto& b) { *b.add_vpcs() = b.vpcs(0); }, "uid 1: is there twice"},
        Bad{"same VNI twice",
            [](auto& b) {
              auto* vpc = b.add_vpcs();
              *vpc = b.vpcs(0);
              vpc->set_uid(2);
              vpc->set_name("vpcs/red");
            },
            "VNI 4096"},
        Bad{"VPC given and removed", [](auto& b) { b.add_removed_vpc_uids(1); },
            "both given and removed"},
        Bad{"endpoint without uid", [](auto& b) { b.mutable_endpoints(0)->clear_uid(); }, "no uid"},
        Bad{"endpoint name", [](auto& b) { b.mutable_endpoints(0)->set_name("vpcs/blue/a"); },
            "vpcs/blue/a"},
        Bad{"endpoint of an unknown VPC", [](auto& b) { b.mutable_endpoints(0)->set_vpc_uid(9); },
            "VPC that is not known here (uid 9)"},
        Bad{"endpoint of another VPC's name",
            [](auto& b) { b.mutable_endpoints(0)->set_name("vpcs/red/endpoints/a"); },
            "says that it is in vpcs/blue"},
        Bad{"endpoint on an unknown host",
            [](auto& b) { b.mutable_endpoints(0)->set_host("hosts/hostZ"); },
            "hosts/hostZ, which is not known here"},
        Bad{"endpoint without host", [](auto& b) { b.mutable_endpoints(0)->clear_host(); },
            "endpoint vpcs/blue/endpoints/a"},
        Bad{"MAC", [](auto& b) { b.mutable_endpoints(0)->set_mac("02:71"); }, "02:71"},
        Bad{"multicast MAC", [](auto& b) { b.mutable_endpoints(0)->set_mac("01:00:5e:00:00:01"); },
            "not a unicast MAC"},
        Bad{"zero MAC", [](auto& b) { b.mutable_endpoints(0)->set_mac("00:00:00:00:00:00"); },
            "not a unicast MAC"},
        Bad{"bad address", [](auto& b) { b.mutable_endpoints(0)->set_addresses(0, "10.0.0.256"); },
            "10.0.0.256"},
        Bad{"unspecified address",
            [](auto& b) { b.mutable_endpoints(0)->set_addresses(0, "0.0.0.0"); }, "0.0.0.0"},
        Bad{"multicast address",
            [](auto& b) { b.mutable_endpoints(0)->set_addresses(0, "224.0.0.1"); }, "224.0.0.1"},
        Bad{"address twice", [](auto& b) { b.mutable_endpoints(0)->add_addresses("10.0.0.1"); },
            "10.0.0.1 twice"},
        Bad{"too many addresses",
            [](auto& b) {
              for (int i = 0; i < 256; ++i) {
                b.mutable_endpoints(0)->add_addresses("10.0.1." + std::to_string(i));
              }
            },
            "more than 255 addresses"},
        Bad{"endpoint twice", [](auto& b) { *b.add_endpoints() = b.endpoints(0); },
            "endpoint uid 11: is there twice"},
        Bad{"host without uid", [](auto& b) { b.mutable_hosts(0)->clear_uid(); }, "no uid"},
        Bad{"host name", [](auto& b) { b.mutable_hosts(0)->set_name("hosts/-"); }, "hosts/-"},
        Bad{"underlay", [](auto& b) { b.mutable_hosts(0)->set_underlay_address("eth0"); }, "eth0"},
        Bad{"underlay 0.0.0.0",
            [](auto& b) { b.mutable_hosts(0)->set_underlay_address("0.0.0.0"); }, "0.0.0.0"},
        Bad{"GID", [](auto& b) { b.mutable_hosts(0)->mutable_nics(0)->set_primary_gid("zz"); },
            "zz"},
        Bad{"NIC twice", [](auto& b) { *b.mutable_hosts(0)->add_nics() = b.hosts(0).nics(0); },
            "NIC rxe0 twice"},
        Bad{"NIC without name",
            [](auto& b) { b.mutable_hosts(0)->mutable_nics(0)->clear_device(); },
            "without a device name"},
        Bad{"host twice", [](auto& b) { *b.add_hosts() = b.hosts(0); }, "host uid 100"},
        Bad{"group without uid", [](auto& b) { b.mutable_security_groups(0)->clear_uid(); },
            "no uid"},
        Bad{"group without VPC", [](auto& b) { b.mutable_security_groups(0)->clear_vpc_uid(); },
            "has no VPC"},
        Bad{"group of an unknown VPC",
            [](auto& b) { b.mutable_security_groups(0)->set_vpc_uid(9); }, "uid 9"},
        Bad{"group name", [](auto& b) { b.mutable_security_groups(0)->set_name("web"); },
            "not the name of a security group"},
        Bad{"group name of another VPC",
            [](auto& b) {
              auto* group = b.mutable_security_groups(0);
              group->set_name("vpcs/red/securityGroups/web");
              group->mutable_rules(0)->set_security_group(group->name());
            },
            "says that it is in vpcs/blue"},
        Bad{"group twice", [](auto& b) { *b.add_security_groups() = b.security_groups(0); },
            "security group uid 50: is there twice"},
        Bad{"group given and removed", [](auto& b) { b.add_removed_security_group_uids(50); },
            "both given and removed"},
        Bad{"too many rules",
            [](auto& b) {
              auto rule = b.security_groups(0).rules(0);
              for (int i = 0; i < 10'000; ++i) {
                rule.set_id("x" + std::to_string(i));
                *b.mutable_security_groups(0)->add_rules() = rule;
              }
            },
            "more than 10000 rules"},
        Bad{"rule id twice", [](auto& b) { first_rule(b).set_id("r2"); }, "rule 'r2': is there"},
        Bad{"rule id", [](auto& b) { first_rule(b).set_id("R\x01"); }, "rule 'R?'"},
        Bad{"rule without id", [](auto& b) { first_rule(b).clear_id(); }, "is not an id"},
        Bad{"no direction", [](auto& b) { first_rule(b).clear_direction(); }, "direction 0"},
        Bad{"unknown direction",
            [](auto& b) { first_rule(b).set_direction(v1::SecurityGroupRule::Direction(7)); },
            "direction 7"},
        Bad{"priority", [](auto& b) { first_rule(b).set_priority(65536); }, "priority 65536"},
        Bad{"no action", [](auto& b) { first_rule(b).clear_action(); }, "action 0"},
        Bad{"unknown action",
            [](auto& b) { first_rule(b).set_action(v1::SecurityGroupRule::Action(7)); },
            "action 7"},
        Bad{"unknown transport",
            [](auto& b) { first_rule(b).set_transport(v1::SecurityGroupRule::Transport(7)); },
            "transport 7"},
        Bad{"no other side", [](auto& b) { first_rule(b).clear_remote(); }, "has no other side"},
        Bad{"any that is not", [](auto& b) { first_rule(b).set_any(false); }, "that is false"},
        Bad{"host bits", [](auto& b) { first_rule(b).set_cidr("10.0.0.1/24"); }, "10.0.0.1/24"},
        Bad{"a megabyte of range", [](auto& b) { first_rule(b).set_cidr(kLong); }, "xxx"},
        Bad{"remote group without uid",
            [](auto& b) { first_rule(b).clear_security_group_uid(); }, "without its uid"},
        Bad{"remote group's name", [](auto& b) { first_rule(b).set_security_group("web"); },
            "'web' is not the name"},
        Bad{"remote group of another VPC",
            [](auto& b) { first_rule(b).set_security_group("vpcs/red/securityGroups/web"); },
            "another VPC"},
        Bad{"unknown remote group",
            [](auto& b) { first_rule(b).set_security_group_uid(59); }, "uid 59"},
        Bad{"no operation",
            [](auto& b) { first_rule(b).set_operations(0, v1::SecurityGroupRule::Operation(0)); },
            "operation 0"},
        Bad{"unknown operation",
            [](auto& b) { first_rule(b).set_operations(0, v1::SecurityGroupRule::Operation(7)); },
            "operation 7"},
        Bad{"operations where it denies",
            [](auto& b) { first_rule(b).set_action(v1::SecurityGroupRule::DENY); },
            "names operations"},
        Bad{"a field of a newer controller",
            [](auto& b) {
              auto& rule = first_rule(b);
              rule.GetReflection()->MutableUnknownFields(&rule)->AddVarint(99, 1);
            },
            "does not know"},
        Bad{"endpoint carries an unknown group",
            [](auto& b) { b.mutable_endpoints(0)->set_security_group_uids(0, 59); }, "uid 59"},
        Bad{"endpoint carries group 0",
            [](auto& b) { b.mutable_endpoints(0)->set_security_group_uids(0, 0); }, "without uid"},
        Bad{"endpoint carries one twice",
            [](auto& b) {
              b.mutable_endpoints(0)->clear_security_groups();
              b.mutable_endpoints(0)->add_security_group_uids(50);
            },
            "uid 50 twice"},
        Bad{"endpoint lost a group",
            [](auto& b) { b.mutable_endpoints(0)->clear_security_group_uids(); }, "gives 0 uids"},
        Bad{"endpoint carries too many",
            [](auto& b) {
              for (unsigned i = 0; i < 16; ++i)
                b.mutable_endpoints(0)->add_security_group_uids(60 + i);
            },
            "more than 16"},
        Bad{"a megabyte of name", [](auto& b) { b.mutable_vpcs(0)->set_name(kLong); }, "vpc xxx"},
        Bad{"a megabyte of address",
            [](auto& b) { b.mutable_endpoints(0)->set_addresses(0, kLong); }, "xxx"}),
    [](const auto& one) { return "N" + std::to_string(one.index); });

TEST(BatchCollector, RefusesPartsThatDoNotBelongTogether) {
  BatchCollector collector({});
  v1::Batch first = good();
  first.set_more(true);
  collector.add(first);
  v1::Batch second;
  second.set_revision(11);
  collector.add(second);
  auto change = collector.finish({});
  ASSERT_FALSE(change.has_value());
  EXPECT_THAT(change.error().message, HasSubstr("revision 11 inside the batch of revision 10"));
  collector.add(good());
  EXPECT_TRUE(collector.finish({}).has_value()) << "the next batch starts clean";
}

TEST(BatchCollector, RefusesGoingBack) {
  v1::Batch delta;
  delta.set_revision(9);
  auto change = collect(delta, held_good());
  ASSERT_FALSE(change.has_value());
  EXPECT_THAT(change.error().message, HasSubstr("older than 10"));
  v1::Batch snapshot = good();
  snapshot.set_revision(3);
  EXPECT_TRUE(collect(snapshot, held_good()).has_value()) << "a store that was restored";
}

TEST(BatchCollector, ASnapshotDoesNotLeanOnWhatIsHeld) {
  v1::Batch batch = good();
  batch.clear_vpcs();
  auto change = collect(batch, held_good());
  ASSERT_FALSE(change.has_value());
  EXPECT_THAT(change.error().message, HasSubstr("not known here"));
}

TEST(BatchCollector, AnEndpointOfAVpcThatGoesIsRefused) {
  v1::Batch delta;
  delta.set_revision(11);
  delta.add_removed_vpc_uids(1);
  *delta.add_endpoints() = good().endpoints(0);
  EXPECT_FALSE(collect(delta, held_good()).has_value());
}

TEST(BatchCollector, IsBounded) {
  BatchCollector::Limits limits;
  limits.objects = 2;
  auto change = collect(good(), {}, limits);
  ASSERT_FALSE(change.has_value());
  EXPECT_EQ(change.error().code, Code::kResourceExhausted);

  BatchCollector collector(limits);
  v1::Batch part = good();
  part.set_more(true);
  for (int i = 0; i < 100; ++i)
    collector.add(part);
  EXPECT_FALSE(collector.finish({}).has_value());
}

TEST(BatchCollector, ForgetsWhatAStreamLeftBehind) {
  BatchCollector collector({});
  v1::Batch part = good();
  part.mutable_vpcs(0)->set_vni(0);
  part.set_more(true);
  collector.add(part);
  collector.reset();
  EXPECT_TRUE(collector.empty());
  collector.add(good());
  EXPECT_TRUE(collector.finish({}).has_value());
}

}  // namespace
}  // namespace qmasq::vbond
