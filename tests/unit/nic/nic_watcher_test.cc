// SPDX-License-Identifier: Apache-2.0
#include "vbond/nic/nic_watcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/metrics.h"
#include "vbond/nic/fake_nic_source.h"
#include "vbond/nic/vpc_gid.h"

namespace qmasq::vbond {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;

class HandClock final : public Clock {
 public:
  std::chrono::steady_clock::time_point now() const override { return now_; }
  std::chrono::system_clock::time_point wall() const override { return {}; }
  void advance(milliseconds by) { now_ += by; }

 private:
  std::chrono::steady_clock::time_point now_{std::chrono::hours(1)};
};

class NicWatcherTest : public ::testing::Test {
 protected:
  std::unique_ptr<NicWatcher> make(std::vector<std::string> only = {}) {
    NicWatcher::Options options;
    options.only = std::move(only);
    options.vpc_gids = vpc_gids_;
    return std::make_unique<NicWatcher>(source_, underlay_, events_, nic_metrics_, clock_, options,
                                        [this](const HostNics& nics) { heard_.push_back(nics); });
  }
  std::vector<std::string> event_types() {
    std::vector<std::string> out;
    for (const auto& event : events_.read(0, 100, milliseconds(0))) {
      out.emplace_back(to_string(event.type));
    }
    return out;
  }

