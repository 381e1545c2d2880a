// SPDX-License-Identifier: Apache-2.0
// The real controller, as a process, and several agents with fake kernels.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/integration/agent/agent_site.h"
#include "tests/integration/agent/follower_site.h"
#include "tests/integration/controller/controller_process.h"
#include "vbond/attach/attach_client.h"

namespace qmasq::test {
namespace {

using controller::testing::Client;
using controller::testing::ControllerProcess;
using ::testing::HasSubstr;

class FleetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    controller_.start();
    for (int i = 0; i < 3; ++i) {
      auto number = std::to_string(i);
      agents_.push_back(
          std::make_unique<AgentSite>("host" + number, address(), "192.0.2.1" + number));
      auto status = agents_.back()->start();
      ASSERT_TRUE(status.has_value()) << status.error().message;
      ASSERT_TRUE(eventually([&] { return agents_.back()->describe().in_sync(); }));
    }
    Client client(controller_);
    for (const char* vpc : {"blue", "red"}) {
      ASSERT_TRUE(client.create_vpc(vpc, {"10.0.0.0/16"}).ok());
      for (int i = 0; i < 3; ++i)
        create(client, vpc, i, "10.0.0." + std::to_string(i + 1));
    }
    ASSERT_TRUE(all_have_all());
  }

  [[nodiscard]] std::string address() const { return "unix:" + controller_.socket(); }

  static void create(Client& client, const std::string& vpc, int host, const std::string& ip) {
    // "10.0.2.1" on host1: "e2-1-1".
    std::string id = "e" + ip.substr(5) + "-" + std::to_string(host);
    std::replace(id.begin(), id.end(), '.', '-');
    auto status = client.create_endpoint(vpc, id, "host" + std::to_string(host), {ip});
    ASSERT_TRUE(status.ok()) << status.error_message();
  }

  // Every agent holds every endpoint there is (each host has one in each VPC), and shows its own.
  [[nodiscard]] bool all_have_all() {
    Client client(controller_);
    auto endpoints = client.list_endpoints("vpcs/-");
    return eventually([&] {
      for (std::size_t i = 0; i < agents_.size(); ++i) {
        auto agent = agents_[i]->describe();
        if (!agent.connected() || agent.endpoints() != endpoints.size()) return false;
        std::set<std::string> wanted;
        for (const auto& endpoint : endpoints) {
          if (endpoint.host() == agent.host()) wanted.insert(endpoint.name());
        }
        std::set<std::string> shown;
        for (const auto& endpoint : agent.local_endpoints())
          shown.insert(endpoint.name());
        if (shown != wanted) return false;
      }
      return true;
    });
  }

  ControllerProcess controller_;
  std::vector<std::unique_ptr<AgentSite>> agents_;
};

TEST_F(FleetTest, TheControllerKnowsWhatAgentsReport) {
  Client client(controller_);
  v1::Host host;
  EXPECT_TRUE(eventually([&] {
    v1::GetHostRequest request;
    request.set_name("hosts/host1");
    return client.hosts->GetHost(Client::context().get(), request, &host).ok() &&
           host.status().state() == v1::HostStatus::ONLINE &&
           host.status().applied_revision() == host.status().current_revision();
  })) << host.DebugString();
  EXPECT_EQ(host.underlay_address(), "192.0.2.11");
  ASSERT_EQ(host.nics_size(), 1);
  EXPECT_EQ(host.nics(0).primary_gid(), "0000:0000:0000:0000:0000:ffff:c000:020b");
  EXPECT_EQ(host.status().kernel_release(), "6.1.0-test");

  agents_[1]->nics->remove("rxe0");
  EXPECT_TRUE(eventually([&] {
    v1::GetHostRequest request;
    request.set_name("hosts/host1");
    return client.hosts->GetHost(Client::context().get(), request, &host).ok() &&
           host.nics_size() == 0;
  }));
}

TEST_F(FleetTest, ARolloutIsCompleteWhenAllAgentsHaveApplied) {
  Client client(controller_);
  v1::Endpoint endpoint;
  ASSERT_TRUE(client.create_endpoint("blue", "late", "host0", {"10.0.9.9"}, &endpoint).ok());
  v1::WaitRolloutRequest request;
  request.set_revision(endpoint.revision());
  request.mutable_timeout()->set_seconds(10);
  v1::WaitRolloutResponse response;
  ASSERT_TRUE(client.hosts->WaitRollout(Client::context().get(), request, &response).ok());
  EXPECT_TRUE(response.complete()) << response.DebugString();
  EXPECT_EQ(response.hosts_size(), 3);
  for (const auto& agent : agents_) {
    EXPECT_GE(agent->describe().held_revision(), endpoint.revision());
  }
}

