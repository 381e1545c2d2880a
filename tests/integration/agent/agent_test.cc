// SPDX-License-Identifier: Apache-2.0
// Whole agents with fake kernels, and a controller in the same process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/integration/agent/agent_site.h"
#include "tests/integration/agent/fake_controller.h"
#include "vbond/attach/attach_client.h"

namespace qmasq::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using vbond::AttachClient;

std::string read(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class AgentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    controller_.change([](auto& model) {
      model.put_host(100, "hostA", "192.0.2.1");
      model.put_host(101, "hostB", "192.0.2.2");
      for (std::uint64_t vpc : {1, 2}) {
        std::string name = vpc == 1 ? "blue" : "red";
        model.put_vpc(vpc, name, 4095 + static_cast<std::uint32_t>(vpc));
        model.put_endpoint(10 * vpc, vpc, "a", "hostA", {"10.0.0.1"});
        model.put_endpoint(10 * vpc + 1, vpc, "b", "hostB", {"10.0.0.2"});
      }
    });
    controller_.name_host("hosts/hostA", 100);
    controller_.name_host("hosts/hostB", 101);
    controller_.start();
    for (AgentSite* site : {&a_, &b_}) {
      bool a = site == &a_;
      site->network->add(a ? "qm-blue-a" : "qm-blue-b",
                         a ? "02:71:00:00:00:0a" : "02:71:00:00:00:0b",
                         {a ? "10.0.0.1" : "10.0.0.2"});
      site->network->add(a ? "qm-red-a" : "qm-red-b", a ? "02:71:00:00:00:14" : "02:71:00:00:00:15",
                         {a ? "10.0.0.1" : "10.0.0.2"});
    }
  }
  void start_both() {
    for (AgentSite* site : {&a_, &b_}) {
      auto status = site->start();
      ASSERT_TRUE(status.has_value()) << status.error().message;
    }
    ASSERT_TRUE(a_.in_sync_at(controller_.revision()));
    ASSERT_TRUE(b_.in_sync_at(controller_.revision()));
  }
  Result<AttachClient::Offer> ask(const AgentSite& site, const std::string& endpoint) {
    QMASQ_ASSIGN(auto client, AttachClient::connect(site.attach_socket()));
    return client.request(endpoint, "test");
  }

  testing::TempDir directory_;
  FakeController controller_{directory_.file("controller.sock"), "store-1"};
  AgentSite a_{"hostA", "unix:" + directory_.file("controller.sock"), "192.0.2.1"};
  AgentSite b_{"hostB", "unix:" + directory_.file("controller.sock"), "192.0.2.2"};
};

TEST_F(AgentTest, DescribesItself) {
  start_both();
  auto agent = a_.describe();
  EXPECT_EQ(agent.host(), "hosts/hostA");
  EXPECT_TRUE(agent.connected());
  EXPECT_EQ(agent.vpcs(), 2U);
  EXPECT_EQ(agent.endpoints(), 4U);
  EXPECT_EQ(agent.map_entries(), 4U);
  EXPECT_EQ(agent.guard(), "off");
  EXPECT_THAT(agent.features(), ElementsAre("user_notif"));
  ASSERT_EQ(agent.nics_size(), 1);
  EXPECT_EQ(agent.nics(0).primary_gid(), "0000:0000:0000:0000:0000:ffff:c000:0201");
  ASSERT_EQ(agent.local_endpoints_size(), 2);
  EXPECT_EQ(agent.local_endpoints(0).name(), "vpcs/blue/endpoints/a");
  EXPECT_EQ(agent.local_endpoints(0).virtual_gids(1), "0000:0000:0000:0000:0000:ffff:0a00:0001");
  EXPECT_EQ(agent.local_endpoints(1).name(), "vpcs/red/endpoints/a");
}

