// SPDX-License-Identifier: Apache-2.0
#include "controller/watch/hub.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "common/resource_name.h"
#include "controller/metrics.h"

namespace qmasq::controller {
namespace {

// A host that misses so many heartbeats is offline.
constexpr int kMissedHeartbeats = 3;
constexpr std::size_t kMaxText = 1024;
constexpr int kMaxObserved = 128;
constexpr std::size_t kMaxUnenforced = 64;

EndpointLive read_status(const v1::EndpointStatus& status, TimePoint now) {
  EndpointLive live;
  live.state = v1::EndpointStatus_State_IsValid(status.state())
                   ? static_cast<BindState>(status.state())
                   : BindState::kUnspecified;
  live.message = status.message().substr(0, kMaxText);
  live.netns = status.netns().substr(0, kMaxText);
  live.interface = status.interface().substr(0, kMaxText);
  for (const auto& address : status.observed_addresses()) {
    if (live.observed_addresses.size() == kMaxObserved) break;
    live.observed_addresses.push_back(address.substr(0, 64));
  }
  live.attachments = status.attachments();
  live.queue_pairs = status.queue_pairs();
  if (status.has_qos()) {
    live.qos = QosLive{status.qos().configured(), status.qos().enforced(), {}};
    for (const auto& text : status.qos().unenforced()) {
      if (live.qos->unenforced.size() == kMaxUnenforced) break;
      live.qos->unenforced.push_back(text.substr(0, kMaxText));
    }
  }
  live.report_time = now;
  return live;
}

}  // namespace

Hub::Hub(Options options, const Clock& clock, StatusBoard& board, ControllerMetrics& metrics)
    : options_(std::move(options)),
      clock_(clock),
      board_(board),
      metrics_(metrics),
      world_(options_.log_size) {}

void Hub::load(const Commit& all, Revision log_from, std::span<const LogEntry> log) {
  world_.load(all, log_from, log);
  for (const auto& [uid, host] : world_.hosts()) {
    hosts_[uid].live.state = host->joined ? LiveState::kOffline : LiveState::kNeverJoined;
    publish(uid);
  }
  for (const auto& [before, endpoint] : all.endpoints) {
    auto host = world_.host(endpoint->host);
    if (!host || !host->joined) continue;
    EndpointLive unknown;
    unknown.state = BindState::kUnspecified;
    unknown.message = "not reported by its host since the controller started";
    board_.set_endpoint(endpoint->uid, std::move(unknown));
  }
  board_.set_current(world_.revision());
  publish_counts();
}

void Hub::publish(HostUid host) {
  auto found = hosts_.find(host);
  if (found != hosts_.end()) board_.set_host(host, found->second.live);
}

void Hub::publish_counts() {
  std::size_t states[3] = {};
  for (const auto& [uid, state] : hosts_)
    ++states[static_cast<std::size_t>(state.live.state)];
  metrics_.set_hosts(states[0], states[1], states[2]);
  metrics_.set_streams(peers_.size());
  metrics_.set_objects({.vpcs = world_.vpc_count(),
                        .endpoints = world_.endpoint_count(),
                        .hosts = world_.hosts().size(),
                        .groups = world_.group_count(),
                        .policies = world_.policies().size()});
  metrics_.set_revision(world_.revision().value);
}

void Hub::commit(const Commit& commit) {
  world_.apply(commit);
  board_.set_current(world_.revision());
  for (const auto& [before, after] : commit.endpoints) {
    // What the old host says of it no longer counts.
    if (before && (!after || after->host != before->host)) board_.drop_endpoint(before->uid);
  }
  for (const auto& [before, after] : commit.hosts) {
    if (after) {
      auto& live = hosts_[after->uid].live;
      if (!before && !after->joined) live.state = LiveState::kNeverJoined;
      publish(after->uid);
      continue;
    }
    if (auto peer = peer_of_.find(before->uid); peer != peer_of_.end()) {
      close(peer->second,
            Error{Code::kUnavailable,
                  fmt::format("{} was deleted: connect again to join anew", host_name(before->id)),
                  0,
                  {}});
    }
    hosts_.erase(before->uid);
    board_.drop_host(before->uid);
  }
  for (auto& [id, peer] : peers_) {
    peer.session.note(commit);
    pump(peer);
  }
  publish_counts();
  check_waiters();
}

void Hub::pump(Peer& peer) {
  if (peer.writing) return;
  const std::uint64_t batches = peer.session.batches();
  const Revision applied = peer.session.applied();
  auto message = peer.session.next(world_, clock_.now());
  if (!message && !peer.questions.empty()) {
    message = std::move(peer.questions.front());
    peer.questions.pop_front();
  }
  if (!message) return;
  if (peer.session.batches() != batches) metrics_.batch_sent(message->batch().snapshot());
  metrics_.bytes_sent(message->ByteSizeLong());
  peer.writing = true;
  peer.stream->send(std::move(*message));
  if (peer.session.applied() != applied) {
    hosts_[peer.session.host()].live.applied = peer.session.applied();
    publish(peer.session.host());
  }
}

Session Hub::make_session(HostUid host, const v1::Hello& hello) {
  v1::SyncResponse welcome;
  welcome.mutable_welcome()->set_store_id(options_.store_id);
  welcome.mutable_welcome()->set_host_uid(host.value);
  welcome.mutable_welcome()->set_heartbeat_interval_ms(
      static_cast<std::uint32_t>(options_.heartbeat.count()));
  const Revision held{hello.held_revision()};
  // Nothing held, another store's, or from a time that this store does not know: start anew.
  if (held.value > 0 && hello.store_id() == options_.store_id && held <= world_.revision()) {
    if (auto missed = world_.log_since(held)) {
      std::span<const std::uint64_t> vpcs(hello.held_vpc_uids().data(),
                                          static_cast<std::size_t>(hello.held_vpc_uids_size()));
      return Session(host, ScopeTracker(host, world_, vpcs, *missed), std::move(welcome), held);
    }
  }
  return Session(host, ScopeTracker(host), std::move(welcome), {});
}

void Hub::attach(PeerId id, std::shared_ptr<SyncPeer> peer, HostUid host, const v1::Hello& hello) {
  auto value = world_.host(host);
  if (!value) {
    // Deleted since its Hello, or just made and its commit is on the way: either way it tries
    // again.
    peer->close(
        Error{Code::kUnavailable, "the host was deleted: connect again to join anew", 0, {}});
    return;
  }
  if (auto before = peer_of_.find(host); before != peer_of_.end()) {
    close(before->second, Error{Code::kAborted,
                                fmt::format("another agent joined as {}: host names must be unique",
                                            host_name(value->id)),
                                0,
                                {}});
  }
  auto [entry, inserted] = peers_.try_emplace(
      id, Peer{std::move(peer), make_session(host, hello), false, {}, clock_.now()});
  if (!inserted) return;
  peer_of_[host] = id;
  auto& live = hosts_[host].live;
  live.applied = entry->second.session.applied();
  live.rejected = {};
  live.reject_reason.clear();
  spdlog::info("{} joined, holding revision {}", host_name(value->id), hello.held_revision());
  host_heard(host);
  publish_counts();
  pump(entry->second);
  check_waiters();
}

void Hub::host_heard(HostUid host) {
  auto& state = hosts_[host];
  state.heard = clock_.now();
  bool came = state.live.state != LiveState::kOnline;
  state.live.state = LiveState::kOnline;
  state.live.last_heartbeat = clock_.wall();
  publish(host);
  if (came) publish_counts();
}

void Hub::heard(PeerId id) {
  auto found = peers_.find(id);
  if (found == peers_.end()) return;
  found->second.heard = clock_.now();
  host_heard(found->second.session.host());
}

void Hub::message(PeerId id, const v1::SyncRequest& request) {
  auto found = peers_.find(id);
  if (found == peers_.end()) return;
  Peer& peer = found->second;
  Session& session = peer.session;
  heard(id);
  switch (request.kind_case()) {
    case v1::SyncRequest::kAck:
      // An acknowledged InSync, or an answer that crossed a newer batch: nothing to do.
      if (!session.ack(Revision{request.ack().revision()})) return;
      break;
    case v1::SyncRequest::kReject: {
      const auto& reject = request.reject();
      std::string reason = reject.reason().substr(0, kMaxText);
      if (!session.reject(Revision{reject.revision()}, reason, clock_.now())) return;
      metrics_.batch_rejected();
      spdlog::warn("host {} rejected revision {}: {}", session.host().value, reject.revision(),
                   reason);
      break;
    }
    case v1::SyncRequest::kAnswer:
      take_answer(id, request.answer());
      return;
    case v1::SyncRequest::kHostReport:
      // What else it says is in the store.
      hosts_[session.host()].live.guard = request.host_report().guard().substr(0, kMaxText);
      publish(session.host());
      return;
    case v1::SyncRequest::kEndpointReport:
      endpoint_report(peer, request.endpoint_report());
      return;
    default:
      return;
  }
  auto& live = hosts_[session.host()].live;
  live.applied = session.applied();
  live.rejected = session.rejected();
  live.reject_reason = session.reject_reason();
  publish(session.host());
  pump(peer);
  check_waiters();
}

void Hub::ask(HostUid host, const v1::Query& query, std::chrono::milliseconds timeout,
              AnswerDone done) {
  constexpr std::size_t kMostWaiting = 32;
  auto refuse = [&](const char* why) {
    v1::Answer answer;
    answer.set_error(why);
    done(std::move(answer));
  };
  auto id = peer_of_.find(host);
  if (id == peer_of_.end()) return refuse("its agent is not connected");
  Peer& peer = peers_.at(id->second);
  if (peer.questions.size() >= kMostWaiting) return refuse("its agent is busy with others");
  const std::uint64_t number = ++last_question_;
  questions_[number] = {id->second, clock_.now() + timeout, std::move(done)};
  v1::SyncResponse message;
  *message.mutable_query() = query;
  message.mutable_query()->set_id(number);
  peer.questions.push_back(std::move(message));
  pump(peer);
}

void Hub::take_answer(PeerId id, const v1::Answer& answer) {
  auto found = questions_.find(answer.query_id());
  // Too late, or never asked of this one.
  if (found == questions_.end() || found->second.peer != id) return;
  AnswerDone done = std::move(found->second.done);
  questions_.erase(found);
  done(answer);
}

void Hub::give_up_questions(PeerId peer, const char* why) {
  std::vector<AnswerDone> given_up;
  for (auto it = questions_.begin(); it != questions_.end();) {
    const bool over = peer != 0 ? it->second.peer == peer : clock_.now() >= it->second.deadline;
    if (!over) {
      ++it;
      continue;
    }
    given_up.push_back(std::move(it->second.done));
    it = questions_.erase(it);
  }
  for (AnswerDone& done : given_up) {
    v1::Answer answer;
    answer.set_error(why);
    done(std::move(answer));
  }
}

void Hub::endpoint_report(const Peer& peer, const v1::EndpointReport& report) {
  EndpointUid uid{report.endpoint_uid()};
  auto endpoint = world_.endpoint(uid);
  // A host may speak of its own only. It can be late, too: the endpoint is gone or has moved.
  if (!endpoint || endpoint->host != peer.session.host()) {
    metrics_.report_refused();
    return;
  }
  board_.set_endpoint(uid, read_status(report.status(), clock_.wall()));
}

void Hub::written(PeerId id) {
  auto found = peers_.find(id);
  if (found == peers_.end()) return;
  found->second.writing = false;
  pump(found->second);
  check_waiters();
}

void Hub::close(PeerId id, Error reason) {
  auto found = peers_.find(id);
  if (found == peers_.end()) return;
  auto stream = found->second.stream;
  peer_of_.erase(found->second.session.host());
  peers_.erase(found);
  stream->close(std::move(reason));
  give_up_questions(id, "its agent's stream ended");
  publish_counts();
}

void Hub::detach(PeerId id) {
  auto found = peers_.find(id);
  if (found == peers_.end()) return;
  // The host stays online until its heartbeats are missed: an agent that restarts is back by then.
  peer_of_.erase(found->second.session.host());
  peers_.erase(found);
  publish_counts();
  give_up_questions(id, "its agent's stream ended");
}

void Hub::tick() {
  check_heartbeats();
  for (auto& [id, peer] : peers_)
    pump(peer);
  check_waiters();
  give_up_questions(0, "no answer in time");
}

void Hub::check_heartbeats() {
  const auto now = clock_.now();
  const auto patience = options_.heartbeat * kMissedHeartbeats;
  std::vector<PeerId> silent;
  for (const auto& [id, peer] : peers_) {
    if (now - peer.heard > patience) silent.push_back(id);
  }
  for (auto id : silent) {
    close(id, Error{Code::kDeadlineExceeded,
                    fmt::format("nothing heard for {} ms", patience.count()),
                    0,
                    {}});
  }
  bool changed = false;
  for (auto& [uid, state] : hosts_) {
    if (state.live.state != LiveState::kOnline || now - state.heard <= patience) continue;
    state.live.state = LiveState::kOffline;
    changed = true;
    publish(uid);
    if (auto host = world_.host(uid)) {
      spdlog::warn("{} is offline: nothing heard for {} ms", host_name(host->id), patience.count());
    }
  }
  if (changed) publish_counts();
}

std::set<HostUid> Hub::concerned(Revision revision) const {
  if (auto log = world_.log_at(revision)) return concerned_hosts(world_, *log);
  // Too old for the log: whoever holds anything might be concerned.
  std::set<HostUid> out;
  for (const auto& [uid, host] : world_.hosts()) {
    if (!world_.vpcs_of(uid).empty()) out.insert(uid);
  }
  return out;
}

RolloutState Hub::rollout(const Waiter& waiter) const {
  using State = RolloutState::OneHost::State;
  const Revision revision = waiter.revision;
  RolloutState out;
  out.complete = true;
  for (auto uid : waiter.concerned) {
    auto host = world_.host(uid);
    auto found = hosts_.find(uid);
    if (!host || found == hosts_.end()) continue;
    const HostLive& live = found->second.live;
    RolloutState::OneHost one{host, State::kPending, live.applied, {}};
    if (live.applied >= revision) {
      one.state = State::kApplied;
    } else if (live.rejected >= revision) {
      one.state = State::kRejected;
      one.reason = live.reject_reason;
    } else if (live.state != LiveState::kOnline) {
      one.state = State::kOffline;
      one.reason = live.state == LiveState::kNeverJoined ? "no agent ever joined under this name"
                                                         : "its agent is offline";
    }
    out.complete = out.complete && one.state == State::kApplied;
    out.hosts.push_back(std::move(one));
  }
  return out;
}

void Hub::wait_rollout(std::uint64_t id, Revision revision, std::chrono::milliseconds timeout,
                       RolloutDone done) {
  waiters_[id] = Waiter{revision, concerned(revision), clock_.now() + timeout, std::move(done)};
  check_waiters();
}

void Hub::cancel_rollout(std::uint64_t id) {
  auto found = waiters_.find(id);
  if (found == waiters_.end()) return;
  auto done = std::move(found->second.done);
  auto state = rollout(found->second);
  waiters_.erase(found);
  done(std::move(state));
}

void Hub::check_waiters() {
  using State = RolloutState::OneHost::State;
  for (auto waiter = waiters_.begin(); waiter != waiters_.end();) {
    auto state = rollout(waiter->second);
    bool rejected = std::any_of(state.hosts.begin(), state.hosts.end(),
                                [](const auto& h) { return h.state == State::kRejected; });
    if (!state.complete && !rejected && clock_.now() < waiter->second.deadline) {
      ++waiter;
      continue;
    }
    auto done = std::move(waiter->second.done);
    waiter = waiters_.erase(waiter);
    done(std::move(state));
  }
}

}  // namespace qmasq::controller
