// SPDX-License-Identifier: Apache-2.0
#include "controller/watch/session.h"

namespace qmasq::controller {

Session::Session(HostUid host, ScopeTracker tracker, v1::SyncResponse welcome, Revision applied)
    : host_(host), tracker_(std::move(tracker)), welcome_(std::move(welcome)), applied_(applied) {}

void Session::note(const Commit& commit) {
  // A tracker that starts over is dirty anyway: only after a reject does news matter.
  tracker_.note(commit);
  changed_since_reject_ = true;
}

bool Session::may_cut(Time now) const {
  if (!tracker_.dirty()) return false;
  if (rejected_.value == 0) return true;
  return now >= rejected_at_ + (changed_since_reject_ ? kRetryOnChange : kRetryAnyway);
}

std::optional<v1::SyncResponse> Session::next(const World& world, Time now) {
  if (welcome_) return std::exchange(welcome_, std::nullopt);
  if (phase_ == Phase::kAwaitingAck) return std::nullopt;
  if (phase_ == Phase::kIdle && may_cut(now)) {
    Cut cut = tracker_.cut(world);
    if (!cut.empty()) {
      batch_.emplace(std::move(cut));
      phase_ = Phase::kSending;
      ++batches_;
    }
  }
  if (phase_ == Phase::kSending) {
    auto part = batch_->next();
    if (batch_->done()) phase_ = Phase::kAwaitingAck;
    return part;
  }
  return in_sync(world, now);
}

std::optional<v1::SyncResponse> Session::in_sync(const World& world, Time now) {
  if (tracker_.dirty()) return std::nullopt;
  if (greeted_in_sync_ && (in_sync_sent_ == world.revision() || now < in_sync_after_)) {
    return std::nullopt;
  }
  // After an acknowledged batch of this very revision there is no news in it.
  if (greeted_in_sync_ && applied_ == world.revision()) return std::nullopt;
  greeted_in_sync_ = true;
  in_sync_sent_ = world.revision();
  in_sync_after_ = now + kInSyncEvery;
  // All batches before are acknowledged and nothing since concerns the host.
  applied_ = world.revision();
  v1::SyncResponse response;
  response.mutable_in_sync()->set_revision(in_sync_sent_.value);
  return response;
}

bool Session::ack(Revision revision) {
  if (phase_ != Phase::kAwaitingAck || batch_->revision() != revision) return false;
  phase_ = Phase::kIdle;
  batch_.reset();
  applied_ = revision;
  rejected_ = {};
  reject_reason_.clear();
  return true;
}

bool Session::reject(Revision revision, std::string reason, Time now) {
  if (phase_ == Phase::kIdle || batch_->revision() != revision) return false;
  // The rest of it is of no use to the agent.
  phase_ = Phase::kIdle;
  batch_.reset();
  rejected_ = revision;
  reject_reason_ = std::move(reason);
  rejected_at_ = now;
  changed_since_reject_ = false;
  tracker_.restart();
  return true;
}

}  // namespace qmasq::controller