TEST_F(AgentTest, ReportsItsNicsAndEndpoints) {
  start_both();
  EXPECT_TRUE(controller_.wait([](auto& heard) {
    auto& host = heard["hosts/hostA"];
    return !host.host_reports.empty() && host.endpoint_reports.size() >= 2;
  }));
  auto report = controller_.heard("hosts/hostA").host_reports.back();
  EXPECT_EQ(report.underlay_address(), "192.0.2.1");
  ASSERT_EQ(report.nics_size(), 1);
  EXPECT_EQ(report.nics(0).driver(), "rxe");
  ASSERT_TRUE(ask(a_, "blue/a").has_value());
  EXPECT_TRUE(controller_.wait([](auto& heard) {
    for (const auto& one : heard["hosts/hostA"].endpoint_reports) {
      if (one.endpoint_uid() == 10 && one.status().state() == v1::EndpointStatus::BOUND &&
          one.status().interface() == "eth0") {
        return true;
      }
    }
    return false;
  })) << controller_.heard("hosts/hostA").endpoint_reports.back().DebugString();
}

TEST_F(AgentTest, TellsAProgramHowToArrangeItsWorld) {
  start_both();
  auto offer = ask(a_, "blue/a");
  ASSERT_TRUE(offer.has_value()) << offer.error().message;
  EXPECT_EQ(offer->terms.endpoint, "vpcs/blue/endpoints/a");
  EXPECT_TRUE(offer->netns.valid());
  EXPECT_GT(offer->terms.reserved_count, 0U);
  EXPECT_FALSE(offer->terms.tenant_opens);
  std::string gids;
  bool masked = false;
  for (const auto& mount : offer->terms.mounts) {
    if (mount.target.ends_with("/ports/1/gids")) gids = mount.source;
    if (mount.target == a_.file("dev")) masked = mount.no_devices && mount.read_only;
  }
  EXPECT_TRUE(masked) << "device nodes of the host must not be usable";
  ASSERT_NE(gids, "");
  EXPECT_EQ(read(gids + "/1"), "0000:0000:0000:0000:0000:ffff:0a00:0001\n");
  EXPECT_EQ(read(gids + "/../gid_attrs/ndevs/1"), "eth0\n");
}

TEST_F(AgentTest, ExplainsWhyAProgramMayNotIn) {
  start_both();
  struct Case {
    const char* endpoint;
    const char* says;
  };
  for (const Case& one :
       {Case{"blue/none", "none"}, Case{"green/a", "green"}, Case{"blue/b", "hosts/hostB"},
        Case{"a", "blue"}, Case{"", ""}, Case{"vpcs/blue", ""}, Case{"../../etc", ""}}) {
    auto offer = ask(a_, one.endpoint);
    ASSERT_FALSE(offer.has_value()) << one.endpoint;
    EXPECT_THAT(offer.error().message, HasSubstr(one.says));
  }
  a_.nics->remove("rxe0");
  ASSERT_TRUE(eventually([&] { return a_.describe().nics_size() == 0; }));
  auto offer = ask(a_, "blue/a");
  ASSERT_FALSE(offer.has_value());
  EXPECT_THAT(offer.error().message, HasSubstr("no NIC"));
}

TEST_F(AgentTest, LetsNobodyInBeforeItHasTheState) {
  controller_.stop();
  ASSERT_TRUE(a_.start().has_value());
  auto offer = ask(a_, "blue/a");
  ASSERT_FALSE(offer.has_value());
  EXPECT_THAT(offer.error().message, HasSubstr("no state from the controller yet"));
  EXPECT_FALSE(a_.describe().in_sync());
  // The first attempt to connect ends on the stream's own thread.
  EXPECT_TRUE(eventually([&] { return !a_.describe().last_error().empty(); }));
  controller_.start();
  ASSERT_TRUE(a_.in_sync_at(controller_.revision()));
  EXPECT_TRUE(ask(a_, "blue/a").has_value());
}

TEST_F(AgentTest, GoesOnWithWhatItHoldsWhenTheControllerIsAway) {
  start_both();
  controller_.stop();
  ASSERT_TRUE(eventually([&] { return !a_.describe().connected(); }));
  EXPECT_TRUE(a_.describe().in_sync());
  EXPECT_TRUE(ask(a_, "blue/a").has_value());
}

