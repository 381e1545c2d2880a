// SPDX-License-Identifier: Apache-2.0
#include "vbond/qos/qos_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/qos_agent/qos_world.h"

namespace qmasq::test {
namespace {

using qos::NodeId;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using vbond::Change;
using vbond::EventType;

const NodeId kE11 = NodeId::endpoint(EndpointUid{11});
const NodeId kE12 = NodeId::endpoint(EndpointUid{12});
const NodeId kV1 = NodeId::vpc(VpcUid{1});

class QosManagerTest : public ::testing::Test, protected QosWorld {
 protected:
  // VPC 1 with endpoints 11 (at most 20 Mbit/s) and 12, at most 50 together, of NICs with 100.
  static Change state() {
    Change out;
    out.snapshot = true;
    out.policies = {policy(70, 0, 50), policy(71, 5, 20)};
    out.vpcs = {vpc(1, 70)};
    out.endpoints = {endpoint(11, 1, 71), endpoint(12, 1)};
    vbond::HostView host;
    host.uid = kHere;
    host.nics = {{"rxe0", {}, BitsPerSecond{100'000'000}, false}};
    out.hosts = {host};
    return out;
  }
  void up() {
    apply(state());
    come_in_sync();
  }
  static Change with_policy(const qos::Policy& one) {
    Change out;
    out.policies = {one};
    return out;
  }
  std::string why(const std::string& name) {
    std::string out;
    const v1::QosNode one = node(name);
    for (const std::string& text : one.unenforced())
      out += text + "\n";
    return out;
  }
};

TEST_F(QosManagerTest, ProgramsWhatPoliciesSay) {
  up();
  const qos::Plan plan = kernel();
  ASSERT_EQ(plan.nodes.size(), 5U);
  EXPECT_EQ(plan.nodes.at(NodeId::nic()).maximum, BitsPerSecond{100'000'000});
  EXPECT_EQ(plan.nodes.at(kV1).maximum, BitsPerSecond{50'000'000});
  EXPECT_EQ(plan.nodes.at(kE11).maximum, BitsPerSecond{20'000'000});
  EXPECT_EQ(plan.nodes.at(kE11).guaranteed, BitsPerSecond{5'000'000});
  EXPECT_EQ(plan.nodes.at(kE12).maximum, BitsPerSecond{50'000'000})
      << "without a policy it is there all the same";
  EXPECT_TRUE(node("vpcs/v1").enforced());
  EXPECT_TRUE(qos->report_of(EndpointUid{11}).configured);
  EXPECT_THAT(qos->report_of(EndpointUid{11}).unenforced, IsEmpty());
  EXPECT_TRUE(qos->report_of(EndpointUid{12}).configured) << "by its VPC";
  EXPECT_THAT(events_of(EventType::kLimitUnenforced), IsEmpty());
  EXPECT_THAT(events_of(EventType::kLimitEnforced), IsEmpty()) << "nothing was wrong";
}

TEST_F(QosManagerTest, NothingIsProgrammedOrRemovedBeforeInSync) {
  up();
  const qos::Plan before = kernel();
  start();
  loop->run();
  EXPECT_EQ(kernel(), before) << "a restart alone";
  Change less = state();
  less.endpoints.pop_back();
  apply(less);
  loop->pass_time(seconds(60));
  EXPECT_EQ(kernel(), before);
  EXPECT_THAT(why("vpcs/v1"), HasSubstr("not programmed yet"));
  come_in_sync();
  EXPECT_FALSE(kernel().nodes.contains(kE12));
  EXPECT_EQ(kernel().nodes.at(kE11), before.nodes.at(kE11));
}

TEST_F(QosManagerTest, QueuePairsKeepTheirPortsOverChangesAndRestarts) {
  up();
  const qos::PortBlock e11 = kernel().nodes.at(kE11).ports;
  const qos::PortBlock e12 = kernel().nodes.at(kE12).ports;
  apply(with_policy(policy(71, 1, 30)));
  EXPECT_EQ(kernel().nodes.at(kE11).ports, e11);
  EXPECT_EQ(kernel().nodes.at(kE11).maximum, BitsPerSecond{30'000'000});
  start();
  Change other = state();
  other.endpoints = {endpoint(5, 1), endpoint(12, 1), endpoint(11, 1, 71)};
  const std::size_t steps = kernels["rxe0"].steps();
  apply(other);
  EXPECT_EQ(node("vpcs/v1/endpoints/e11").first_port(), e11.first) << "at once, before in sync";
  come_in_sync();
  EXPECT_EQ(kernel().nodes.at(kE11).ports, e11);
  EXPECT_EQ(kernel().nodes.at(kE12).ports, e12);
  EXPECT_EQ(kernels["rxe0"].steps(), steps + 3)
      << "a new endpoint, and the policy's old values, which its VPC's guarantee counts, too";
}

TEST_F(QosManagerTest, WhenTheLastEndpointGoesAllGoes) {
  up();
  Change gone;
  gone.removed_endpoints = {EndpointUid{11}};
  apply(gone);
  EXPECT_EQ(kernel().nodes.size(), 4U);
  gone.removed_endpoints = {EndpointUid{12}};
  apply(gone);
  EXPECT_TRUE(kernel().nodes.empty());
}

TEST_F(QosManagerTest, APolicyThatGoesTakesItsLimitsAlong) {
  up();
  Change gone = state();
  gone.snapshot = false;
  gone.policies.clear();
  gone.vpcs = {vpc(1)};
  gone.endpoints = {endpoint(11, 1), endpoint(12, 1)};
  gone.removed_policies = {QosPolicyUid{70}, QosPolicyUid{71}};
  apply(gone);
  EXPECT_EQ(kernel().nodes.at(kE11).maximum, BitsPerSecond{100'000'000});
  EXPECT_FALSE(qos->report_of(EndpointUid{11}).configured);
}

TEST_F(QosManagerTest, OneBadNodeDoesNotStopTheOthersAndIsTriedAgain) {
  kernels["rxe0"].fail_next(kE11, 2);
  up();
  EXPECT_FALSE(kernel().nodes.contains(kE11));
  EXPECT_TRUE(kernel().nodes.contains(kE12));
  EXPECT_THAT(why("vpcs/v1/endpoints/e11"),
              HasSubstr("maximum of vpcs/v1/endpoints/e11 on rxe0: program endpoint 11"));
  EXPECT_TRUE(node("vpcs/v1").enforced());
  EXPECT_THAT(qos->report_of(EndpointUid{11}).unenforced, ::testing::SizeIs(2));
  EXPECT_THAT(qos->report_of(EndpointUid{12}).unenforced, IsEmpty());
  auto said = events_of(EventType::kLimitUnenforced);
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(said[0].endpoint, "vpcs/v1/endpoints/e11");
  EXPECT_THAT(said[0].reason, HasSubstr("guarantee of"));
  loop->pass_time(seconds(1));
  EXPECT_FALSE(kernel().nodes.contains(kE11)) << "the second time";
  loop->pass_time(seconds(3));
  EXPECT_TRUE(kernel().nodes.contains(kE11));
  EXPECT_EQ(why("vpcs/v1/endpoints/e11"), "");
  EXPECT_EQ(events_of(EventType::kLimitUnenforced).size(), 1U);
  ASSERT_EQ(events_of(EventType::kLimitEnforced).size(), 1U);
}

TEST_F(QosManagerTest, AQdiscOfTheSitesIsReportedWithAdvice) {
  kernels["rxe0"].set_foreign(true);
  up();
  EXPECT_TRUE(kernel().nodes.empty());
  EXPECT_THAT(why("vpcs/v1"), HasSubstr("maximum of vpcs/v1 on rxe0: a qdisc of the site's"));
  EXPECT_THAT(why("vpcs/v1/endpoints/e11"), HasSubstr("a qdisc of the site's"));
  EXPECT_THAT(qos->describe({}).nics(0).message(), HasSubstr("a qdisc of the site's"));
  const std::size_t steps = kernels["rxe0"].steps();
  apply(with_policy(policy(71, 1, 30)));
  EXPECT_EQ(kernels["rxe0"].steps(), steps) << "not again for every change that comes by";
  kernels["rxe0"].set_foreign(false);
  loop->pass_time(seconds(70));
  EXPECT_EQ(kernel().nodes.at(kE11).maximum, BitsPerSecond{30'000'000});
  EXPECT_EQ(qos->describe({}).nics(0).message(), "");
}

TEST_F(QosManagerTest, WhatSomebodyRemovedComesBack) {
  up();
  const qos::Plan before = kernel();
  kernels["rxe0"].wipe();
  loop->pass_time(seconds(31));
  EXPECT_EQ(kernel(), before);
  auto said = events_of(EventType::kLimitUnenforced);
  ASSERT_EQ(said.size(), 1U);
  EXPECT_THAT(said[0].reason, HasSubstr("somebody changed what limits rxe0: 5 of 5 nodes"));
  qos::Node wider = before.nodes.at(kE11);
  wider.maximum = BitsPerSecond{90'000'000};
  kernels["rxe0"].change(wider);
  kernels["rxe0"].remove(kE12);
  loop->pass_time(seconds(31));
  EXPECT_EQ(kernel(), before);
  EXPECT_EQ(events_of(EventType::kLimitUnenforced).size(), 2U);
  // Some backends leave the NIC itself alone, and say so.
  qos::Node untold = before.nodes.at(NodeId::nic());
  untold.maximum = BitsPerSecond{10'000'000'000'000};
  kernels["rxe0"].change(untold);
  const std::size_t steps = kernels["rxe0"].steps();
  loop->pass_time(seconds(120));
  EXPECT_EQ(kernels["rxe0"].steps(), steps) << "nothing is done where nothing is wrong";
}

TEST_F(QosManagerTest, ANicWithoutABackendIsSaidToHaveNone) {
  refusals.emplace("rxe0", Error{Code::kUnsupported, "siw sends over TCP", 0, ""});
  nics["rxe1"] = nic("rxe1");
  tell_nics();
  up();
  EXPECT_EQ(why("vpcs/v1"), "maximum of vpcs/v1 on rxe0: siw sends over TCP\n");
  EXPECT_EQ(kernel("rxe1").nodes.size(), 5U);
  EXPECT_EQ(events_of(EventType::kLimitUnenforced).size(), 2U);
  loop->pass_time(seconds(2));
  const std::map<std::string, std::string> labels{
      {"vpc", "v1"}, {"endpoint", "e11"}, {"nic", "rxe0"}, {"backend", "none"}};
  EXPECT_EQ(metric("qmasq_vbond_qos_limits_enforced", labels), 0.0);
  EXPECT_EQ(metric("qmasq_vbond_qos_egress_bytes_total",
                   {{"vpc", "v1"}, {"endpoint", "e11"}, {"nic", "rxe0"}}),
            std::nullopt)
      << "nobody counts there";
}

TEST_F(QosManagerTest, SaysWhatABackendCannotDo) {
  kernels["rxe0"].capabilities.guarantee = false;
  kernels["rxe0"].capabilities.per_vpc = false;
  up();
  EXPECT_EQ(why("vpcs/v1/endpoints/e11"),
            "guarantee of vpcs/v1/endpoints/e11 on rxe0: fake has no such limit\n");
  EXPECT_EQ(why("vpcs/v1"), "maximum of vpcs/v1 on rxe0: fake does not tell VPCs apart\n");
  const v1::HostQos all = qos->describe({});
  EXPECT_THAT(all.nics(0).capabilities(), ElementsAre("maximum", "burst", "weight"));
}

TEST_F(QosManagerTest, SaysWhichGuaranteesFallShort) {
  up();
  Change more = with_policy(policy(71, 80, 90));
  apply(more);
  EXPECT_THAT(why("vpcs/v1/endpoints/e11"), HasSubstr("of 80Mbit, because guarantees add up"));
  apply(with_policy(policy(71, 5, 20)));
  EXPECT_EQ(why("vpcs/v1/endpoints/e11"), "");
  EXPECT_EQ(events_of(EventType::kLimitEnforced).size(), 1U);
}

TEST_F(QosManagerTest, ANicMayComeLateChangeAndGo) {
  nics.clear();
  tell_nics();
  up();
  EXPECT_EQ(qos->describe({}).nics_size(), 0);
  nics["rxe0"] = nic("rxe0", 0);
  nics["blind"] = nic("blind");
  nics["blind"].primary.reset();
  tell_nics();
  loop->run();
  EXPECT_EQ(qos->describe({}).nics_size(), 1) << "one that cannot carry traffic needs no limits";
  EXPECT_EQ(kernel().nodes.at(NodeId::nic()).maximum, BitsPerSecond{100'000'000})
      << "the controller's, while the driver's is unknown";
  nics["rxe0"].rate_bps = 200'000'000;
  tell_nics();
  loop->run();
  EXPECT_EQ(kernel().nodes.at(NodeId::nic()).maximum, BitsPerSecond{200'000'000});
  Change admin;
  vbond::HostView host;
  host.uid = kHere;
  host.nics = {{"rxe0", {}, BitsPerSecond{30'000'000}, true}};
  admin.hosts = {host};
  apply(admin);
  EXPECT_EQ(kernel().nodes.at(NodeId::nic()).maximum, BitsPerSecond{30'000'000});
  EXPECT_TRUE(qos->describe({}).nics(0).rate_by_admin());
  nics.clear();
  tell_nics();
  loop->run();
  EXPECT_TRUE(kernel().nodes.empty()) << "its interface is left as it was";
  EXPECT_EQ(qos->describe({}).nics_size(), 0);
}

TEST_F(QosManagerTest, ANicOfUnknownRateSaysSo) {
  nics["rxe0"] = nic("rxe0", 0);
  tell_nics();
  Change change = state();
  change.hosts.clear();
  apply(change);
  come_in_sync();
  EXPECT_TRUE(kernel().nodes.empty());
  EXPECT_THAT(why("vpcs/v1"), HasSubstr("the rate of this NIC is not known"));
}

TEST_F(QosManagerTest, AFirstReadbackThatFailsIsDoneAgain) {
  kernels["rxe0"].fail_readbacks(2);
  up();
  EXPECT_TRUE(kernel().nodes.empty());
  EXPECT_THAT(why("vpcs/v1"), HasSubstr("read what limits the NIC"));
  EXPECT_NE(node("vpcs/v1/endpoints/e11").port_count(), 0U) << "who connects does not wait for it";
  loop->pass_time(seconds(5));
  EXPECT_EQ(kernel().nodes.size(), 5U);
}

// Between two samples: the labels are those of the one that was there.
TEST_F(QosManagerTest, CountsWhatIsMadeAnewUnderTheSameName) {
  up();
  loop->pass_time(seconds(1));
  Change gone;
  gone.removed_endpoints = {EndpointUid{11}};
  apply(gone);
  Change come;
  come.endpoints = {test::endpoint(21, 1)};
  come.endpoints[0].name = "vpcs/v1/endpoints/e11";
  apply(come);
  loop->pass_time(seconds(1));
  kernels["rxe0"].count(NodeId::endpoint(EndpointUid{21}), {1000, 1, 0, 0, 0});
  loop->pass_time(seconds(1));
  EXPECT_EQ(metric("qmasq_vbond_qos_egress_bytes_total",
                   {{"vpc", "v1"}, {"endpoint", "e11"}, {"nic", "rxe0"}}),
            1000.0);
}

TEST_F(QosManagerTest, CountsOverRestartsOfClasses) {
  hw.values["rxe0"] = {{"sent_pkts", 100}};
  up();
  FakeLimits& limits = kernels["rxe0"];
  loop->pass_time(seconds(1));
  limits.count(kE11, {1'000'000, 1000, 3, 7, 500});
  limits.count(kV1, {1'000'000, 1000, 3, 7, 0});
  limits.count(NodeId::other(), {64, 1, 0, 0, 0});
  limits.count(NodeId::nic(), {1'000'064, 1001, 3, 7, 0});
  loop->pass_time(seconds(1));
  const auto observed = node("vpcs/v1/endpoints/e11").observed();
  EXPECT_EQ(observed.bytes(), 1'000'000U);
  EXPECT_EQ(observed.rate_bps(), 8'000'000U);
  EXPECT_EQ(observed.backlog_bytes(), 500U);
  EXPECT_EQ(observed.drops(), 3U);
  const std::map<std::string, std::string> e11{{"vpc", "v1"}, {"endpoint", "e11"}, {"nic", "rxe0"}};
  EXPECT_EQ(metric("qmasq_vbond_qos_egress_bytes_total", e11), 1e6);
  EXPECT_EQ(metric("qmasq_vbond_qos_throttled_seconds_total", e11), 1.0);
  EXPECT_EQ(metric("qmasq_vbond_qos_backlog_bytes", e11), 500.0);
  EXPECT_EQ(metric("qmasq_vbond_qos_vpc_egress_packets_total", {{"vpc", "v1"}, {"nic", "rxe0"}}),
            1000.0);
  EXPECT_EQ(metric("qmasq_vbond_qos_other_egress_bytes_total", {{"nic", "rxe0"}}), 64.0);
  EXPECT_EQ(metric("qmasq_vbond_qos_nic_egress_bytes_total", {{"nic", "rxe0"}}), 1'000'064.0);
  auto limit = e11;
  limit["limit"] = "maximum";
  EXPECT_EQ(metric("qmasq_vbond_qos_limit_bytes_per_second", limit), 20e6 / 8);
  EXPECT_EQ(metric("qmasq_vbond_qos_limits_enforced",
                   {{"vpc", "v1"}, {"nic", "rxe0"}, {"backend", "fake"}}),
            std::nullopt);
  EXPECT_EQ(metric("qmasq_vbond_qos_vpc_limits_enforced",
                   {{"vpc", "v1"}, {"nic", "rxe0"}, {"backend", "fake"}}),
            1.0);
  EXPECT_EQ(metric("qmasq_vbond_qos_nic_rate_bytes_per_second", {{"nic", "rxe0"}}), 100e6 / 8);
  EXPECT_EQ(metric("qmasq_vbond_qos_nic_guaranteed_bytes_per_second", {{"nic", "rxe0"}}), 5e6 / 8);
  EXPECT_EQ(metric("qmasq_vbond_qos_nodes", {{"nic", "rxe0"}, {"state", "planned"}}), 5.0);
  EXPECT_EQ(metric("qmasq_vbond_qos_nodes", {{"nic", "rxe0"}, {"state", "programmed"}}), 5.0);
  EXPECT_EQ(metric("qmasq_vbond_qos_steps_total", {{"nic", "rxe0"}, {"result", "ok"}}), 5.0);
  EXPECT_EQ(metric("qmasq_vbond_nic_hw_events_total", {{"nic", "rxe0"}, {"counter", "sent_pkts"}}),
            100.0);
  limits.wipe();
  hw.values["rxe0"]["sent_pkts"] = 7;
  loop->pass_time(seconds(31));
  limits.count(kE11, {50, 1, 0, 0, 0});
  loop->pass_time(seconds(1));
  EXPECT_EQ(metric("qmasq_vbond_qos_egress_bytes_total", e11), 1'000'050.0);
  EXPECT_EQ(metric("qmasq_vbond_nic_hw_events_total", {{"nic", "rxe0"}, {"counter", "sent_pkts"}}),
            107.0);

  limits.fail_counters(1);
  loop->pass_time(seconds(1));
  EXPECT_THAT(qos->describe({}).nics(0).message(), HasSubstr("read counters"));
  Change gone;
  gone.removed_endpoints = {EndpointUid{11}};
  apply(gone);
  loop->pass_time(seconds(1));
  EXPECT_EQ(metric("qmasq_vbond_qos_egress_bytes_total", e11), std::nullopt)
      << "series go with the endpoint";
  EXPECT_EQ(metric("qmasq_vbond_qos_limit_bytes_per_second", limit), std::nullopt);
  nics.clear();
  tell_nics();
  loop->pass_time(seconds(2));
  EXPECT_EQ(metric("qmasq_vbond_qos_nic_rate_bytes_per_second", {{"nic", "rxe0"}}), std::nullopt);
}

TEST_F(QosManagerTest, ShowsTheTreeInOrder) {
  up();
  Change more;
  more.vpcs = {vpc(2)};
  more.endpoints = {endpoint(21, 2)};
  apply(more);
  loop->pass_time(seconds(1));
  sync.set_held(Revision{42});
  const v1::HostQos all = qos->describe({});
  EXPECT_EQ(all.host(), "hosts/hostA");
  EXPECT_EQ(all.revision(), 42U);
  ASSERT_EQ(all.nics_size(), 1);
  EXPECT_EQ(all.nics(0).netdev(), "net-rxe0");
  EXPECT_EQ(all.nics(0).backend(), "fake");
  std::vector<std::string> names;
  for (const auto& one : all.nics(0).nodes())
    names.push_back(v1::QosNode::Kind_Name(one.kind()) + " " + one.name());
  EXPECT_THAT(names, ElementsAre("NIC rxe0", "VPC vpcs/v1", "ENDPOINT vpcs/v1/endpoints/e11",
                                 "ENDPOINT vpcs/v1/endpoints/e12", "VPC vpcs/v2",
                                 "ENDPOINT vpcs/v2/endpoints/e21", "OTHER "));
  const auto e11 = node("vpcs/v1/endpoints/e11");
  EXPECT_EQ(e11.policy(), "qosPolicies/p71");
  EXPECT_EQ(e11.configured().maximum_bps(), 20'000'000U);
  EXPECT_FALSE(e11.configured().has_burst_bytes());
  EXPECT_EQ(e11.programmed().maximum_bps(), 20'000'000U);
  EXPECT_TRUE(e11.programmed().has_burst_bytes());
  EXPECT_FALSE(node("vpcs/v1/endpoints/e12").has_configured());
  EXPECT_EQ(qos->describe(VpcUid{2}).nics(0).nodes_size(), 3);
}

TEST_F(QosManagerTest, OfManyChangesOnlyTheSumCounts) {
  up();
  const std::size_t steps = kernels["rxe0"].steps();
  for (std::uint64_t mbit = 21; mbit < 40; ++mbit) {
    // Nothing runs on the loop meanwhile.
    const Change change = with_policy(policy(71, 5, mbit));
    policies->apply(change);
    qos->apply(change);
  }
  loop->run();
  EXPECT_EQ(kernels["rxe0"].steps(), steps + 1);
  EXPECT_EQ(kernel().nodes.at(kE11).maximum, BitsPerSecond{39'000'000});
}

TEST_F(QosManagerTest, ThousandsThatLoseTheirBackendDoNotFloodTheEvents) {
  refusals.emplace("rxe0", Error{Code::kUnsupported, "nothing can", 0, ""});
  start();
  Change change = state();
  for (std::uint64_t uid = 100; uid < 400; ++uid)
    change.endpoints.push_back(endpoint(uid, 1, 71));
  apply(change);
  come_in_sync();
  auto said = events_of(EventType::kLimitUnenforced);
  ASSERT_EQ(said.size(), 65U);
  EXPECT_THAT(said.back().reason, HasSubstr("and 238 more"));
}

}  // namespace
}  // namespace qmasq::test
