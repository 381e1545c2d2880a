// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>
#include <optional>
#include <unordered_map>

#include "controller/model/types.h"

namespace qmasq::controller {

enum class LiveState : std::uint8_t { kNeverJoined, kOnline, kOffline };

// What the controller knows of a host's agent since it started.
struct HostLive {
  LiveState state = LiveState::kOffline;
  TimePoint last_heartbeat;
  Revision applied;
  Revision rejected;  // 0: nothing rejected that was not applied since
  std::string reject_reason;
  std::string guard;  // as the agent last said it
};

// kUnspecified: its host has not said a word about it since this controller started. Programs may
// use it.
enum class BindState : std::uint8_t { kUnspecified = 0, kUnbound = 1, kBound = 2, kDegraded = 3 };

// What a host says of an endpoint's limits: QosStatus.
struct QosLive {
  bool configured = false;
  bool enforced = false;
  std::vector<std::string> unenforced;
};

// What a host says about an endpoint of its own.
struct EndpointLive {
  BindState state = BindState::kUnbound;
  std::string message;
  std::string netns;
  std::string interface;
  std::vector<std::string> observed_addresses;
  std::uint32_t attachments = 0;
  std::uint32_t queue_pairs = 0;
  std::optional<QosLive> qos;  // empty: it says nothing of them
  TimePoint report_time;
};

// Reports as they stand, in memory: agents send all of them again after a restart. Written by the
// watch thread, read by services on any thread.
class StatusBoard {
 public:
  void set_host(HostUid uid, HostLive live);
  void drop_host(HostUid uid);
  [[nodiscard]] std::optional<HostLive> host(HostUid uid) const;

  void set_endpoint(EndpointUid uid, EndpointLive live);
  void drop_endpoint(EndpointUid uid);
  [[nodiscard]] std::optional<EndpointLive> endpoint(EndpointUid uid) const;

  void set_current(Revision revision);
  [[nodiscard]] Revision current() const;

 private:
  mutable std::mutex mutex_;
  Revision current_;
  std::unordered_map<HostUid, HostLive> hosts_;
  std::unordered_map<EndpointUid, EndpointLive> endpoints_;
};

}  // namespace qmasq::controller
