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
  for (std::uint32_t user : {1001, 1000, 1001})
    endpoint->add_user_ids(user);
  endpoint->add_group_ids(500);
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
  auto* gold = batch.add_qos_policies();
  gold->set_uid(70);
  gold->set_name("qosPolicies/gold");
  gold->set_guaranteed_bps(8000);
  gold->set_maximum_bps(10'000'000'000'000);
  gold->set_burst_bytes(4096);
  gold->set_weight(100);
  gold->set_dscp(63);
  gold->mutable_quotas()->set_queue_pairs(1);
  gold->mutable_quotas()->set_completion_queues(2);
  gold->mutable_quotas()->set_memory_regions(3);
  gold->mutable_quotas()->set_shared_receive_queues(0x7fffffff);
  gold->mutable_quotas()->set_pinned_bytes(std::uint64_t{1} << 60U);
  gold->mutable_verb_rates()->mutable_contexts()->set_per_second(1);
  gold->mutable_verb_rates()->mutable_queue_pairs()->set_per_second(1'000'000);
  gold->mutable_verb_rates()->mutable_queue_pairs()->set_burst(1'000'000);
  gold->mutable_verb_rates()->mutable_connects()->set_per_second(20);
  gold->mutable_verb_rates()->mutable_connects()->set_burst(5);
  gold->mutable_verb_rates()->mutable_verbs()->set_per_second(30);
  auto* plain = batch.add_qos_policies();
  plain->set_uid(71);
  plain->set_name("qosPolicies/plain");
  batch.mutable_vpcs(0)->set_qos_policy("qosPolicies/gold");
  batch.mutable_vpcs(0)->set_qos_policy_uid(70);
  batch.mutable_endpoints(0)->set_qos_policy("qosPolicies/plain");
  batch.mutable_endpoints(0)->set_qos_policy_uid(71);
  nic->set_rate_bps(30'000'000);
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
  EXPECT_THAT(endpoint.user_ids, ::testing::ElementsAre(1000, 1001));
  EXPECT_THAT(endpoint.group_ids, ::testing::ElementsAre(500));
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

TEST(BatchCollector, TakesPoliciesToTheLastField) {
  v1::Batch batch = good();
  batch.add_removed_qos_policy_uids(72);
  auto change = collect(batch);
  ASSERT_TRUE(change.has_value()) << change.error().message;
  EXPECT_EQ(change->vpcs[0].qos_policy, QosPolicyUid{70});
  EXPECT_EQ(change->endpoints[0].qos_policy, QosPolicyUid{71});
  EXPECT_EQ(change->removed_policies, std::vector{QosPolicyUid{72}});
  ASSERT_EQ(change->policies.size(), 2U);
  qos::Policy gold;
  gold.uid = QosPolicyUid{70};
  gold.id = "gold";
  gold.bandwidth.guaranteed = BitsPerSecond{8000};
  gold.bandwidth.maximum = BitsPerSecond{10'000'000'000'000};
  gold.bandwidth.burst = 4096;
  gold.bandwidth.weight = 100;
  gold.dscp = 63;
  gold.quotas.limits = {1, 2, 3, 0x7fffffff, std::uint64_t{1} << 60U};
  gold.verb_rates.rates = {qos::VerbRate{1, 1}, qos::VerbRate{1'000'000, 1'000'000},
                           qos::VerbRate{20, 5}, qos::VerbRate{30, 30}};
  EXPECT_EQ(change->policies[0], gold);
  qos::Policy plain;
  plain.uid = QosPolicyUid{71};
  plain.id = "plain";
  EXPECT_EQ(change->policies[1], plain) << "what is not set is no limit";
}

TEST(BatchCollector, PoliciesThatAreHeldMayBeReferredTo) {
  v1::Batch delta;
  delta.set_revision(11);
  *delta.add_endpoints() = good().endpoints(0);
  *delta.add_vpcs() = good().vpcs(0);
  *delta.add_security_groups() = good().security_groups(0);
  auto change = collect(delta, held_good());
  ASSERT_TRUE(change.has_value()) << change.error().message;
  EXPECT_EQ(change->endpoints[0].qos_policy, QosPolicyUid{71});
  v1::Batch removes = delta;
  removes.add_removed_qos_policy_uids(71);
  change = collect(removes, held_good());
  ASSERT_FALSE(change.has_value());
  EXPECT_THAT(change.error().message,
              HasSubstr("endpoint vpcs/blue/endpoints/a: has QoS policy uid 71"));
  v1::Batch again;
  again.set_revision(11);
  *again.add_qos_policies() = good().qos_policies(0);
  again.mutable_qos_policies(0)->set_uid(80);
  change = collect(again, held_good());
  ASSERT_FALSE(change.has_value()) << "a second one of that name";
  EXPECT_THAT(change.error().message, HasSubstr("qosPolicies/gold: has uid 70 and uid 80"));
  again.add_removed_qos_policy_uids(70);
  EXPECT_TRUE(collect(again, held_good()).has_value()) << "deleted, and made again";
}

