// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "vbond/events/event_log.h"
#include "vbond/nic/metrics.h"
#include "vbond/nic/nic_source.h"

namespace qmasq::vbond {

// What this host offers its peers.
struct HostNics {
  std::optional<IpAddress> underlay;  // none: the interface has no address now
  std::vector<Nic> nics;              // by device
  bool operator==(const HostNics&) const = default;
};

// Follows the RDMA devices and the underlay address of this host by looking once a second: kernels
// before 6.12 send no notification when a device comes or goes. A device is opened only when the
// glance shows a change, while it has no usable GID, and every `refresh`.
class NicWatcher {
 public:
  struct Options {
    // Devices that may be used; empty: all.
    std::vector<std::string> only;
    std::chrono::milliseconds interval{1000};
    std::chrono::milliseconds refresh{60000};
    // Where VPCs have GIDs of their own (vpc_gid.h).
    std::optional<IpPrefix> vpc_gids;
    // While a wanted GID of a VPC is missing, for as many looks.
    std::chrono::milliseconds eager_interval{20};
    int eager_looks = 150;
  };
  // Called with every change, on the thread that scans, without a lock held.
  using Listener = std::function<void(const HostNics&)>;

  // The references must outlive the watcher.
  NicWatcher(NicSource& source, UnderlaySource& underlay, EventLog& events, NicMetrics& metrics,
             const Clock& clock, Options options, Listener listener);
  // Ends the thread.
  ~NicWatcher();
  NicWatcher(const NicWatcher&) = delete;
  NicWatcher& operator=(const NicWatcher&) = delete;

  // Looks once, here. REQUIRES: not started.
  void scan();
  // Looks every `interval` on a thread of its own.
  void start();
  void stop();

  [[nodiscard]] HostNics current() const;

  // The VPCs whose GIDs are about to come, all of them: looked for at once and often. Any thread.
  void expect(std::set<Vni> vpcs);
  // Waits until each active NIC that VPCs have GIDs on has this VPC's, at most so long; whether
  // that is so.
  [[nodiscard]] bool await(Vni vpc, std::chrono::milliseconds limit) const;

 private:
  struct Known {
    NicGlance glance;
    Nic nic;
    std::chrono::steady_clock::time_point described;
  };

  void run();
  [[nodiscard]] bool wanted(const std::string& device) const;
  [[nodiscard]] bool must_describe(const Known* known, const NicGlance& glance) const;
  void take_vpcs(HostNics& now);
  void complain(const std::string& about, const std::string& text);
  void report_changes(const std::map<std::string, Known>& before);

  NicSource& source_;
  UnderlaySource& underlay_;
  EventLog& events_;
  NicMetrics& metrics_;
  const Clock& clock_;
  const Options options_;
  const Listener listener_;

  // Of the scanning thread.
  std::map<std::string, Known> known_;
  std::map<std::string, std::string> complaints_;  // said already, by subject
  bool missing_ = false;                           // an expected GID of a VPC, at the last look

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  mutable std::condition_variable looked_;
  std::set<Vni> expected_;  // guarded by mutex_
  int eager_ = 0;           // guarded by mutex_; looks to come
  HostNics current_;        // guarded by mutex_
  bool stopping_ = false;   // guarded by mutex_
  std::thread thread_;
};

}  // namespace qmasq::vbond