TEST_F(AgentTest, FollowsAnEndpointsAddresses) {
  start_both();
  auto offer = ask(a_, "blue/a");
  ASSERT_TRUE(offer.has_value()) << offer.error().message;
  controller_.change([](auto& model) {
    model.put_endpoint(10, 1, "a", "hostA", {"10.0.0.1", "10.0.0.7"});
  });
  std::string gids = a_.file("endpoints") + "/10/rxe0/ports/1/gids";
  EXPECT_TRUE(eventually([&] {
    return read(gids + "/2") == "0000:0000:0000:0000:0000:ffff:0a00:0007\n";
  })) << a_.describe().DebugString();
}

TEST_F(AgentTest, ClearsAwayAnEndpointThatGoes) {
  start_both();
  ASSERT_TRUE(ask(a_, "blue/a").has_value());
  std::string files = a_.file("endpoints") + "/10";
  ASSERT_TRUE(std::filesystem::exists(files));
  controller_.change([](auto& model) { model.remove_endpoint(10); });
  EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(files); }));
  EXPECT_FALSE(ask(a_, "blue/a").has_value());
  auto agent = a_.describe();
  ASSERT_EQ(agent.local_endpoints_size(), 1);
  EXPECT_EQ(agent.local_endpoints(0).name(), "vpcs/red/endpoints/a");
}

TEST_F(AgentTest, NoticesANicThatGoesAndComesBack) {
  start_both();
  auto nic = *a_.nics->describe("rxe0");
  a_.nics->remove("rxe0");
  ASSERT_TRUE(controller_.wait([](auto& heard) {
    auto& reports = heard["hosts/hostA"].host_reports;
    return !reports.empty() && reports.back().nics_size() == 0;
  }));
  EXPECT_EQ(a_.events("nic-lost").size(), 1U);
  a_.nics->put(nic);
  ASSERT_TRUE(controller_.wait(
      [](auto& heard) { return heard["hosts/hostA"].host_reports.back().nics_size() == 1; }));
  EXPECT_EQ(a_.events("nic-found").size(), 2U);
}

TEST_F(AgentTest, StartsAgainWhereAnotherStopped) {
  start_both();
  ASSERT_TRUE(ask(a_, "blue/a").has_value());
  a_.stop();
  EXPECT_FALSE(AttachClient::connect(a_.attach_socket()).has_value());
  controller_.change([](auto& model) { model.remove_endpoint(10); });
  ASSERT_TRUE(a_.start().has_value());
  ASSERT_TRUE(a_.in_sync_at(controller_.revision()));
  EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(a_.file("endpoints") + "/10"); }))
      << "files of an endpoint that went while no agent ran";
  EXPECT_TRUE(ask(a_, "red/a").has_value());
}

TEST_F(AgentTest, LetsTenantsOpenOnlySoftwareNics) {
  a_.options.tenant_opens = {"rxe0"};
  ASSERT_TRUE(a_.start().has_value());
  ASSERT_TRUE(a_.in_sync_at(controller_.revision()));
  auto offer = ask(a_, "blue/a");
  ASSERT_TRUE(offer.has_value()) << offer.error().message;
  EXPECT_TRUE(offer->terms.tenant_opens);
  std::vector<std::string> usable;
  for (const auto& mount : offer->terms.mounts) {
    if (mount.target.rfind(a_.file("dev"), 0) == 0 && !mount.no_devices) {
      usable.push_back(mount.target);
    }
  }
  EXPECT_THAT(usable, ElementsAre(a_.file("dev") + "/uverbs0"));

  auto nic = *b_.nics->describe("rxe0");
  nic.driver = "mlx5";
  b_.nics->put(nic);
  b_.options.tenant_opens = {"rxe0"};
  auto status = b_.start();
  ASSERT_FALSE(status.has_value());
  EXPECT_THAT(status.error().message, HasSubstr("mlx5"));
}

TEST_F(AgentTest, SaysWhatKeepsItFromStarting) {
  a_.options.socket_directory = "/proc/none";
  auto status = a_.start();
  ASSERT_FALSE(status.has_value());
  EXPECT_THAT(status.error().message, HasSubstr("/proc/none/vbond.sock"));
}

}  // namespace
}  // namespace qmasq::test
