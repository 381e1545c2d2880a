// SPDX-License-Identifier: Apache-2.0
// Every service over the real socket: what works, and how each wrong request is refused.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "tests/integration/controller/controller_process.h"

namespace qmasq::controller {
namespace {

using testing::Client;
using testing::ControllerProcess;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kUuid = "123e4567-e89b-12d3-a456-426614174000";

// One process for all cases; each uses names of its own.
class ApiTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    process = new ControllerProcess();
    process->start();
  }
  static void TearDownTestSuite() {
    delete process;
    process = nullptr;
  }
  static void refused(const grpc::Status& status, grpc::StatusCode code, const std::string& field,
                      const std::string& reason) {
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    EXPECT_THAT(status.error_message(), StartsWith(field + ": "));
    EXPECT_THAT(status.error_message(), HasSubstr(reason));
  }

  static ControllerProcess* process;
  Client client_{*process};
};
ControllerProcess* ApiTest::process = nullptr;

TEST_F(ApiTest, AVpcLives) {
  v1::Vpc vpc;
  ASSERT_TRUE(client_.create_vpc("life", {"10.0.0.0/24", "fd00::/64"}, &vpc).ok());
  EXPECT_EQ(vpc.name(), "vpcs/life");
  EXPECT_GE(vpc.vni(), 4096U);
  EXPECT_GT(vpc.uid(), 0U);
  EXPECT_GT(vpc.revision(), 0U);
  EXPECT_GT(vpc.create_time().seconds(), 1'600'000'000);

  v1::UpdateVpcRequest update;
  *update.mutable_vpc() = vpc;
  update.mutable_vpc()->set_mtu(1400);
  v1::Vpc updated;
  ASSERT_TRUE(client_.vpcs->UpdateVpc(Client::context().get(), update, &updated).ok());
  EXPECT_EQ(updated.mtu(), 1400U);
  EXPECT_NE(updated.etag(), vpc.etag());
  EXPECT_EQ(updated.vni(), vpc.vni());
  EXPECT_GT(updated.revision(), vpc.revision());
  auto stale = client_.vpcs->UpdateVpc(Client::context().get(), update, &updated);
  refused(stale, grpc::StatusCode::FAILED_PRECONDITION, "etag", "changed by somebody else");

  v1::GetVpcRequest get;
  get.set_name("vpcs/life");
  v1::Vpc got;
  ASSERT_TRUE(client_.vpcs->GetVpc(Client::context().get(), get, &got).ok());
  EXPECT_EQ(got.mtu(), 1400U);
  v1::DeleteVpcRequest remove;
  remove.set_name("vpcs/life");
  remove.set_etag(vpc.etag());
  v1::DeleteVpcResponse gone;
  EXPECT_FALSE(client_.vpcs->DeleteVpc(Client::context().get(), remove, &gone).ok());
  remove.set_etag(got.etag());
  ASSERT_TRUE(client_.vpcs->DeleteVpc(Client::context().get(), remove, &gone).ok());
  EXPECT_EQ(gone.revision(), got.revision() + 1);
  refused(client_.vpcs->GetVpc(Client::context().get(), get, &got), grpc::StatusCode::NOT_FOUND,
          "name", "there is no vpcs/life");
}

TEST_F(ApiTest, WrongVpcsAreRefusedWithFieldAndReason) {
  ASSERT_TRUE(client_.create_vpc("taken", {"10.0.0.0/24"}, nullptr, "", 777).ok());
  using Code = grpc::StatusCode;
  refused(client_.create_vpc("taken", {"10.0.0.0/24"}), Code::ALREADY_EXISTS, "vpc_id", "exists");
  refused(client_.create_vpc("Bad", {"10.0.0.0/24"}), Code::INVALID_ARGUMENT, "vpc_id", "VPC id");
  refused(client_.create_vpc("x", {}), Code::INVALID_ARGUMENT, "vpc.ranges", "at least one");
  refused(client_.create_vpc("x", {"10.0.0.0/16", "10.0.1.0/24"}), Code::INVALID_ARGUMENT,
          "vpc.ranges[1]", "overlaps 10.0.0.0/16");
  refused(client_.create_vpc("x", {"10.0.0.0/24"}, nullptr, "", 777), Code::ALREADY_EXISTS,
          "vpc.vni", "vpcs/taken");
  refused(client_.create_vpc("x", {"10.0.0.0/24"}, nullptr, "", 1U << 24U), Code::INVALID_ARGUMENT,
          "vpc.vni", "1 to 16777215");
  refused(client_.create_vpc("x", {"10.0.0.0/24"}, nullptr, "no uuid"), Code::INVALID_ARGUMENT,
          "request_id", "UUID");
  v1::GetVpcRequest get;
  get.set_name("vpcs/x");
  v1::Vpc got;
  EXPECT_EQ(client_.vpcs->GetVpc(Client::context().get(), get, &got).error_code(), Code::NOT_FOUND)
      << "nothing half written";
}

TEST_F(ApiTest, AnEndpointLives) {
  ASSERT_TRUE(client_.create_vpc("ep", {"10.0.0.0/24"}).ok());
  ASSERT_TRUE(client_.create_host("ep-a").ok());
  ASSERT_TRUE(client_.create_host("ep-b").ok());
  v1::Endpoint first;
  v1::Endpoint second;
  v1::Endpoint third;
  ASSERT_TRUE(client_.create_endpoint("ep", "one", "ep-a", {}, &first).ok());
  ASSERT_TRUE(client_.create_endpoint("ep", "two", "ep-b", {"10.0.0.3"}, &second).ok());
  ASSERT_TRUE(client_.create_endpoint("ep", "three", "ep-a", {}, &third).ok());
  EXPECT_EQ(first.addresses(0), "10.0.0.1");
  EXPECT_EQ(third.addresses(0), "10.0.0.2");
  EXPECT_THAT(first.mac(), StartsWith("02:71:"));
  EXPECT_EQ(first.host(), "hosts/ep-a");
  EXPECT_EQ(first.status().state(), v1::EndpointStatus::UNBOUND);

  v1::UpdateEndpointRequest move;
  move.mutable_endpoint()->set_name(first.name());
  move.mutable_endpoint()->set_host("hosts/ep-b");
  move.mutable_update_mask()->add_paths("host");
  v1::Endpoint moved;
  ASSERT_TRUE(client_.endpoints->UpdateEndpoint(Client::context().get(), move, &moved).ok());
  EXPECT_EQ(moved.host(), "hosts/ep-b");
  EXPECT_EQ(moved.addresses(0), "10.0.0.1");

  v1::UpdateEndpointRequest readdress;
  readdress.mutable_endpoint()->set_name(first.name());
  readdress.mutable_endpoint()->add_addresses("10.0.0.3");
  refused(client_.endpoints->UpdateEndpoint(Client::context().get(), readdress, &moved),
          grpc::StatusCode::ALREADY_EXISTS, "endpoint.addresses[0]", "vpcs/ep/endpoints/two");

  v1::DeleteVpcRequest vpc;
  vpc.set_name("vpcs/ep");
  v1::DeleteVpcResponse ignored;
  refused(client_.vpcs->DeleteVpc(Client::context().get(), vpc, &ignored),
          grpc::StatusCode::FAILED_PRECONDITION, "name", "still has endpoints");
  v1::DeleteHostRequest host;
  host.set_name("hosts/ep-b");
  v1::DeleteHostResponse ignored2;
  refused(client_.hosts->DeleteHost(Client::context().get(), host, &ignored2),
          grpc::StatusCode::FAILED_PRECONDITION, "name", "still has endpoints");

  v1::DeleteEndpointRequest remove;
  remove.set_name(first.name());
  v1::DeleteEndpointResponse gone;
  ASSERT_TRUE(client_.endpoints->DeleteEndpoint(Client::context().get(), remove, &gone).ok());
  v1::Endpoint again;
  ASSERT_TRUE(client_.create_endpoint("ep", "one", "ep-a", {}, &again).ok());
  EXPECT_EQ(again.addresses(0), "10.0.0.1");
  EXPECT_NE(again.uid(), first.uid());
}

TEST_F(ApiTest, WrongEndpointsAreRefusedWithFieldAndReason) {
  ASSERT_TRUE(client_.create_vpc("wrong", {"10.0.0.0/30"}).ok());
  ASSERT_TRUE(client_.create_host("wrong-h").ok());
  ASSERT_TRUE(client_.create_endpoint("wrong", "one", "wrong-h", {"10.0.0.1"}).ok());
  using Code = grpc::StatusCode;
  auto create = [&](const std::string& id, const std::vector<std::string>& addresses) {
    return client_.create_endpoint("wrong", id, "wrong-h", addresses);
  };
  refused(client_.create_endpoint("none", "x", "wrong-h", {}), Code::NOT_FOUND, "parent",
          "there is no vpcs/none");
  refused(client_.create_endpoint("wrong", "x", "none", {}), Code::NOT_FOUND, "endpoint.host",
          "there is no hosts/none");
  refused(create("one", {}), Code::ALREADY_EXISTS, "endpoint_id", "exists");
  refused(create("x", {"10.0.0.2", "10.0.0.1"}), Code::ALREADY_EXISTS, "endpoint.addresses[1]",
          "vpcs/wrong/endpoints/one");
  refused(create("x", {"10.0.9.1"}), Code::INVALID_ARGUMENT, "endpoint.addresses[0]", "no range");
  refused(create("x", {"10.0.0.3"}), Code::INVALID_ARGUMENT, "endpoint.addresses[0]", "broadcast");
  ASSERT_TRUE(create("two", {}).ok());
  refused(create("x", {}), Code::RESOURCE_EXHAUSTED, "endpoint.addresses", "10.0.0.0/30");

  v1::UpdateVpcRequest shrink;
  shrink.mutable_vpc()->set_name("vpcs/wrong");
  shrink.mutable_vpc()->add_ranges("10.1.0.0/24");
  shrink.mutable_update_mask()->add_paths("ranges");
  v1::Vpc ignored;
  refused(client_.vpcs->UpdateVpc(Client::context().get(), shrink, &ignored),
          Code::FAILED_PRECONDITION, "vpc.ranges", "10.0.0.1");
  shrink.mutable_vpc()->set_ranges(0, "10.0.0.0/31");
  refused(client_.vpcs->UpdateVpc(Client::context().get(), shrink, &ignored),
          Code::FAILED_PRECONDITION, "vpc.ranges", "10.0.0.2");
  shrink.mutable_vpc()->set_ranges(0, "10.0.0.0/24");
  EXPECT_TRUE(client_.vpcs->UpdateVpc(Client::context().get(), shrink, &ignored).ok());
}

TEST_F(ApiTest, ARepeatedRequestGetsTheSameAnswer) {
  v1::Vpc first;
  v1::Vpc second;
  ASSERT_TRUE(client_.create_vpc("again", {"10.0.0.0/24"}, &first, kUuid).ok());
  ASSERT_TRUE(client_.create_vpc("again", {"10.0.0.0/24"}, &second, kUuid).ok());
  EXPECT_EQ(first.SerializeAsString(), second.SerializeAsString());
  refused(client_.create_vpc("again", {"10.0.1.0/24"}, &second, kUuid),
          grpc::StatusCode::INVALID_ARGUMENT, "request_id", "another request");
}

TEST_F(ApiTest, ValidateOnlyChangesNothing) {
  v1::CreateVpcRequest request;
  request.set_vpc_id("maybe");
  request.mutable_vpc()->add_ranges("10.0.0.0/24");
  request.set_validate_only(true);
  v1::Vpc vpc;
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(client_.vpcs->CreateVpc(Client::context().get(), request, &vpc).ok());
    EXPECT_EQ(vpc.name(), "vpcs/maybe");
  }
  request.mutable_vpc()->add_ranges("10.0.0.0/25");
  refused(client_.vpcs->CreateVpc(Client::context().get(), request, &vpc),
          grpc::StatusCode::INVALID_ARGUMENT, "vpc.ranges[1]", "overlaps");
  v1::GetVpcRequest get;
  get.set_name("vpcs/maybe");
  EXPECT_FALSE(client_.vpcs->GetVpc(Client::context().get(), get, &vpc).ok());
}

