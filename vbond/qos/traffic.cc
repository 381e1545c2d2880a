// SPDX-License-Identifier: Apache-2.0
#include "vbond/qos/traffic.h"

namespace qmasq::vbond {

void TrafficTotals::added(qos::NodeId id) {
  Entry& entry = nodes_[id];
  entry.last = {};
  entry.known = true;
}

void TrafficTotals::removed(qos::NodeId id) {
  auto found = nodes_.find(id);
  if (found == nodes_.end()) return;
  found->second.known = false;
  found->second.traffic.backlog = 0;
  found->second.traffic.rate_bps = 0;
}

const Traffic* TrafficTotals::find(qos::NodeId id) const {
  auto found = nodes_.find(id);
  return found == nodes_.end() ? nullptr : &found->second.traffic;
}

void TrafficTotals::sample(const std::map<qos::NodeId, qos::Counters>& now,
                           std::chrono::steady_clock::time_point when) {
  const std::chrono::nanoseconds passed = sampled_ ? when - last_ : std::chrono::nanoseconds(0);
  last_ = when;
  sampled_ = true;
  for (auto& [id, entry] : nodes_) {
    if (now.contains(id)) continue;
    entry.traffic.backlog = 0;
    entry.traffic.rate_bps = 0;
  }
  for (const auto& [id, counters] : now) {
    Entry& entry = nodes_[id];
    Traffic& traffic = entry.traffic;
    traffic.backlog = counters.backlog;
    if (!entry.known) {
      entry.last = counters;
      entry.known = true;
      continue;
    }
    // One that went back started anew with its class.
    const bool restarted =
        counters.bytes < entry.last.bytes || counters.packets < entry.last.packets;
    const qos::Counters from = restarted ? qos::Counters{} : entry.last;
    auto grown = [](std::uint64_t to, std::uint64_t since) { return to < since ? to : to - since; };
    const std::uint64_t bytes = grown(counters.bytes, from.bytes);
    const std::uint64_t waits = grown(counters.overlimits, from.overlimits);
    traffic.bytes += bytes;
    traffic.packets += grown(counters.packets, from.packets);
    traffic.drops += grown(counters.drops, from.drops);
    traffic.overlimits += waits;
    entry.last = counters;
    if (passed.count() <= 0) continue;
    traffic.rate_bps = static_cast<std::uint64_t>(static_cast<double>(bytes) * 8e9 /
                                                  static_cast<double>(passed.count()));
    if (waits > 0 || counters.backlog > 0) traffic.throttled += passed;
  }
}

}  // namespace qmasq::vbond
