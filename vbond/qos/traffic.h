// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <map>

#include "qos/backend.h"

namespace qmasq::vbond {

// What a node sent since the agent first saw it; never goes back.
struct Traffic {
  std::uint64_t bytes = 0;
  std::uint64_t packets = 0;
  std::uint64_t drops = 0;
  std::uint64_t overlimits = 0;
  std::uint64_t backlog = 0;   // bytes that wait now
  std::uint64_t rate_bps = 0;  // over the last interval
  std::chrono::nanoseconds throttled{0};
  bool operator==(const Traffic&) const = default;
};

// Adds up samples of counters that start anew when what carries them does. Not thread-safe.
class TrafficTotals {
 public:
  // We made the node: its counters start at 0. Otherwise the first sample is where they do.
  void added(qos::NodeId id);
  // It is out of the kernel; what it counted stays until forget().
  void removed(qos::NodeId id);
  void forget(qos::NodeId id) { nodes_.erase(id); }

  void sample(const std::map<qos::NodeId, qos::Counters>& now,
              std::chrono::steady_clock::time_point when);
  // Null: never seen.
  [[nodiscard]] const Traffic* find(qos::NodeId id) const;

 private:
  struct Entry {
    Traffic traffic;
    qos::Counters last;
    bool known = false;  // `last` is what the node had
  };
  std::map<qos::NodeId, Entry> nodes_;
  std::chrono::steady_clock::time_point last_{};
  bool sampled_ = false;
};

}  // namespace qmasq::vbond
