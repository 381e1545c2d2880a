// SPDX-License-Identifier: Apache-2.0
#include "vbond/sync/sync_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

#include "tests/integration/agent/fake_controller.h"
#include "tests/integration/agent/follower_site.h"

namespace qmasq::vbond {
namespace {

using std::chrono::milliseconds;
using test::eventually;
using test::FakeController;
using test::FollowerSite;
using ::testing::HasSubstr;

class SyncClientTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/qmasq-sync-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
    socket_ = directory_ + "/controller.sock";
    controller_ = std::make_unique<FakeController>(socket_, "store-1");
    fill();
  }
  void TearDown() override {
    controller_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  void fill() {
    controller_->change([](auto& model) {
      model.put_host(100, "hostA", "192.0.2.1");
      model.put_host(101, "hostB", "192.0.2.2");
      model.put_vpc(1, "blue", 4096);
      model.put_endpoint(10, 1, "a", "hostA", {"10.0.0.1"});
      model.put_endpoint(11, 1, "b", "hostB", {"10.0.0.2"});
    });
  }
  void add_endpoint(std::uint64_t uid) {
    controller_->change([&](auto& model) {
      model.put_endpoint(uid, 1, "e" + std::to_string(uid), "hostA",
                         {"10.0.1." + std::to_string(uid % 250)});
    });
  }

  std::string directory_;
  std::string socket_;
  std::unique_ptr<FakeController> controller_;
};

TEST_F(SyncClientTest, FollowsAcknowledgesAndReports) {
  controller_->start();
  FollowerSite site(socket_, "hosts/hostA");
  Nic nic;
  nic.device = "rxe0";
  site.client_.report_host({parse_ip("192.0.2.1").value(), {nic}});
  EndpointReport report;
  report.state = EndpointReport::State::kBound;
  site.client_.report_endpoint(EndpointUid{10}, report);
  site.client_.start();
  ASSERT_TRUE(site.wait_for(controller_->state()));
  EXPECT_TRUE(site.state_.in_sync());
  EXPECT_TRUE(controller_->wait([](auto& heard) {
    auto& host = heard["hosts/hostA"];
    return !host.acks.empty() && !host.host_reports.empty() && !host.endpoint_reports.empty() &&
           host.heartbeats >= 2;
  }));
  add_endpoint(12);
  ASSERT_TRUE(site.wait_for(controller_->state()));
  auto revision = controller_->revision();
  EXPECT_TRUE(
      controller_->wait([&](auto& heard) { return heard["hosts/hostA"].acks.back() == revision; }));
  EXPECT_TRUE(eventually([&] { return site.ticks_ > 0; }));
}

TEST_F(SyncClientTest, WaitsForAControllerThatIsNotThereYet) {
  FollowerSite site(socket_, "hosts/hostA");
  site.client_.start();
  ASSERT_TRUE(eventually([&] { return !site.state_.status().last_error.empty(); }));
  EXPECT_FALSE(site.state_.in_sync());
  controller_->start();
  EXPECT_TRUE(site.wait_for(controller_->state()));
  EXPECT_EQ(site.state_.status().last_error, "");
}

TEST_F(SyncClientTest, TakesUpWhereItWasAfterEachRestart) {
  controller_->start();
  FollowerSite first(socket_, "hosts/hostA");
  FollowerSite second(socket_, "hosts/hostB");
  first.client_.start();
  second.client_.start();
  for (std::uint64_t round = 0; round < 5; ++round) {
    ASSERT_TRUE(first.wait_for(controller_->state())) << round;
    ASSERT_TRUE(second.wait_for(controller_->state())) << round;
    controller_->stop();
    ASSERT_TRUE(eventually([&] { return !first.state_.status().connected; }));
    EXPECT_TRUE(first.state_.in_sync()) << "what is held stays in use";
    add_endpoint(20 + round);
    controller_->change([](auto& model) { model.remove_endpoint(11); });
    controller_->start();
  }
  ASSERT_TRUE(first.wait_for(controller_->state()));
  auto heard = controller_->heard("hosts/hostA");
  EXPECT_EQ(heard.hellos.front().held_revision(), 0U);
  EXPECT_GT(heard.hellos.back().held_revision(), 0U);
  EXPECT_EQ(heard.hellos.back().store_id(), "store-1");
}

TEST_F(SyncClientTest, ASlowAgentHoldsUpNobodyAndCatchesUp) {
  controller_->start();
  FollowerSite fast(socket_, "hosts/hostA");
  FollowerSite slow(socket_, "hosts/hostB");
  fast.client_.start();
  slow.client_.start();
  ASSERT_TRUE(fast.wait_for(controller_->state()));
  ASSERT_TRUE(slow.wait_for(controller_->state()));
  slow.stall(true);
  for (std::uint64_t uid = 20; uid < 60; ++uid)
    add_endpoint(uid);
  EXPECT_TRUE(fast.wait_for(controller_->state()));
  // It works at a batch for long and goes on saying that it lives.
  auto beats = controller_->heard("hosts/hostB").heartbeats;
  EXPECT_TRUE(
      controller_->wait([&](auto& heard) { return heard["hosts/hostB"].heartbeats >= beats + 2; }));
  slow.stall(false);
  EXPECT_TRUE(slow.wait_for(controller_->state()));
}

TEST_F(SyncClientTest, ReplacesAllWhenTheStoreIsAnother) {
  controller_->start();
  FollowerSite site(socket_, "hosts/hostA");
  site.client_.start();
  ASSERT_TRUE(site.wait_for(controller_->state()));
  controller_->stop();
  controller_->replace_store("store-2");
  controller_->change([](auto& model) {
    model.put_host(7, "hostA", "192.0.2.1");
    model.put_vpc(9, "red", 5000);
  });
  controller_->start();
  EXPECT_TRUE(site.wait_for(controller_->state()));
}

TEST_F(SyncClientTest, RejectsNonsenseAndKeepsWhatItHas) {
  controller_->start();
  FollowerSite site(socket_, "hosts/hostA");
  site.client_.start();
  auto before = controller_->state();
  ASSERT_TRUE(site.wait_for(before));
  controller_->send_nonsense(true);
  add_endpoint(12);
  ASSERT_TRUE(controller_->wait([](auto& heard) { return !heard["hosts/hostA"].rejects.empty(); }));
  EXPECT_THAT(controller_->heard("hosts/hostA").rejects[0].reason(), HasSubstr("nonsense"));
  {
    std::lock_guard lock(site.mutex_);
    EXPECT_EQ(site.world_, before);
  }
  EXPECT_TRUE(
      eventually([&] { return site.events().find("rejected revision") != std::string::npos; }));
  controller_->send_nonsense(false);
  EXPECT_TRUE(site.wait_for(controller_->state()));
}

TEST_F(SyncClientTest, SaysLoudlyThatItsNameIsTaken) {
  controller_->refuse_streams(true);
  controller_->start();
  FollowerSite site(socket_, "hosts/hostA");
  site.client_.start();
  ASSERT_TRUE(eventually([&] { return site.events().find("--host-name") != std::string::npos; }));
  auto tries = controller_->heard("hosts/hostA").hellos.size();
  EXPECT_LE(tries, 3U);
  controller_->refuse_streams(false);
  EXPECT_TRUE(site.wait_for(controller_->state()));
}

TEST_F(SyncClientTest, GivesUpOnAControllerThatDoesNotAnswer) {
  controller_->stay_silent(true);
  controller_->start();
  FollowerSite site(socket_, "hosts/hostA", milliseconds(100));
  site.client_.start();
  ASSERT_TRUE(
      controller_->wait([](auto& heard) { return heard["hosts/hostA"].hellos.size() >= 3; }));
  EXPECT_THAT(site.state_.status().last_error, HasSubstr("no answer to Hello"));
  controller_->stay_silent(false);
  EXPECT_TRUE(site.wait_for(controller_->state()));
}

TEST_F(SyncClientTest, StopsWhateverItIsDoing) {
  {
    FollowerSite site(socket_, "hosts/hostA");
    site.client_.start();
  }
  controller_->start();
  {
    FollowerSite site(socket_, "hosts/hostA");
    site.client_.start();
    ASSERT_TRUE(site.wait_for(controller_->state()));
    site.client_.stop();
    site.client_.stop();
  }
  controller_->stay_silent(true);
  FollowerSite site(socket_, "hosts/hostB");
  site.client_.start();
  ASSERT_TRUE(controller_->wait([](auto& heard) { return !heard["hosts/hostB"].hellos.empty(); }));
}

TEST(ControllerAddress, IsCheckedBeforeUse) {
  for (const char* good : {"192.0.2.1:7443", "[2001:db8::1]:7443", "controller.example:7443",
                           "unix:/run/qmasq/controller.sock"}) {
    EXPECT_TRUE(check_controller_address(good).has_value()) << good;
  }
  for (const char* bad : {"", "192.0.2.1", "192.0.2.1:", ":7443", "192.0.2.1:0", "192.0.2.1:99999",
                          "2001:db8::1:7443", "unix:", "unix:run", "http://a:1", "a b:1"}) {
    auto status = check_controller_address(bad);
    ASSERT_FALSE(status.has_value()) << bad;
    EXPECT_THAT(status.error().message, HasSubstr("7443"));
  }
}

}  // namespace
}  // namespace qmasq::vbond
