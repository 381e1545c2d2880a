// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "controller/watch/session.h"
#include "controller/watch/status_board.h"
#include "controller/watch/world.h"

namespace qmasq::controller {

class ControllerMetrics;

// The other end of a Sync stream. send() may be called again only after Hub::written.
class SyncPeer {
 public:
  virtual ~SyncPeer() = default;
  virtual void send(v1::SyncResponse message) = 0;
  // Ends the stream; nothing is sent after that.
  virtual void close(Error reason) = 0;
};
using PeerId = std::uint64_t;

struct RolloutState {
  bool complete = false;
  struct OneHost {
    HostPtr host;
    enum class State { kApplied, kPending, kRejected, kOffline } state = State::kPending;
    Revision applied;
    std::string reason;
  };
  std::vector<OneHost> hosts;
};
using RolloutDone = std::function<void(RolloutState)>;

// Fans commits out to the streams, follows which host is there and what it applied, and answers who
// waits for that. Holds the World. Not thread-safe: everything runs on the watch thread.
class Hub {
 public:
  struct Options {
    std::string store_id;
    std::chrono::milliseconds heartbeat{5000};
    std::size_t log_size = 100'000;
  };
  Hub(Options options, const Clock& clock, StatusBoard& board, ControllerMetrics& metrics);

  void load(const Commit& all, Revision log_from, std::span<const LogEntry> log);
  void commit(const Commit& commit);
  // Call it every 100 to 1000 ms: heartbeats, InSync, retries and deadlines hang on it.
  void tick();

  // A stream whose Hello was checked and whose host is in the store.
  void attach(PeerId id, std::shared_ptr<SyncPeer> peer, HostUid host, const v1::Hello& hello);
  void message(PeerId id, const v1::SyncRequest& request);
  void heard(PeerId id);
  void written(PeerId id);
  void detach(PeerId id);

  // Calls `done` once, maybe at once. `id` is the caller's own, for cancel().
  void wait_rollout(std::uint64_t id, Revision revision, std::chrono::milliseconds timeout,
                    RolloutDone done);
  void cancel_rollout(std::uint64_t id);

  // Asks the host's agent; `done` is called once, maybe at once, with the answer or with an error
  // in it: not connected, gone, too late, or too many questions on their way to it.
  using AnswerDone = std::function<void(v1::Answer)>;
  void ask(HostUid host, const v1::Query& query, std::chrono::milliseconds timeout,
           AnswerDone done);

  [[nodiscard]] const World& world() const { return world_; }

 private:
  struct Peer {
    std::shared_ptr<SyncPeer> stream;
    Session session;
    bool writing = false;
    std::deque<v1::SyncResponse> questions;  // to be sent
    std::chrono::steady_clock::time_point heard;
  };
  struct Waiter {
    Revision revision;
    std::set<HostUid> concerned;
    std::chrono::steady_clock::time_point deadline;
    RolloutDone done;
  };

  struct Question {
    PeerId peer = 0;
    std::chrono::steady_clock::time_point deadline;
    AnswerDone done;
  };

  void pump(Peer& peer);
  void take_answer(PeerId id, const v1::Answer& answer);
  // Of one peer that is gone, or (0) those that waited too long.
  void give_up_questions(PeerId peer, const char* why);
  void close(PeerId id, Error reason);
  void publish(HostUid host);
  void endpoint_report(const Peer& peer, const v1::EndpointReport& report);
  void host_heard(HostUid host);
  void check_heartbeats();
  void check_waiters();
  [[nodiscard]] std::set<HostUid> concerned(Revision revision) const;
  [[nodiscard]] RolloutState rollout(const Waiter& waiter) const;
  void publish_counts();
  Session make_session(HostUid host, const v1::Hello& hello);

  const Options options_;
  const Clock& clock_;
  StatusBoard& board_;
  ControllerMetrics& metrics_;
  World world_;
  struct HostState {
    HostLive live;
    std::chrono::steady_clock::time_point heard;
  };
  std::unordered_map<HostUid, HostState> hosts_;
  std::unordered_map<PeerId, Peer> peers_;
  std::unordered_map<HostUid, PeerId> peer_of_;
  std::unordered_map<std::uint64_t, Waiter> waiters_;
  std::unordered_map<std::uint64_t, Question> questions_;
  std::uint64_t last_question_ = 0;
};

}  // namespace qmasq::controller