TEST_F(ApiTest, ListsHavePagesAndFilters) {
  ASSERT_TRUE(client_.create_vpc("list", {"10.0.0.0/16"}).ok());
  ASSERT_TRUE(client_.create_host("list-a").ok());
  ASSERT_TRUE(client_.create_host("list-b").ok());
  for (int i = 0; i < 25; ++i) {
    ASSERT_TRUE(client_
                    .create_endpoint("list", "e" + std::to_string(100 + i),
                                     i % 5 == 0 ? "list-b" : "list-a", {})
                    .ok());
  }
  auto all = client_.list_endpoints("vpcs/list", 7);
  ASSERT_EQ(all.size(), 25U);
  for (std::size_t i = 1; i < all.size(); ++i)
    EXPECT_LT(all[i - 1].name(), all[i].name());
  EXPECT_EQ(client_.list_endpoints("vpcs/list", 25).size(), 25U);

  auto filtered = [&](const std::string& parent, const std::string& filter) {
    v1::ListEndpointsRequest request;
    request.set_parent(parent);
    request.set_filter(filter);
    v1::ListEndpointsResponse page;
    auto status = client_.endpoints->ListEndpoints(Client::context().get(), request, &page);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return page.endpoints_size();
  };
  EXPECT_EQ(filtered("vpcs/-", "host=hosts/list-b"), 5);
  EXPECT_EQ(filtered("vpcs/list", "host=list-b AND endpoint=e10*"), 2);
  EXPECT_EQ(filtered("vpcs/list", "address=10.0.0.7"), 1);
  EXPECT_EQ(filtered("vpcs/list", "host=hosts/none"), 0);

  v1::ListEndpointsRequest request;
  request.set_parent("vpcs/list");
  request.set_page_size(5);
  v1::ListEndpointsResponse page;
  ASSERT_TRUE(client_.endpoints->ListEndpoints(Client::context().get(), request, &page).ok());
  request.set_page_token(page.next_page_token());
  request.set_filter("endpoint=e1*");
  refused(client_.endpoints->ListEndpoints(Client::context().get(), request, &page),
          grpc::StatusCode::INVALID_ARGUMENT, "page_token", "same filter");
  request.clear_page_token();
  request.set_filter("color=blue");
  refused(client_.endpoints->ListEndpoints(Client::context().get(), request, &page),
          grpc::StatusCode::INVALID_ARGUMENT, "filter", "color");
  request.clear_filter();
  request.set_parent("vpcs/none");
  refused(client_.endpoints->ListEndpoints(Client::context().get(), request, &page),
          grpc::StatusCode::NOT_FOUND, "parent", "vpcs/none");
}

