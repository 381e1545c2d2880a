// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "common/result.h"
#include "qmasq/v1/sync.pb.h"
#include "vbond/state/change.h"
#include "vbond/state/sync_state.h"
#include "vbond/sync/batch_collector.h"
#include "vbond/sync/held_state.h"
#include "vbond/sync/phase.h"

namespace qmasq::vbond {

// Who follows the state. All calls come from sync's thread.
class Follower {
 public:
  virtual ~Follower() = default;
  // Who this host is at the controller; before the first batch of each stream is applied. When the
  // store is another one, an empty snapshot is applied before.
  virtual void welcomed(HostUid host) = 0;
  // As in ChangeObserver.
  [[nodiscard]] virtual Status check(const Change& change) = 0;
  virtual void apply(const Change& change) = 0;
  // Everything was applied; called each time the controller says so.
  virtual void in_sync() = 0;
};

// What Hello says that we speak.
inline constexpr std::uint32_t kProtocolVersion = 3;

// The agent's side of the Sync protocol without the wire: takes what the controller says, drives
// the follower, and says what to answer. Not thread-safe. Its state outlives streams: a new one
// takes up at the revision that is held.
class Session {
 public:
  struct Identity {
    std::string host;  // "hosts/hostA"
    std::string agent_version;
    std::string kernel_release;
  };

  // What the stream does after a message.
  struct Reaction {
    std::optional<v1::SyncRequest> answer;
    // From Welcome: how often to say something.
    std::optional<std::chrono::milliseconds> heartbeat;
    bool applied = false;  // a batch was
    bool in_sync = false;  // the controller says that all is here
    // A batch was rejected, and `answer` says so. What follows would build on it: until a snapshot
    // comes, on this stream or the next, every batch is rejected.
    std::optional<Error> rejected;
    // To be answered, when the handler has come to it.
    std::optional<v1::Query> query;
  };

  // `state` and `follower` must outlive the session.
  Session(Identity identity, BatchCollector::Limits limits, SyncState& state, Follower& follower);

  // A stream stands; the message to send first.
  [[nodiscard]] v1::Hello open();
  // Error: the controller broke the protocol (kAborted: the next stream asks for everything anew).
  // The stream must end; what is held stays.
  [[nodiscard]] Result<Reaction> receive(const v1::SyncResponse& message);
  // The stream is gone, for this reason (empty: we closed it).
  void closed(std::string reason);

  [[nodiscard]] SyncPhase phase() const { return phase_; }
  [[nodiscard]] const HeldState& held() const { return held_; }

 private:
  [[nodiscard]] Status step(SyncInput input);
  [[nodiscard]] Result<Reaction> receive_welcome(const v1::Welcome& welcome);
  [[nodiscard]] Result<Reaction> receive_batch(const v1::Batch& part);
  [[nodiscard]] Result<Reaction> receive_in_sync(const v1::InSync& in_sync);
  [[nodiscard]] Result<Reaction> receive_query(const v1::Query& query);
  [[nodiscard]] Result<Change> check(Result<Change> change);
  void take_identity();

  const Identity identity_;
  SyncState& state_;
  Follower& follower_;
  SyncPhase phase_ = SyncPhase::kWaiting;
  HeldState held_;
  BatchCollector collector_;
  std::string store_id_;  // of the controller at the other end
  HostUid host_;          // we, there
  // What is held cannot be built upon; until a snapshot comes it stays as it is.
  bool need_snapshot_ = false;
};

}  // namespace qmasq::vbond
