// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "common/metrics.h"
#include "tests/support/controller_model.h"
#include "tests/support/eventually.h"
#include "vbond/sync/metrics.h"
#include "vbond/sync/sync_client.h"

namespace qmasq::test {

// One agent's worth of following: everything but the parts that act on the state.
class FollowerSite final : public vbond::Follower {
 public:
  FollowerSite(const std::string& socket, const std::string& host,
               std::chrono::milliseconds welcome_timeout = std::chrono::milliseconds(10'000),
               std::chrono::milliseconds keepalive = std::chrono::milliseconds(5'000))
      : client_(
            {"unix:" + socket,
             {host, "0.1.0", "6.1.0"},
             {},
             {std::chrono::milliseconds(10), std::chrono::milliseconds(50),
              std::chrono::milliseconds(200)},
             welcome_timeout,
             keepalive,
             {},
             {}},
            state_, *this, events_, sync_metrics_, [] { return 0.5; }, [this] { ++ticks_; }) {}

  void welcomed(HostUid host) override {
    std::lock_guard lock(mutex_);
    host_ = host;
  }
  Status check(const vbond::Change&) override { return {}; }
  void apply(const vbond::Change& change) override {
    {
      std::unique_lock lock(mutex_);
      apply_to(world_, vpc_of_endpoint_, change);
      ++applied_;
      changed_.notify_all();
      // A slow agent.
      changed_.wait(lock, [this] { return !stalled_; });
    }
  }
  void in_sync() override {
    std::lock_guard lock(mutex_);
    ++in_syncs_;
    changed_.notify_all();
  }
  void stall(bool stalled) {
    std::lock_guard lock(mutex_);
    stalled_ = stalled;
    changed_.notify_all();
  }
  template <typename Condition>
  [[nodiscard]] bool wait(Condition&& condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), condition);
  }
  [[nodiscard]] bool wait_for(const WorldState& world) {
    return wait([&] { return in_syncs_ > 0 && world_ == world; });
  }
  [[nodiscard]] std::string events() const {
    std::string out;
    for (const auto& event : events_.read(0, 1000, std::chrono::milliseconds(0)))
      out += event.reason + "\n";
    return out;
  }

  SystemClock clock_;
  vbond::EventLog events_{clock_, 1000};
  std::unique_ptr<Metrics> metrics_ = *Metrics::create("test", "");
  vbond::SyncMetrics sync_metrics_{metrics_->registry()};
  vbond::SyncState state_;
  std::mutex mutex_;
  std::condition_variable changed_;
  WorldState world_;
  std::map<std::uint64_t, std::uint64_t> vpc_of_endpoint_;
  HostUid host_;
  int applied_ = 0;
  int in_syncs_ = 0;
  bool stalled_ = false;
  std::atomic<int> ticks_ = 0;
  vbond::SyncClient client_;  // last: its threads use all of the above
};

}  // namespace qmasq::test