TEST(BatchCollector, AnAgentThatHoldsPoliciesAloneHoldsSomething) {
  v1::Batch batch;
  batch.set_revision(1);
  batch.set_snapshot(true);
  *batch.mutable_qos_policies() = good().qos_policies();
  HeldState held;
  held.apply(*collect(batch));
  EXPECT_FALSE(held.empty());
  Change nothing;
  nothing.snapshot = true;
  held.apply(nothing);
  EXPECT_TRUE(held.empty());
}

TEST(BatchCollector, TheAdministratorsRateGoesBeforeTheDrivers) {
  v1::Batch batch = good();
  auto change = collect(batch);
  ASSERT_TRUE(change.has_value()) << change.error().message;
  EXPECT_EQ(change->hosts[0].nics[0].rate, BitsPerSecond{30'000'000});
  EXPECT_FALSE(change->hosts[0].nics[0].rate_by_admin);
  auto* rate = batch.mutable_hosts(0)->add_nic_rates();
  rate->set_device("rxe0");
  rate->set_rate_bps(1000);
  auto* later = batch.mutable_hosts(0)->add_nic_rates();
  later->set_device("mlx5_0");
  later->set_rate_bps(10'000'000'000'000);
  batch.mutable_hosts(0)->mutable_nics(0)->set_rate_bps(~std::uint64_t{0});
  change = collect(batch);
  ASSERT_TRUE(change.has_value()) << change.error().message;
  ASSERT_EQ(change->hosts[0].nics.size(), 2U);
  EXPECT_EQ(change->hosts[0].nics[0].rate, BitsPerSecond{1000});
  EXPECT_TRUE(change->hosts[0].nics[0].rate_by_admin);
  EXPECT_EQ(change->hosts[0].nics[1].device, "mlx5_0");
  EXPECT_TRUE(change->hosts[0].nics[1].primary_gid.is_zero());
  EXPECT_EQ(change->hosts[0].nics[1].rate, BitsPerSecond{10'000'000'000'000});
  batch.mutable_hosts(0)->clear_nic_rates();
  EXPECT_EQ(collect(batch)->hosts[0].nics[0].rate, BitsPerSecond{10'000'000'000'000})
      << "whatever a driver says, sums of rates must fit";
}

