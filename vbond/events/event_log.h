// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/net_types.h"

namespace qmasq::vbond {

// Names as `qmasq events` prints them; see to_string.
enum class EventType {
  kAttached,       // a program handed its listener over
  kDetached,       // the last process of it is gone
  kContextOpened,  // a verbs device was opened for a tenant
  kContextClosed,
  kConnected,      // a QP reached RTR
  kRefused,        // a verb was refused; errno and reason say why
  kDisconnected,   // a QP that was connected is gone or reset
  kAdmitted,       // a QP reached RTR by a rule that logs
  kCut,            // a QP was put into the error state, because a change forbids its connection
  kNarrowed,       // a QP goes on with other access flags, because a change says so
  kShadowHit,      // a rule that is not enforced would have decided
  kEndpointBound,  // a network namespace carries the endpoint
  kEndpointUnbound,
  kNicLost,
  kNicFound,
  kSync,             // the controller's stream came, went, or was rejected
  kOverQuota,        // a verb was refused: its endpoint or VPC has as many objects as it may
  kOverRate,         // a verb was refused: it came too soon after others
  kLimitUnenforced,  // a limit of a QoS policy does not hold (any more); the reason says why
  kLimitEnforced,    // it does (again)
  kGuardViolation,   // a program made a verb call that was not let run, and was ended
  kRestored,         // a program of an agent before this one goes on with this one
  kKeeper,           // the keeper came or went, or the journal did not tell all of it
};
[[nodiscard]] const char* to_string(EventType type);

// Both sides of a QP, as known when the event was made. Physical values are for operators only.
struct EventConnection {
  std::string peer_endpoint;
  std::string peer_host;
  std::string nic;
  std::string transport;
  Qpn qpn;
  Qpn peer_qpn;
  Gid virtual_gid;
  Gid peer_virtual_gid;
  Gid physical_gid;
  Gid peer_physical_gid;
};

struct Event {
  std::uint64_t sequence = 0;                  // given by the log, from 1
  std::chrono::system_clock::time_point time;  // given by the log
  EventType type = EventType::kSync;
  std::string endpoint;  // "vpcs/blue/endpoints/a" or empty
  std::string verb;      // "MODIFY_QP" or empty
  int err = 0;           // errno the tenant got, or 0
  std::string reason;
  std::optional<EventConnection> connection;
  pid_t pid = 0;
  std::string command;
};

// An event that is put into words when somebody reads it, or when its line is logged: a connect is
// recorded within a verb of a tenant that waits.
class EventSource {
 public:
  virtual ~EventSource() = default;
  // Sequence and time are given by the log. Must always say the same; called from any thread.
  [[nodiscard]] virtual Event render() const = 0;
  [[nodiscard]] virtual EventType type() const = 0;
};

// A ring of the newest events, each also a line in the log. Thread-safe. A tenant that floods
// refusals overwrites old events and cannot grow the ring.
class EventLog {
 public:
  EventLog(const Clock& clock, std::size_t capacity);

  void record(Event event);
  void record(std::shared_ptr<const EventSource> event);

  // Events with a sequence above `after`, oldest first, at most `limit`. Waits up to `wait` for the
  // first one. What the ring has dropped is not returned; a gap in `sequence` shows it.
  [[nodiscard]] std::vector<Event> read(std::uint64_t after, std::size_t limit,
                                        std::chrono::milliseconds wait) const;
  [[nodiscard]] std::uint64_t newest_sequence() const;

 private:
  const Clock& clock_;
  const std::size_t capacity_;
  mutable std::mutex mutex_;
  mutable std::condition_variable arrived_;
  struct Entry {
    std::chrono::system_clock::time_point time;
    std::shared_ptr<const EventSource> source;
  };
  std::vector<Entry> ring_;  // event n is at n % capacity_
  std::uint64_t next_ = 1;
};

}  // namespace qmasq::vbond