  std::optional<IpPrefix> vpc_gids_;
  const IpAddress address_ = *parse_ip("192.168.50.1");
  HandClock clock_;
  EventLog events_{clock_, 100};
  std::unique_ptr<Metrics> metrics_ = *Metrics::create("test", "");
  NicMetrics nic_metrics_{metrics_->registry()};
  FakeNicSource source_;
  FakeUnderlay underlay_{address_};
  std::vector<HostNics> heard_;
};

TEST_F(NicWatcherTest, TellsOnceWhatThereIs) {
  source_.put(FakeNicSource::soft_roce("rxe0", address_));
  auto watcher = make();
  watcher->scan();
  watcher->scan();
  ASSERT_EQ(heard_.size(), 1U);
  ASSERT_EQ(heard_[0].nics.size(), 1U);
  EXPECT_EQ(heard_[0].nics[0].primary->index, 1U);
  EXPECT_EQ(heard_[0].underlay, address_);
  EXPECT_THAT(event_types(), ElementsAre("nic-found"));
  EXPECT_EQ(source_.describes(), 1) << "a device that did not change is not opened again";
}

TEST_F(NicWatcherTest, NoticesADeviceThatGoesAndComesBack) {
  source_.put(FakeNicSource::soft_roce("rxe0", address_));
  auto watcher = make();
  watcher->scan();
  source_.remove("rxe0");
  watcher->scan();
  EXPECT_TRUE(watcher->current().nics.empty());
  source_.put(FakeNicSource::soft_roce("rxe0", address_));
  watcher->scan();
  EXPECT_EQ(watcher->current().nics.size(), 1U);
  EXPECT_THAT(event_types(), ElementsAre("nic-found", "nic-lost", "nic-found"));
  EXPECT_EQ(heard_.size(), 3U);
}

TEST_F(NicWatcherTest, NoticesADeviceReplacedBetweenTwoLooks) {
  source_.put(FakeNicSource::soft_roce("rxe0", address_));
  auto watcher = make();
  watcher->scan();
  source_.remove("rxe0");
  source_.put(FakeNicSource::soft_roce("rxe0", address_));
  watcher->scan();
  EXPECT_THAT(event_types(), ElementsAre("nic-found", "nic-lost", "nic-found"));
}

TEST_F(NicWatcherTest, LooksAgainUntilTheUnderlayGidIsThere) {
  Nic bare = FakeNicSource::soft_roce("rxe0", address_);
  bare.gids.pop_back();
  source_.put(bare);
  auto watcher = make();
  watcher->scan();
  EXPECT_FALSE(heard_.back().nics[0].primary.has_value());
  source_.put(FakeNicSource::soft_roce("rxe0", address_));
  watcher->scan();
  EXPECT_TRUE(heard_.back().nics[0].primary.has_value());
}

TEST_F(NicWatcherTest, RefreshesNowAndThen) {
  source_.put(FakeNicSource::soft_roce("rxe0", address_));
  auto watcher = make();
  watcher->scan();
  Nic larger = FakeNicSource::soft_roce("rxe0", address_);
  larger.active_mtu = 4096;
  source_.put(larger);
  watcher->scan();
  EXPECT_EQ(watcher->current().nics[0].active_mtu, 1024U);
  clock_.advance(milliseconds(60000));
  watcher->scan();
  EXPECT_EQ(watcher->current().nics[0].active_mtu, 4096U);
}

TEST_F(NicWatcherTest, FollowsTheUnderlayAddress) {
  source_.put(FakeNicSource::soft_roce("rxe0", address_));
  auto watcher = make();
  watcher->scan();
  underlay_.set(std::nullopt);
  watcher->scan();
  EXPECT_FALSE(watcher->current().underlay.has_value());
  EXPECT_FALSE(watcher->current().nics[0].primary.has_value());
  underlay_.set(address_);
  watcher->scan();
  EXPECT_TRUE(watcher->current().nics[0].primary.has_value());
  EXPECT_THAT(event_types(), ElementsAre("nic-found")) << "the device itself never went";
}

TEST_F(NicWatcherTest, KeepsWhatItKnowsWhenTheKernelDoesNotAnswer) {
  source_.put(FakeNicSource::soft_roce("rxe0", address_));
  auto watcher = make();
  watcher->scan();
  source_.fail_next_glance(Error{Code::kInternal, "netlink: out of memory", ENOMEM, {}});
  watcher->scan();
  EXPECT_EQ(watcher->current().nics.size(), 1U);
  clock_.advance(milliseconds(60000));
  source_.fail_next_describe(Error{Code::kInternal, "open: out of memory", ENOMEM, {}});
  watcher->scan();
  EXPECT_EQ(watcher->current().nics.size(), 1U);
  EXPECT_THAT(event_types(), ElementsAre("nic-found"));
}

TEST_F(NicWatcherTest, UsesOnlyTheDevicesNamed) {
  source_.put(FakeNicSource::soft_roce("rxe0", address_));
  source_.put(FakeNicSource::soft_roce("rxe1", address_));
  auto watcher = make({"rxe1"});
  watcher->scan();
  ASSERT_EQ(watcher->current().nics.size(), 1U);
  EXPECT_EQ(watcher->current().nics[0].device, "rxe1");
}

// As VPC addresses come and go on the interface.
TEST_F(NicWatcherTest, GidsOfVpcsAreWaitedFor) {
  const Gid prefix = parse_gid("fd00:0:0:1:c0a8:3201::").value();
  Nic nic = FakeNicSource::soft_roce("rxe0", address_);
  source_.put(nic);
  vpc_gids_ = parse_prefix("fd00:0:0:1::/64").value();
  auto watcher = make();
  watcher->scan();
  ASSERT_EQ(heard_.size(), 1U);
  EXPECT_EQ(heard_[0].nics[0].vpc_prefix, prefix);
  EXPECT_FALSE(watcher->await(Vni{100}, milliseconds(0)));
  watcher->start();
  watcher->expect({Vni{100}});
  std::thread later([&] {
    std::this_thread::sleep_for(milliseconds(50));
    nic.gids.push_back({7, vpc_gid(prefix, Vni{100}), GidType::kRoceV2});
    source_.put(nic);
  });
  EXPECT_TRUE(watcher->await(Vni{100}, std::chrono::seconds(20)));
  later.join();
  watcher->stop();
  const HostNics now = watcher->current();
  EXPECT_EQ(now.nics[0].gids.size(), 2U) << "the VPC's is not reported as the NIC's own";
  EXPECT_EQ(vpc_gid_index(now.nics[0], Vni{100}), 7U);
  EXPECT_FALSE(watcher->await(Vni{101}, milliseconds(0)));
}

TEST_F(NicWatcherTest, WithoutSuchGidsNobodyWaits) {
  source_.put(FakeNicSource::soft_roce("rxe0", address_));
  auto watcher = make();
  watcher->scan();
  EXPECT_TRUE(watcher->await(Vni{100}, milliseconds(0)));
}

TEST_F(NicWatcherTest, ThreadStopsAtOnce) {
  auto watcher = make();
  watcher->start();
  watcher->stop();
  watcher->stop();
}

}  // namespace
}  // namespace qmasq::vbond
