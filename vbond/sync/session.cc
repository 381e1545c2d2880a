// SPDX-License-Identifier: Apache-2.0
#include "vbond/sync/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace qmasq::vbond {
namespace {

// What a controller may ask for; outside, the nearer end counts.
constexpr std::chrono::milliseconds kShortestHeartbeat{100};
constexpr std::chrono::milliseconds kLongestHeartbeat{60'000};

}  // namespace

Session::Session(Identity identity, BatchCollector::Limits limits, SyncState& state,
                 Follower& follower)
    : identity_(std::move(identity)), state_(state), follower_(follower), collector_(limits) {}

Status Session::step(SyncInput input) {
  auto next = next_phase(phase_, input);
  if (!next) {
    return fail(Code::kInternal, fmt::format("the controller sent {} while we were {}",
                                             to_string(input), to_string(phase_)));
  }
  phase_ = *next;
  return {};
}

v1::Hello Session::open() {
  collector_.reset();
  // From kWaiting, which closed() led to.
  phase_ = next_phase(SyncPhase::kWaiting, SyncInput::kOpened).value_or(SyncPhase::kGreeting);
  v1::Hello hello;
  hello.set_protocol_version(kProtocolVersion);
  hello.set_host(identity_.host);
  hello.set_agent_version(identity_.agent_version);
  hello.set_kernel_release(identity_.kernel_release);
  if (held_.store_id.empty() || held_.stale) return hello;
  hello.set_store_id(held_.store_id);
  hello.set_held_revision(held_.revision.value);
  std::vector<std::uint64_t> uids;
  uids.reserve(held_.vpcs.size());
  for (const auto& [uid, vpc] : held_.vpcs)
    uids.push_back(uid.value);
  std::sort(uids.begin(), uids.end());
  hello.mutable_held_vpc_uids()->Add(uids.begin(), uids.end());
  return hello;
}

void Session::closed(std::string reason) {
  collector_.reset();
  phase_ = SyncPhase::kWaiting;
  state_.set_connected(false);
  if (!reason.empty()) state_.set_error(std::move(reason));
}

Result<Session::Reaction> Session::receive(const v1::SyncResponse& message) {
  switch (message.kind_case()) {
    case v1::SyncResponse::kWelcome:
      return receive_welcome(message.welcome());
    case v1::SyncResponse::kBatch:
      return receive_batch(message.batch());
    case v1::SyncResponse::kInSync:
      return receive_in_sync(message.in_sync());
    case v1::SyncResponse::kQuery:
      return receive_query(message.query());
    case v1::SyncResponse::KIND_NOT_SET:
      break;
  }
  return fail(Code::kInternal,
              "the controller sent a message of a kind that this agent does not "
              "know: is it newer than the agent?");
}

Result<Session::Reaction> Session::receive_welcome(const v1::Welcome& welcome) {
  QMASQ_TRY(step(SyncInput::kWelcome));
  if (welcome.store_id().empty() || welcome.host_uid() == 0) {
    return fail(Code::kInternal, "the controller's Welcome names no store or no host");
  }
  HostUid host{welcome.host_uid()};
  bool same_store = welcome.store_id() == held_.store_id;
  if (same_store && held_.host != host && !held_.stale) {
    // Deleted and made again under its name: what is held belongs to a host that is no more, and
    // the controller counts on us to hold it.
    held_.stale = true;
    return fail(Code::kAborted, "this host was deleted at the controller and made anew");
  }
  store_id_ = welcome.store_id();
  host_ = host;
  need_snapshot_ = !held_.empty() && (held_.stale || !same_store);
  // What is held stays in use until there is something to put in its place.
  if (!need_snapshot_) take_identity();
  state_.set_connected(true);
  Reaction out;
  out.heartbeat = std::clamp(std::chrono::milliseconds(welcome.heartbeat_interval_ms()),
                             kShortestHeartbeat, kLongestHeartbeat);
  return out;
}

void Session::take_identity() {
  held_.store_id = store_id_;
  held_.host = host_;
  follower_.welcomed(host_);
}

Result<Change> Session::check(Result<Change> change) {
  if (!change) return change;
  if (need_snapshot_ && !change->snapshot) {
    return fail(Code::kInvalidArgument,
                "a batch of changes where what is held needs a snapshot to be replaced");
  }
  QMASQ_TRY(follower_.check(*change));
  return change;
}

Result<Session::Reaction> Session::receive_batch(const v1::Batch& part) {
  QMASQ_TRY(step(SyncInput::kBatch));
  state_.set_newest(Revision{part.revision()});
  collector_.add(part);
  Reaction out;
  if (part.more()) return out;

  Revision revision = collector_.revision();
  auto change = check(collector_.finish(held_));
  if (!change) {
    out.rejected = change.error();
    // The next change would build on this one. A snapshot does not.
    held_.stale = true;
    need_snapshot_ = true;
    auto* reject = out.answer.emplace().mutable_reject();
    reject->set_revision(revision.value);
    reject->set_reason(change.error().message);
    return out;
  }
  if (need_snapshot_) {
    if (held_.store_id != store_id_) {
      // Uids of another store mean other things: nothing may look as if it went on.
      Change nothing;
      nothing.revision = change->revision;
      nothing.snapshot = true;
      follower_.apply(nothing);
    }
    take_identity();
    need_snapshot_ = false;
  }
  follower_.apply(*change);
  held_.apply(*change);
  state_.set_held(held_.revision);
  out.applied = true;
  out.answer.emplace().mutable_ack()->set_revision(held_.revision.value);
  return out;
}

Result<Session::Reaction> Session::receive_query(const v1::Query& query) {
  QMASQ_TRY(step(SyncInput::kQuery));
  Reaction out;
  out.query = query;
  return out;
}

Result<Session::Reaction> Session::receive_in_sync(const v1::InSync& in_sync) {
  if (!collector_.empty()) {
    return fail(Code::kInternal, "the controller sent InSync in the middle of a batch");
  }
  QMASQ_TRY(step(SyncInput::kInSync));
  Revision revision{in_sync.revision()};
  if (need_snapshot_) {
    return fail(Code::kInternal, "the controller sent no snapshot where one was needed");
  }
  if (revision < held_.revision) {
    // A store that went back in time (restored from a copy) under its old name.
    held_.stale = true;
    return fail(Code::kAborted,
                fmt::format("the controller says that revision {} is all there is; {} is held",
                            revision.value, held_.revision.value));
  }
  held_.revision = revision;
  state_.mark_in_sync(revision);
  follower_.in_sync();
  Reaction out;
  out.in_sync = true;
  return out;
}

}  // namespace qmasq::vbond
