// SPDX-License-Identifier: Apache-2.0
// Sync over real streams, with agents made of the test's own model.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/integration/controller/controller_process.h"
#include "tests/integration/controller/fake_agent.h"

namespace qmasq::controller {
namespace {

using testing::Client;
using testing::ControllerProcess;
using testing::FakeAgent;
using ::testing::HasSubstr;

class SyncTest : public ::testing::Test {
 protected:
  // Agents of these tests send no heartbeats.
  void SetUp() override { start("60000"); }
  void start(const char* heartbeat_ms) {
    process_.start({"--heartbeat-ms", heartbeat_ms});
    client_ = std::make_unique<Client>(process_);
  }
  v1::WaitRolloutResponse rollout(std::uint64_t revision, int seconds) {
    v1::WaitRolloutRequest request;
    request.set_revision(revision);
    request.mutable_timeout()->set_seconds(seconds);
    v1::WaitRolloutResponse response;
    auto status = client_->hosts->WaitRollout(Client::context().get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  v1::Host host(const std::string& id) {
    v1::GetHostRequest request;
    request.set_name("hosts/" + id);
    v1::Host out;
    auto status = client_->hosts->GetHost(Client::context().get(), request, &out);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return out;
  }
  // Until a host is in that state; bounded by the test's own time limit.
  bool becomes(const std::string& id, v1::HostStatus::State state) {
    for (int i = 0; i < 500; ++i) {
      if (host(id).status().state() == state) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  std::uint64_t add_endpoint(const std::string& vpc, const std::string& id, const std::string& on) {
    v1::Endpoint endpoint;
    auto status = client_->create_endpoint(vpc, id, on, {}, &endpoint);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return endpoint.revision();
  }

  ControllerProcess process_;
  std::unique_ptr<Client> client_;
};

TEST_F(SyncTest, AnUnknownHostJoinsReportsAndIsFollowed) {
  FakeAgent agent(process_, "hostA");
  agent.connect();
  ASSERT_TRUE(agent.follow(0));
  EXPECT_EQ(host("hostA").status().state(), v1::HostStatus::ONLINE);
  agent.report("192.0.2.1");
  for (int i = 0; i < 500 && host("hostA").nics().empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(host("hostA").underlay_address(), "192.0.2.1");
  ASSERT_EQ(host("hostA").nics_size(), 1);
  EXPECT_EQ(host("hostA").nics(0).primary_gid(), "0000:0000:0000:0000:0000:ffff:c000:0201");

  ASSERT_TRUE(client_->create_vpc("blue", {"10.0.0.0/24"}).ok());
  auto revision = add_endpoint("blue", "a", "hostA");
  ASSERT_TRUE(agent.follow(revision));
  EXPECT_EQ(agent.model.held().vpcs.size(), 1U);
  EXPECT_EQ(agent.model.held().endpoints.size(), 1U);
  EXPECT_EQ(agent.model.held().hosts.size(), 1U);
  EXPECT_TRUE(rollout(revision, 10).complete());

  v1::DeleteEndpointRequest request;
  request.set_name("vpcs/blue/endpoints/a");
  v1::DeleteEndpointResponse gone;
  ASSERT_TRUE(client_->endpoints->DeleteEndpoint(Client::context().get(), request, &gone).ok());
  ASSERT_TRUE(agent.follow(gone.revision()));
  EXPECT_EQ(agent.model.held(), testing::Held{});
}

TEST_F(SyncTest, AReconnectGetsWhatItMissedAlsoAfterSigkill) {
  FakeAgent agent(process_, "hostA");
  agent.connect();
  ASSERT_TRUE(agent.follow(0));
  ASSERT_TRUE(client_->create_vpc("blue", {"10.0.0.0/24"}).ok());
  ASSERT_TRUE(agent.follow(add_endpoint("blue", "a", "hostA")));
  const int snapshots = agent.snapshots;
  agent.hang_up();
  auto missed = add_endpoint("blue", "b", "hostA");
  agent.connect();
  ASSERT_TRUE(agent.follow(missed));
  EXPECT_EQ(agent.model.held().endpoints.size(), 2U);

  process_.kill9();
  EXPECT_FALSE(agent.follow(missed + 100));
  start("60000");
  missed = add_endpoint("blue", "c", "hostA");
  FakeAgent again(process_, "hostA");
  again.model = agent.model;
  again.store_id = agent.store_id;
  again.connect();
  ASSERT_TRUE(again.follow(missed));
  EXPECT_EQ(again.model.held().endpoints.size(), 3U);
  EXPECT_EQ(agent.snapshots + again.snapshots, snapshots) << "deltas were enough";
  EXPECT_EQ(again.store_id, agent.store_id);
}

TEST_F(SyncTest, ASecondAgentOfTheSameNameEndsTheFirst) {
  FakeAgent first(process_, "hostA");
  first.connect();
  ASSERT_TRUE(first.follow(0));
  FakeAgent second(process_, "hostA");
  second.connect();
  ASSERT_TRUE(second.follow(0));
  auto status = first.status();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_THAT(status.error_message(), HasSubstr("another agent joined as hosts/hostA"));
}

TEST_F(SyncTest, WhatIsNoProtocolIsRefused) {
  struct {
    v1::Hello hello;
    grpc::StatusCode code;
    std::string text;
  } cases[3];
  cases[0].hello.set_protocol_version(9);
  cases[0].hello.set_host("hosts/x");
  cases[0].code = grpc::StatusCode::FAILED_PRECONDITION;
  cases[0].text = "version 9";
  cases[1].hello.set_protocol_version(3);
  cases[1].hello.set_host("x");
  cases[1].code = grpc::StatusCode::INVALID_ARGUMENT;
  cases[1].text = "hosts/HOST";
  cases[2].hello.set_protocol_version(3);
  cases[2].hello.set_host("hosts/a b");
  cases[2].code = grpc::StatusCode::INVALID_ARGUMENT;
  cases[2].text = "host id";
  for (const auto& c : cases) {
    FakeAgent agent(process_, "x");
    agent.connect(&c.hello);
    auto status = agent.status();
    EXPECT_EQ(status.error_code(), c.code);
    EXPECT_THAT(status.error_message(), HasSubstr(c.text));
  }
  FakeAgent twice(process_, "x");
  twice.connect();
  ASSERT_TRUE(twice.follow(0));
  v1::SyncRequest hello;
  hello.mutable_hello()->set_protocol_version(3);
  twice.write(hello);
  EXPECT_EQ(twice.status().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  FakeAgent wrong(process_, "x");
  wrong.connect();
  ASSERT_TRUE(wrong.follow(0));
  wrong.report("not an address");
  EXPECT_EQ(wrong.status().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(SyncTest, ASilentHostGoesOfflineAndComesBack) {
  process_.stop();
  start("300");
  FakeAgent agent(process_, "hostA");
  agent.connect();
  ASSERT_TRUE(agent.follow(0));
  EXPECT_TRUE(becomes("hostA", v1::HostStatus::OFFLINE));
  EXPECT_EQ(agent.status().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  agent.connect();
  ASSERT_TRUE(agent.follow(0));
  EXPECT_EQ(host("hostA").status().state(), v1::HostStatus::ONLINE);
  v1::DeleteHostRequest request;
  request.set_name("hosts/hostA");
  v1::DeleteHostResponse gone;
  auto refused = client_->hosts->DeleteHost(Client::context().get(), request, &gone);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(refused.error_message(), HasSubstr("online"));
}

TEST_F(SyncTest, EndpointReportsShowAndProtect) {
  FakeAgent agent(process_, "hostA");
  agent.connect();
  ASSERT_TRUE(agent.follow(0));
  ASSERT_TRUE(client_->create_vpc("blue", {"10.0.0.0/24"}).ok());
  ASSERT_TRUE(agent.follow(add_endpoint("blue", "a", "hostA")));
  v1::SyncRequest request;
  auto* report = request.mutable_endpoint_report();
  report->set_endpoint_uid(agent.model.held().endpoints.begin()->first);
  report->mutable_status()->set_state(v1::EndpointStatus::BOUND);
  report->mutable_status()->set_attachments(2);
  agent.write(request);
  v1::GetEndpointRequest get;
  get.set_name("vpcs/blue/endpoints/a");
  v1::Endpoint endpoint;
  for (int i = 0; i < 500 && endpoint.status().attachments() == 0; ++i) {
    ASSERT_TRUE(client_->endpoints->GetEndpoint(Client::context().get(), get, &endpoint).ok());
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(endpoint.status().state(), v1::EndpointStatus::BOUND);
  v1::DeleteEndpointRequest remove;
  remove.set_name(get.name());
  v1::DeleteEndpointResponse gone;
  auto refused = client_->endpoints->DeleteEndpoint(Client::context().get(), remove, &gone);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(refused.error_message(), HasSubstr("2 programs are attached"));
  // A controller that starts anew does not know yet, and does not take it for free.
  process_.kill9();
  start("60000");
  refused = client_->endpoints->DeleteEndpoint(Client::context().get(), remove, &gone);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(refused.error_message(), HasSubstr("hosts/hostA has not reported"));
  FakeAgent again(process_, "hostA");
  again.connect();
  ASSERT_TRUE(again.follow(1));
  report->mutable_status()->set_state(v1::EndpointStatus::UNBOUND);
  report->mutable_status()->set_attachments(0);
  again.write(request);
  while (endpoint.status().state() != v1::EndpointStatus::UNBOUND) {
    ASSERT_TRUE(client_->endpoints->GetEndpoint(Client::context().get(), get, &endpoint).ok());
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_TRUE(client_->endpoints->DeleteEndpoint(Client::context().get(), remove, &gone).ok());
}

TEST_F(SyncTest, AnEndpointInUseIsDeletedByForce) {
  FakeAgent agent(process_, "hostA");
  agent.connect();
  ASSERT_TRUE(agent.follow(0));
  ASSERT_TRUE(client_->create_vpc("blue", {"10.0.0.0/24"}).ok());
  add_endpoint("blue", "a", "hostA");
  process_.kill9();
  start("60000");
  v1::DeleteEndpointRequest remove;
  remove.set_name("vpcs/blue/endpoints/a");
  remove.set_force(true);
  v1::DeleteEndpointResponse gone;
  EXPECT_TRUE(client_->endpoints->DeleteEndpoint(Client::context().get(), remove, &gone).ok());
}

// A host report concerns those that share a VPC, and nobody else.
TEST_F(SyncTest, HostReportsFanOutToThoseWhoShareAVpc) {
  FakeAgent a(process_, "hostA");
  FakeAgent b(process_, "hostB");
  FakeAgent c(process_, "hostC");
  for (auto* agent : {&a, &b, &c}) {
    agent->connect();
    ASSERT_TRUE(agent->follow(0));
  }
  ASSERT_TRUE(client_->create_vpc("blue", {"10.0.0.0/24"}).ok());
  ASSERT_TRUE(client_->create_vpc("red", {"10.0.0.0/24"}).ok());
  add_endpoint("blue", "a", "hostA");
  add_endpoint("blue", "b", "hostB");
  auto revision = add_endpoint("red", "c", "hostC");
  for (auto* agent : {&a, &b, &c})
    ASSERT_TRUE(agent->follow(revision));
  const int before = c.batches;
  a.report("192.0.2.1");
  while (host("hostA").nics().empty())
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  revision = host("hostA").revision();
  ASSERT_TRUE(b.follow(revision));
  EXPECT_EQ(b.model.held().hosts.at(host("hostA").uid()), revision);
  ASSERT_TRUE(c.follow(revision));
  EXPECT_EQ(c.batches, before);
}

// One agent does not read at all while another follows and thousands of changes go by; when it
// reads again it gets them in a few steps. And a large VPC comes in bounded parts.
TEST_F(SyncTest, ASlowAgentDelaysNobodyAndCatchesUpInFewSteps) {
  FakeAgent slow(process_, "slow");
  FakeAgent quick(process_, "quick");
  for (auto* agent : {&slow, &quick}) {
    agent->connect();
    ASSERT_TRUE(agent->follow(0));
  }
  ASSERT_TRUE(client_->create_vpc("blue", {"10.0.0.0/16"}).ok());
  v1::Endpoint last;
  ASSERT_TRUE(client_->create_endpoint("blue", "s", "slow", {}).ok());
  ASSERT_TRUE(client_->create_endpoint("blue", "q", "quick", {}, &last).ok());
  constexpr int kMany = 1500;
  for (int i = 0; i < kMany; ++i) {
    ASSERT_TRUE(client_->create_endpoint("blue", "e" + std::to_string(i), "quick", {}, &last).ok());
    if (i % 300 == 0) {
      ASSERT_TRUE(quick.follow(last.revision()));
    }
  }
  ASSERT_TRUE(quick.follow(last.revision()));
  EXPECT_EQ(quick.model.held().endpoints.size(), kMany + 2U);
  ASSERT_TRUE(slow.follow(last.revision()));
  EXPECT_EQ(slow.model.held(), quick.model.held());
  EXPECT_LT(slow.batches, 10);
  EXPECT_LE(slow.largest, 1U << 20U);
}

TEST_F(SyncTest, ARolloutTellsWhoIsMissing) {
  FakeAgent agent(process_, "hostA");
  agent.connect();
  ASSERT_TRUE(agent.follow(0));
  ASSERT_TRUE(client_->create_vpc("blue", {"10.0.0.0/24"}).ok());
  ASSERT_TRUE(client_->create_host("hostB").ok());
  add_endpoint("blue", "a", "hostA");
  auto revision = add_endpoint("blue", "b", "hostB");
  ASSERT_TRUE(agent.follow(revision));
  // Its acknowledgement may still be on its way.
  while (host("hostA").status().applied_revision() < revision)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  auto response = rollout(revision, 0);
  EXPECT_FALSE(response.complete());
  ASSERT_EQ(response.hosts_size(), 2);
  EXPECT_EQ(response.hosts(0).host(), "hosts/hostA");
  EXPECT_EQ(response.hosts(0).state(), v1::HostRollout::APPLIED);
  EXPECT_EQ(response.hosts(1).state(), v1::HostRollout::OFFLINE);
  EXPECT_THAT(response.hosts(1).reason(), HasSubstr("no agent ever joined"));
}

TEST_F(SyncTest, ManyAgentsAtOnce) {
  ASSERT_TRUE(client_->create_vpc("blue", {"10.0.0.0/16"}).ok());
  std::vector<std::unique_ptr<FakeAgent>> agents;
  for (int i = 0; i < 100; ++i) {
    agents.push_back(std::make_unique<FakeAgent>(process_, "h" + std::to_string(i)));
    agents.back()->connect();
    ASSERT_TRUE(agents.back()->follow(0));
  }
  v1::Endpoint last;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(
        client_
            ->create_endpoint("blue", "e" + std::to_string(i), "h" + std::to_string(i), {}, &last)
            .ok());
  }
  for (auto& agent : agents)
    ASSERT_TRUE(agent->follow(last.revision()));
  for (auto& agent : agents)
    EXPECT_EQ(agent->model.held(), agents[0]->model.held());
  EXPECT_EQ(agents[0]->model.held().hosts.size(), 100U);
}

}  // namespace
}  // namespace qmasq::controller