TEST(BatchCollector, RulesCountAsObjects) {
  BatchCollector::Limits limits;
  limits.objects = 9;
  EXPECT_TRUE(collect(good(), {}, limits).has_value());
  limits.objects = 8;
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
  *second.mutable_qos_policies() = whole.qos_policies();
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

v1::QosPolicy& policy(v1::Batch& batch) {
  return *batch.mutable_qos_policies(0);
}
v1::QosQuotas& quotas(v1::Batch& batch) {
  return *policy(batch).mutable_quotas();
}
v1::QosVerbRates& rates(v1::Batch& batch) {
  return *policy(batch).mutable_verb_rates();
}
void add_unknown(google::protobuf::Message& message) {
  message.GetReflection()->MutableUnknownFields(&message)->AddVarint(999, 1);
}
v1::NicRate& add_rate(v1::Batch& batch, const char* device, std::uint64_t rate) {
  auto* out = batch.mutable_hosts(0)->add_nic_rates();
  out->set_device(device);
  out->set_rate_bps(rate);
  return *out;
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
        Bad{"too many users",
            [](auto& b) {
              for (std::uint32_t i = 0; i < 65; ++i)
                b.mutable_endpoints(0)->add_user_ids(i);
            },
            "more than 64 users"},
        Bad{"nobody's group", [](auto& b) { b.mutable_endpoints(0)->add_group_ids(UINT32_MAX); },
            "4294967295 among its groups of users"},
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
        Bad{"policy without uid", [](auto& b) { policy(b).clear_uid(); },
            "QoS policy qosPolicies/gold: has no uid"},
        Bad{"policy name", [](auto& b) { policy(b).set_name("gold"); }, "QoS policy gold"},
        Bad{"policy twice", [](auto& b) { *b.add_qos_policies() = policy(b); },
            "QoS policy uid 70: is there twice"},
        Bad{"policy of the same name",
            [](auto& b) {
              *b.add_qos_policies() = policy(b);
              b.mutable_qos_policies(2)->set_uid(79);
            },
            "QoS policy qosPolicies/gold: has uid 70 and uid 79"},
        Bad{"policy given and removed", [](auto& b) { b.add_removed_qos_policy_uids(70); },
            "QoS policy uid 70: is both given and removed"},
        Bad{"guaranteed 0", [](auto& b) { policy(b).set_guaranteed_bps(0); }, "guaranteed_bps 0"},
        Bad{"guaranteed too small", [](auto& b) { policy(b).set_guaranteed_bps(7999); },
            "guaranteed_bps 7999 is not one of 8000 to 10000000000000"},
        Bad{"maximum too small", [](auto& b) { policy(b).set_maximum_bps(7999); },
            "maximum_bps 7999"},
        Bad{"maximum too large",
            [](auto& b) { policy(b).set_maximum_bps(10'000'000'000'001); }, "maximum_bps 1"},
        Bad{"maximum below guarantee",
            [](auto& b) {
              policy(b).set_guaranteed_bps(9001);
              policy(b).set_maximum_bps(9000);
            },
            "guaranteed_bps 9001 is above maximum_bps 9000"},
        Bad{"burst too small", [](auto& b) { policy(b).set_burst_bytes(4095); },
            "burst_bytes 4095"},
        Bad{"burst too large", [](auto& b) { policy(b).set_burst_bytes((1U << 30U) + 1); },
            "burst_bytes 1073741825"},
        Bad{"weight 0", [](auto& b) { policy(b).set_weight(0); }, "weight 0"},
        Bad{"weight 101", [](auto& b) { policy(b).set_weight(101); }, "weight 101"},
        Bad{"dscp 64", [](auto& b) { policy(b).set_dscp(64); }, "dscp 64"},
        Bad{"QPs 0", [](auto& b) { quotas(b).set_queue_pairs(0); }, "quotas.queue_pairs 0"},
        Bad{"CQs", [](auto& b) { quotas(b).set_completion_queues(0x80000000U); },
            "quotas.completion_queues 2147483648"},
        Bad{"MRs 0", [](auto& b) { quotas(b).set_memory_regions(0); }, "quotas.memory_regions 0"},
        Bad{"SRQs 0", [](auto& b) { quotas(b).set_shared_receive_queues(0); },
            "quotas.shared_receive_queues 0"},
        Bad{"pinned too small", [](auto& b) { quotas(b).set_pinned_bytes(4095); },
            "quotas.pinned_bytes 4095"},
        Bad{"pinned too large",
            [](auto& b) { quotas(b).set_pinned_bytes((std::uint64_t{1} << 60U) + 1); },
            "quotas.pinned_bytes 1152921504606846977"},
        Bad{"rate 0", [](auto& b) { rates(b).mutable_contexts()->set_per_second(0); },
            "verb_rates.contexts.per_second 0"},
        Bad{"rate too large",
            [](auto& b) { rates(b).mutable_connects()->set_per_second(1'000'001); },
            "verb_rates.connects.per_second 1000001"},
        Bad{"burst of a rate",
            [](auto& b) { rates(b).mutable_verbs()->set_burst(1'000'001); },
            "verb_rates.verbs.burst 1000001"},
        Bad{"field of a policy", [](auto& b) { add_unknown(policy(b)); }, "does not know"},
        Bad{"field of quotas", [](auto& b) { add_unknown(quotas(b)); }, "quotas has a field"},
        Bad{"field of rates", [](auto& b) { add_unknown(rates(b)); }, "verb_rates has a field"},
        Bad{"field of a rate",
            [](auto& b) { add_unknown(*rates(b).mutable_queue_pairs()); },
            "verb_rates.queue_pairs has a field"},
        Bad{"VPC with an unknown policy",
            [](auto& b) { b.mutable_vpcs(0)->set_qos_policy_uid(99); },
            "vpc vpcs/blue: has QoS policy uid 99, which is not known here"},
        Bad{"VPC lost its policy's uid",
            [](auto& b) { b.mutable_vpcs(0)->clear_qos_policy_uid(); },
            "vpc vpcs/blue: names qosPolicies/gold and gives no uid"},
        Bad{"VPC's policy name", [](auto& b) { b.mutable_vpcs(0)->set_qos_policy("gold"); },
            "vpc vpcs/blue"},
        Bad{"endpoint with an unknown policy",
            [](auto& b) { b.mutable_endpoints(0)->set_qos_policy_uid(99); },
            "endpoint vpcs/blue/endpoints/a: has QoS policy uid 99"},
        Bad{"endpoint lost its policy's uid",
            [](auto& b) { b.mutable_endpoints(0)->clear_qos_policy_uid(); },
            "endpoint vpcs/blue/endpoints/a: names qosPolicies/plain"},
        Bad{"NIC rate too small", [](auto& b) { add_rate(b, "rxe0", 999); },
            "host hosts/hostA: nic_rates: rate_bps 999 of rxe0"},
        Bad{"NIC rate too large",
            [](auto& b) { add_rate(b, "rxe0", 10'000'000'000'001); }, "rate_bps 10000000000001"},
        Bad{"NIC rate twice",
            [](auto& b) {
              add_rate(b, "rxe0", 1000);
              add_rate(b, "rxe0", 1000);
            },
            "rxe0 twice in nic_rates"},
        Bad{"NIC rate of nothing", [](auto& b) { add_rate(b, "", 1000); },
            "without a device name"},
        Bad{"too many NIC rates",
            [](auto& b) {
              for (int i = 0; i < 129; ++i)
                add_rate(b, ("rxe" + std::to_string(i)).c_str(), 1000);
            },
            "more than 128 nic_rates"},
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