TEST_F(ApiTest, HostsAreListedByState) {
  ASSERT_TRUE(client_.create_host("quiet").ok());
  v1::ListHostsRequest request;
  request.set_filter("state=never_joined AND name=quiet");
  v1::ListHostsResponse page;
  ASSERT_TRUE(client_.hosts->ListHosts(Client::context().get(), request, &page).ok());
  ASSERT_EQ(page.hosts_size(), 1);
  EXPECT_EQ(page.hosts(0).status().state(), v1::HostStatus::NEVER_JOINED);
  v1::UpdateHostRequest update;
  update.mutable_host()->set_name("hosts/quiet");
  update.mutable_host()->set_description("rack 7");
  v1::Host host;
  ASSERT_TRUE(client_.hosts->UpdateHost(Client::context().get(), update, &host).ok());
  EXPECT_EQ(host.description(), "rack 7");
  v1::DeleteHostRequest remove;
  remove.set_name("hosts/quiet");
  v1::DeleteHostResponse gone;
  EXPECT_TRUE(client_.hosts->DeleteHost(Client::context().get(), remove, &gone).ok());
}

TEST_F(ApiTest, ARolloutThatConcernsNobodyIsComplete) {
  v1::Vpc vpc;
  ASSERT_TRUE(client_.create_vpc("rollout", {"10.0.0.0/24"}, &vpc).ok());
  v1::WaitRolloutRequest request;
  request.set_revision(vpc.revision());
  request.mutable_timeout()->set_seconds(10);
  v1::WaitRolloutResponse response;
  ASSERT_TRUE(client_.hosts->WaitRollout(Client::context().get(), request, &response).ok());
  EXPECT_TRUE(response.complete());
  request.set_revision(1'000'000);
  refused(client_.hosts->WaitRollout(Client::context().get(), request, &response),
          grpc::StatusCode::INVALID_ARGUMENT, "revision", "no revision 1000000");
}

TEST_F(ApiTest, TooLargeARequestIsRefused) {
  v1::CreateVpcRequest request;
  request.set_vpc_id("large");
  request.mutable_vpc()->set_description(std::string(5 << 20, 'x'));
  v1::Vpc vpc;
  EXPECT_EQ(client_.vpcs->CreateVpc(Client::context().get(), request, &vpc).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  request.mutable_vpc()->set_description(std::string(1025, 'x'));
  request.mutable_vpc()->add_ranges("10.0.0.0/24");
  refused(client_.vpcs->CreateVpc(Client::context().get(), request, &vpc),
          grpc::StatusCode::INVALID_ARGUMENT, "vpc.description", "at most 1024");
}

}  // namespace
}  // namespace qmasq::controller
