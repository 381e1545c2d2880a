// SPDX-License-Identifier: Apache-2.0
#include "vbond/local/shown.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qmasq::vbond {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const LocalAccess::Sight kSight{false, {"vpcs/blue/endpoints/a"}};

TEST(Shown, OfTheAgentOnlyWhatIsTheirs) {
  v1::Agent agent;
  agent.set_host("hosts/hostA");
  agent.set_controller("192.0.2.1:7443");
  agent.set_last_error("192.0.2.1 is away");
  agent.set_endpoints(7);
  agent.set_queue_pairs(9);
  agent.add_nics()->set_primary_gid("fe80:0000:0000:0000:0000:0000:0000:0001");
  for (const char* name :
       {"vpcs/blue/endpoints/a", "vpcs/blue/endpoints/b", "vpcs/red/endpoints/a"}) {
    auto* endpoint = agent.add_local_endpoints();
    endpoint->set_name(name);
    endpoint->set_attachments(2);
  }
  restrict(kSight, agent);
  EXPECT_EQ(agent.host(), "hosts/hostA");
  ASSERT_EQ(agent.local_endpoints_size(), 1);
  EXPECT_EQ(agent.local_endpoints(0).name(), "vpcs/blue/endpoints/a");
  EXPECT_EQ(agent.attachments(), 2U);
  EXPECT_EQ(agent.endpoints(), 1U);
  for (const char* hidden : {"192.0.2.1", "fe80", "red", "endpoints/b"})
    EXPECT_THAT(agent.DebugString(), Not(HasSubstr(hidden)));
}

TEST(Shown, NoPhysicalSideOfAConnection) {
  v1::Event event;
  event.set_type("connected");
  event.set_reason("to vpcs/blue/endpoints/b (10.0.0.2) on hosts/hostB");
  v1::Connection& connection = *event.mutable_connection();
  connection.set_virtual_gid("virtual");
  connection.set_physical_gid("physical");
  connection.set_peer_physical_gid("physical");
  connection.set_peer_host("hosts/hostB");
  connection.set_flow_label(77);
  restrict(event);
  EXPECT_EQ(event.connection().virtual_gid(), "virtual");
  for (const char* hidden : {"physical_gid", "hostB", "77"})
    EXPECT_THAT(event.DebugString(), Not(HasSubstr(hidden)));
}

TEST(Shown, OfLimitsTheirEndpointAlone) {
  v1::HostQos qos;
  v1::NicQos& nic = *qos.add_nics();
  nic.set_device("rxe0");
  nic.set_rate_bps(1000);
  auto node = [&](v1::QosNode::Kind kind, const char* name) {
    auto* out = nic.add_nodes();
    out->set_kind(kind);
    out->set_name(name);
  };
  node(v1::QosNode::NIC, "rxe0");
  node(v1::QosNode::VPC, "vpcs/blue");
  node(v1::QosNode::ENDPOINT, "vpcs/blue/endpoints/a");
  node(v1::QosNode::ENDPOINT, "vpcs/red/endpoints/a");
  node(v1::QosNode::OTHER, "");
  qos.add_quotas()->set_name("vpcs/blue");
  qos.add_quotas()->set_name("vpcs/blue/endpoints/a");
  qos.add_verb_rates()->set_name("vpcs/red/endpoints/a");
  restrict(kSight, qos);
  ASSERT_EQ(qos.nics(0).nodes_size(), 1);
  EXPECT_EQ(qos.nics(0).nodes(0).name(), "vpcs/blue/endpoints/a");
  EXPECT_EQ(qos.nics(0).rate_bps(), 0U);
  ASSERT_EQ(qos.quotas_size(), 1);
  EXPECT_EQ(qos.quotas(0).name(), "vpcs/blue/endpoints/a");
  EXPECT_EQ(qos.verb_rates_size(), 0);
}

}  // namespace
}  // namespace qmasq::vbond