TEST_F(FleetTest, NothingIsMissedWhenTheControllerIsKilled) {
  for (int round = 0; round < 4; ++round) {
    {
      Client client(controller_);
      for (int i = 0; i < 3; ++i) {
        create(client, "blue", i,
               "10.0." + std::to_string(round + 1) + "." + std::to_string(i + 1));
      }
      if (round % 2 == 1) {
        v1::DeleteEndpointRequest request;
        request.set_name(client.list_endpoints("vpcs/blue").front().name());
        v1::DeleteEndpointResponse response;
        auto status = client.endpoints->DeleteEndpoint(Client::context().get(), request, &response);
        ASSERT_TRUE(status.ok()) << status.error_message();
      }
    }
    controller_.kill9();
    for (const auto& agent : agents_) {
      EXPECT_TRUE(eventually([&] { return !agent->describe().connected(); }));
      EXPECT_TRUE(agent->describe().in_sync());
    }
    controller_.start();
    ASSERT_TRUE(all_have_all()) << round;
  }
}

TEST_F(FleetTest, AnAgentThatWasAwayCatchesUp) {
  agents_[2]->stop();
  Client client(controller_);
  create(client, "red", 2, "10.0.5.1");
  create(client, "red", 0, "10.0.5.2");
  ASSERT_TRUE(agents_[2]->start().has_value());
  EXPECT_TRUE(all_have_all());
}

TEST_F(FleetTest, ASlowAgentHoldsUpNobody) {
  Client client(controller_);
  ASSERT_TRUE(client.create_host("slow").ok());
  FollowerSite slow(controller_.socket(), "hosts/slow");
  slow.client_.start();
  ASSERT_TRUE(eventually([&] { return slow.state_.in_sync(); }));
  slow.stall(true);
  ASSERT_TRUE(client.create_endpoint("blue", "slow", "slow", {"10.0.200.1"}).ok());
  for (int i = 0; i < 30; ++i)
    create(client, "blue", i % 3, "10.0.100." + std::to_string(i + 1));
  EXPECT_TRUE(all_have_all());
  slow.stall(false);
  EXPECT_TRUE(slow.wait([&] { return slow.world_.endpoints.size() == 34; }));
}

// Its kernel still answers, so only HTTP/2 pings tell.
TEST_F(FleetTest, AControllerThatHangsIsNoticed) {
  Client client(controller_);
  ASSERT_TRUE(client.create_host("watcher").ok());
  FollowerSite site(controller_.socket(), "hosts/watcher", std::chrono::milliseconds(10'000),
                    std::chrono::milliseconds(1'500));
  site.client_.start();
  ASSERT_TRUE(eventually([&] { return site.state_.in_sync(); }));
  ASSERT_EQ(::kill(controller_.pid(), SIGSTOP), 0);
  EXPECT_TRUE(eventually([&] { return !site.state_.status().connected; }));
  ASSERT_EQ(::kill(controller_.pid(), SIGCONT), 0);
  EXPECT_TRUE(eventually([&] { return site.state_.status().connected; }));
}

TEST_F(FleetTest, AnotherStoreReplacesEverything) {
  controller_.stop();
  std::filesystem::remove_all(controller_.data_dir());
  controller_.start();
  Client client(controller_);
  ASSERT_TRUE(client.create_vpc("green", {"10.0.0.0/16"}).ok());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(eventually([&] {
      return client
          .create_endpoint("green", "g" + std::to_string(i), "host" + std::to_string(i), {})
          .ok();
    }));
  }
  ASSERT_TRUE(all_have_all());
  auto agent = agents_[0]->describe();
  ASSERT_EQ(agent.local_endpoints_size(), 1);
  EXPECT_EQ(agent.local_endpoints(0).name(), "vpcs/green/endpoints/g0");
  EXPECT_EQ(agent.vpcs(), 1U);
}

TEST_F(FleetTest, TwoAgentsOfOneNameAreTold) {
  AgentSite twin("host0", address(), "192.0.2.99");
  ASSERT_TRUE(twin.start().has_value());
  EXPECT_TRUE(eventually([&] {
    for (const AgentSite* site : {agents_[0].get(), &twin}) {
      if (site->describe().last_error().find("--host-name") != std::string::npos) return true;
    }
    return false;
  })) << agents_[0]->describe().last_error();
}

TEST_F(FleetTest, ADeletedEndpointLetsNobodyInAnyMore) {
  Client client(controller_);
  v1::DeleteEndpointRequest request;
  request.set_name("vpcs/blue/endpoints/e0-1-0");
  v1::DeleteEndpointResponse response;
  ASSERT_TRUE(client.endpoints->DeleteEndpoint(Client::context().get(), request, &response).ok());
  ASSERT_TRUE(agents_[0]->in_sync_at(response.revision()));
  auto attach = vbond::AttachClient::connect(agents_[0]->attach_socket());
  ASSERT_TRUE(attach.has_value());
  auto offer = attach->request("blue/e0-1-0", "test");
  ASSERT_FALSE(offer.has_value());
  EXPECT_THAT(offer.error().message, HasSubstr("e0-1-0"));
}

}  // namespace
}  // namespace qmasq::test
