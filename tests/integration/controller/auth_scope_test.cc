// SPDX-License-Identifier: Apache-2.0
// What a VPC's admin sees and does, what is recorded of changes, and how much anybody may call.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/integration/controller/auth_world.h"
#include "trust/tls.h"

namespace qmasq::controller {
namespace {

using grpc::StatusCode;
using testing::AuthWorld;
using testing::Client;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class Scoped : public ::testing::Test {
 protected:
  void SetUp() override {
    world_.process.start();
    Client root(world_.process);
    for (const char* vpc : {"blue", "green", "red"})
      ASSERT_TRUE(root.create_vpc(vpc, {"10.0.0.0/24"}).ok());
    ASSERT_TRUE(root.create_host("hostA").ok());
    ASSERT_TRUE(root.create_host("hostB").ok());
    ASSERT_TRUE(root.create_endpoint("blue", "a", "hostA", {}).ok());
    ASSERT_TRUE(root.create_endpoint("red", "b", "hostB", {}).ok());
    channel_ = world_.channel(world_.make_access("carol", v1::VPC_ADMIN, {"blue", "green"}));
    vpcs_ = v1::VpcService::NewStub(channel_);
    endpoints_ = v1::EndpointService::NewStub(channel_);
    hosts_ = v1::HostService::NewStub(channel_);
    groups_ = v1::SecurityGroupService::NewStub(channel_);
    auth_ = v1::AuthService::NewStub(channel_);
    qos_ = v1::QosService::NewStub(channel_);
  }

  AuthWorld world_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::VpcService::Stub> vpcs_;
  std::unique_ptr<v1::EndpointService::Stub> endpoints_;
  std::unique_ptr<v1::HostService::Stub> hosts_;
  std::unique_ptr<v1::SecurityGroupService::Stub> groups_;
  std::unique_ptr<v1::AuthService::Stub> auth_;
  std::unique_ptr<v1::QosService::Stub> qos_;
};

TEST_F(Scoped, SeesItsVpcsAndNotThatThereAreOthers) {
  std::vector<std::string> names;
  v1::ListVpcsRequest list;
  list.set_page_size(1);
  do {
    v1::ListVpcsResponse page;
    ASSERT_TRUE(vpcs_->ListVpcs(Client::context().get(), list, &page).ok());
    for (const auto& vpc : page.vpcs())
      names.push_back(vpc.name());
    list.set_page_token(page.next_page_token());
  } while (!list.page_token().empty());
  EXPECT_THAT(names, ElementsAre("vpcs/blue", "vpcs/green"));

  v1::ListEndpointsRequest all;
  all.set_parent("vpcs/-");
  v1::ListEndpointsResponse endpoints;
  ASSERT_TRUE(endpoints_->ListEndpoints(Client::context().get(), all, &endpoints).ok());
  ASSERT_EQ(endpoints.endpoints_size(), 1);
  EXPECT_EQ(endpoints.endpoints(0).name(), "vpcs/blue/endpoints/a");

  v1::ListSecurityGroupsRequest groups;
  groups.set_parent("vpcs/-");
  v1::ListSecurityGroupsResponse listed;
  ASSERT_TRUE(groups_->ListSecurityGroups(Client::context().get(), groups, &listed).ok());
  EXPECT_EQ(listed.security_groups_size(), 2);

  // The same words for what is not hers and for what is not there.
  auto get = [&](const std::string& id) {
    v1::GetVpcRequest request;
    request.set_name("vpcs/" + id);
    v1::Vpc ignored;
    return vpcs_->GetVpc(Client::context().get(), request, &ignored);
  };
  auto hidden = get("red");
  auto missing = get("purple");
  EXPECT_EQ(hidden.error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(hidden.error_message(), "name: there is no vpcs/red");
  EXPECT_EQ(missing.error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(missing.error_message(), "name: there is no vpcs/purple");
  EXPECT_TRUE(get("blue").ok());
  auto records = world_.audit("resource=vpcs/red AND status=NOT_FOUND");
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].caller().name(), "accesses/carol");
}

TEST_F(Scoped, SeesOfHostsWhatItsEndpointsNeed) {
  v1::ListHostsResponse hosts;
  ASSERT_TRUE(hosts_->ListHosts(Client::context().get(), {}, &hosts).ok());
  ASSERT_EQ(hosts.hosts_size(), 1);
  EXPECT_EQ(hosts.hosts(0).name(), "hosts/hostA");
  EXPECT_EQ(hosts.hosts(0).nics_size(), 0);
  v1::GetHostRequest get;
  get.set_name("hosts/hostB");
  v1::Host host;
  auto hidden = hosts_->GetHost(Client::context().get(), get, &host);
  get.set_name("hosts/hostC");
  auto missing = hosts_->GetHost(Client::context().get(), get, &host);
  EXPECT_EQ(hidden.error_code(), StatusCode::NOT_FOUND);
  std::string expected = missing.error_message();
  expected.replace(expected.find("hostC"), 5, "hostB");
  EXPECT_EQ(hidden.error_message(), expected);
  v1::WaitRolloutRequest wait;
  wait.set_revision(1);
  wait.mutable_timeout()->set_nanos(1'000'000);
  v1::WaitRolloutResponse rollout;
  ASSERT_TRUE(hosts_->WaitRollout(Client::context().get(), wait, &rollout).ok());
  for (const auto& one : rollout.hosts())
    EXPECT_NE(one.host(), "hosts/hostB");
}

TEST_F(Scoped, ChangesOnlyWhatIsInItsVpcs) {
  auto create = [&](const std::string& vpc, const std::string& policy, bool force) {
    v1::CreateEndpointRequest request;
    request.set_parent("vpcs/" + vpc);
    request.set_endpoint_id("mine");
    request.mutable_endpoint()->set_host("hosts/hostA");
    request.mutable_endpoint()->set_qos_policy(policy);
    request.set_force(force);
    v1::Endpoint ignored;
    return endpoints_->CreateEndpoint(Client::context().get(), request, &ignored);
  };
  EXPECT_EQ(create("red", "", false).error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(create("blue", "qosPolicies/gold", false).error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(create("blue", "", true).error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_TRUE(create("blue", "", false).ok());
  for (const char* method :
       {"qmasq.v1.VpcService/CreateVpc", "qmasq.v1.VpcService/DeleteVpc",
        "qmasq.v1.HostService/CreateHost", "qmasq.v1.HostService/UpdateHost",
        "qmasq.v1.HostService/DeleteHost", "qmasq.v1.QosService/CreateQosPolicy",
        "qmasq.v1.QosService/UpdateQosPolicy", "qmasq.v1.QosService/DeleteQosPolicy",
        "qmasq.v1.QosService/ShowQos", "qmasq.v1.AuthService/CreateJoinToken",
        "qmasq.v1.AuthService/CreateAccess", "qmasq.v1.AuthService/ListAccesses",
        "qmasq.v1.AuthService/RevokeAccess", "qmasq.v1.AuthService/RevokeHost",
        "qmasq.v1.SyncService/Sync"}) {
    EXPECT_EQ(AuthWorld::call(channel_, method).error_code(), StatusCode::PERMISSION_DENIED)
        << method;
  }
  // Her VPC's ranges she may change, its policy not.
  v1::UpdateVpcRequest update;
  update.mutable_vpc()->set_name("vpcs/blue");
  update.mutable_vpc()->set_description("hers");
  update.mutable_update_mask()->add_paths("description");
  v1::Vpc vpc;
  EXPECT_TRUE(vpcs_->UpdateVpc(Client::context().get(), update, &vpc).ok());
  update.mutable_update_mask()->add_paths("qos_policy");
  EXPECT_EQ(vpcs_->UpdateVpc(Client::context().get(), update, &vpc).error_code(),
            StatusCode::PERMISSION_DENIED);
}

TEST_F(Scoped, SeesWhatConcernsItsVpcsInTheAuditLog) {
  v1::ListAuditRecordsResponse hers;
  ASSERT_TRUE(auth_->ListAuditRecords(Client::context().get(), {}, &hers).ok());
  std::set<std::string> resources;
  for (const auto& record : hers.records())
    resources.insert(record.resource());
  EXPECT_THAT(resources, UnorderedElementsAre("vpcs/blue", "vpcs/green", "vpcs/blue/endpoints/a"));
}

TEST_F(Scoped, SeesPoliciesThatItsVpcsHave) {
  auto root = v1::QosService::NewStub(world_.local());
  for (const char* id : {"gold", "silver"}) {
    v1::CreateQosPolicyRequest request;
    request.set_qos_policy_id(id);
    request.mutable_qos_policy()->set_maximum_bps(1'000'000'000);
    v1::QosPolicy ignored;
    ASSERT_TRUE(root->CreateQosPolicy(Client::context().get(), request, &ignored).ok());
  }
  v1::UpdateVpcRequest update;
  update.mutable_vpc()->set_name("vpcs/blue");
  update.mutable_vpc()->set_qos_policy("qosPolicies/gold");
  update.mutable_update_mask()->add_paths("qos_policy");
  v1::Vpc vpc;
  ASSERT_TRUE(v1::VpcService::NewStub(world_.local())
                  ->UpdateVpc(Client::context().get(), update, &vpc)
                  .ok());
  v1::ListQosPoliciesResponse policies;
  ASSERT_TRUE(qos_->ListQosPolicies(Client::context().get(), {}, &policies).ok());
  ASSERT_EQ(policies.qos_policies_size(), 1);
  EXPECT_EQ(policies.qos_policies(0).name(), "qosPolicies/gold");
  EXPECT_EQ(policies.qos_policies(0).vpc_count(), 0U);
  v1::GetQosPolicyRequest get;
  get.set_name("qosPolicies/silver");
  v1::QosPolicy policy;
  EXPECT_EQ(qos_->GetQosPolicy(Client::context().get(), get, &policy).error_code(),
            StatusCode::NOT_FOUND);
}

TEST_F(Scoped, ChangesAreRecordedWithBeforeAndAfter) {
  v1::UpdateVpcRequest update;
  update.mutable_vpc()->set_name("vpcs/blue");
  update.mutable_vpc()->set_description("new words");
  update.mutable_update_mask()->add_paths("description");
  v1::Vpc vpc;
  ASSERT_TRUE(vpcs_->UpdateVpc(Client::context().get(), update, &vpc).ok());
  auto records = world_.audit("resource=vpcs/blue AND method=UpdateVpc");
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].caller().name(), "accesses/carol");
  EXPECT_EQ(records[0].caller().role(), v1::VPC_ADMIN);
  EXPECT_THAT(records[0].caller().peer(), HasSubstr("127.0.0.1:"));
  EXPECT_EQ(records[0].status(), "OK");
  EXPECT_EQ(records[0].revision(), vpc.revision());
  EXPECT_THAT(records[0].before(), Not(HasSubstr("new words")));
  EXPECT_THAT(records[0].before(), HasSubstr("\"name\":\"vpcs/blue\""));
  EXPECT_THAT(records[0].after(), HasSubstr("new words"));
  // Asking what it would do, or changing nothing, is no change.
  update.mutable_vpc()->set_description("never");
  update.set_validate_only(true);
  ASSERT_TRUE(vpcs_->UpdateVpc(Client::context().get(), update, &vpc).ok());
  update.mutable_vpc()->set_description("new words");
  update.set_validate_only(false);
  ASSERT_TRUE(vpcs_->UpdateVpc(Client::context().get(), update, &vpc).ok());
  EXPECT_EQ(world_.audit("resource=vpcs/blue AND method=UpdateVpc").size(), 1U);
  v1::DeleteVpcRequest remove;
  remove.set_name("vpcs/green");
  v1::DeleteVpcResponse gone;
  ASSERT_TRUE(v1::VpcService::NewStub(world_.local())
                  ->DeleteVpc(Client::context().get(), remove, &gone)
                  .ok());
  records = world_.audit("resource=vpcs/green AND method=DeleteVpc");
  ASSERT_EQ(records.size(), 1U);
  EXPECT_FALSE(records[0].before().empty());
  EXPECT_TRUE(records[0].after().empty());
  // Over a restart.
  EXPECT_EQ(world_.process.stop(), 0);
  world_.process.start();
  EXPECT_EQ(world_.audit("resource=vpcs/green AND method=DeleteVpc").size(), 1U);
}

TEST_F(Scoped, AnAnswerIsOnlyForWhomItWasGivenTo) {
  v1::UpdateVpcRequest update;
  update.mutable_vpc()->set_name("vpcs/blue");
  update.mutable_vpc()->set_description("hers");
  update.mutable_update_mask()->add_paths("description");
  update.set_request_id("6b1e2f1a-0d3c-4a57-9d5e-0a1b2c3d4e5f");
  v1::Vpc vpc;
  ASSERT_TRUE(vpcs_->UpdateVpc(Client::context().get(), update, &vpc).ok());
  ASSERT_TRUE(vpcs_->UpdateVpc(Client::context().get(), update, &vpc).ok());
  auto root = v1::VpcService::NewStub(world_.local());
  EXPECT_EQ(root->UpdateVpc(Client::context().get(), update, &vpc).error_code(),
            StatusCode::INVALID_ARGUMENT);
}

TEST_F(Scoped, UsersOfAnEndpointAreKept) {
  v1::UpdateEndpointRequest update;
  update.mutable_endpoint()->set_name("vpcs/blue/endpoints/a");
  for (std::uint32_t user : {1001U, 1000U})
    update.mutable_endpoint()->add_user_ids(user);
  update.mutable_endpoint()->add_group_ids(2000);
  update.mutable_update_mask()->add_paths("user_ids");
  update.mutable_update_mask()->add_paths("group_ids");
  v1::Endpoint endpoint;
  auto status = endpoints_->UpdateEndpoint(Client::context().get(), update, &endpoint);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(endpoint.user_ids(), ElementsAre(1000, 1001));
  EXPECT_EQ(world_.process.stop(), 0);
  world_.process.start();
  v1::GetEndpointRequest get;
  get.set_name("vpcs/blue/endpoints/a");
  auto again = v1::EndpointService::NewStub(world_.local());
  ASSERT_TRUE(again->GetEndpoint(Client::context().get(), get, &endpoint).ok());
  EXPECT_THAT(endpoint.user_ids(), ElementsAre(1000, 1001));
  EXPECT_THAT(endpoint.group_ids(), ElementsAre(2000));
  update.mutable_endpoint()->add_user_ids(1000);
  EXPECT_EQ(again->UpdateEndpoint(Client::context().get(), update, &endpoint).error_code(),
            StatusCode::INVALID_ARGUMENT);
  update.mutable_endpoint()->clear_user_ids();
  for (std::uint32_t user = 1; user <= 65; ++user)
    update.mutable_endpoint()->add_user_ids(user);
  EXPECT_EQ(again->UpdateEndpoint(Client::context().get(), update, &endpoint).error_code(),
            StatusCode::INVALID_ARGUMENT);
}

TEST(Limits, WhoCallsTooOftenWaits) {
  AuthWorld world;
  world.process.start({"--calls-per-second", "5"});
  auto stub = v1::AuthService::NewStub(world.channel(world.admin()));
  int refused = 0;
  for (int i = 0; i < 30; ++i) {
    auto context = Client::context();
    v1::Caller caller;
    auto status = stub->WhoAmI(context.get(), {}, &caller);
    if (status.ok()) continue;
    ++refused;
    EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_THAT(status.error_message(), HasSubstr("try again in"));
    EXPECT_EQ(context->GetServerTrailingMetadata().count("grpc-retry-pushback-ms"), 1U);
  }
  EXPECT_GE(refused, 1);
  // That is nobody else's trouble.
  EXPECT_TRUE(Client(world.process).create_vpc("blue", {"10.0.0.0/24"}).ok());
}

TEST(Limits, AFloodOfRefusalsDoesNotFillTheDisk) {
  AuthWorld world;
  world.process.start();
  auto stub = v1::AuthService::NewStub(world.stranger());
  int said = 0;
  for (int i = 0; i < 300; ++i) {
    v1::Caller caller;
    auto status = stub->WhoAmI(Client::context().get(), {}, &caller);
    ASSERT_FALSE(status.ok());
    if (status.error_code() == StatusCode::RESOURCE_EXHAUSTED) ++said;
  }
  EXPECT_GE(said, 1);
  EXPECT_LE(world.audit("status=UNAUTHENTICATED").size(), 60U);
}

TEST(Limits, ARequestHasABound) {
  AuthWorld world;
  world.process.start();
  v1::ListVpcsRequest list;
  list.set_filter(std::string(100 << 10, 'x'));
  v1::ListVpcsResponse ignored;
  auto status =
      v1::VpcService::NewStub(world.local())->ListVpcs(Client::context().get(), list, &ignored);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("takes at most"));
}

}  // namespace
}  // namespace qmasq::controller

int main(int argc, char** argv) {
  qmasq::trust::require_tls13();
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
