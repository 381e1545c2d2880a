// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "controller/watch/batch_stream.h"
#include "controller/watch/scope_tracker.h"

namespace qmasq::controller {

// The controller's side of one Sync stream after its Hello: what to send next, and what an answer
// means. One batch is under way at a time: it is cut when the one before was acknowledged, so a
// slow agent costs a set of uids, and gets everything since in one step. Pure, not thread-safe:
// belongs to the watch thread.
class Session {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // InSync goes out at most so often when nothing concerns the host.
  static constexpr std::chrono::seconds kInSyncEvery{1};
  // After a reject the host gets a snapshot: soonest after the first, when something changed;
  // otherwise after the second.
  static constexpr std::chrono::seconds kRetryOnChange{1};
  static constexpr std::chrono::seconds kRetryAnyway{30};

  // `applied`: what the agent said it holds, 0 when that is of no use.
  Session(HostUid host, ScopeTracker tracker, v1::SyncResponse welcome, Revision applied);

  void note(const Commit& commit);
  // The next message, if there is one to send now.
  [[nodiscard]] std::optional<v1::SyncResponse> next(const World& world, Time now);
  // False: no batch of that revision waits for an answer.
  bool ack(Revision revision);
  bool reject(Revision revision, std::string reason, Time now);

  [[nodiscard]] HostUid host() const { return host_; }
  [[nodiscard]] Revision applied() const { return applied_; }
  [[nodiscard]] Revision rejected() const { return rejected_; }
  [[nodiscard]] const std::string& reject_reason() const { return reject_reason_; }
  [[nodiscard]] std::uint64_t batches() const { return batches_; }

 private:
  enum class Phase { kIdle, kSending, kAwaitingAck };

  [[nodiscard]] bool may_cut(Time now) const;
  std::optional<v1::SyncResponse> in_sync(const World& world, Time now);

  HostUid host_;
  ScopeTracker tracker_;
  std::optional<v1::SyncResponse> welcome_;
  Phase phase_ = Phase::kIdle;
  std::optional<BatchStream> batch_;
  Revision applied_;
  Revision in_sync_sent_;
  bool greeted_in_sync_ = false;
  Time in_sync_after_{};
  Revision rejected_;
  std::string reject_reason_;
  Time rejected_at_{};
  bool changed_since_reject_ = false;
  std::uint64_t batches_ = 0;
};

}  // namespace qmasq::controller
