// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "common/net_types.h"
#include "common/result.h"
#include "vbond/events/event_log.h"
#include "vbond/nic/nic_watcher.h"
#include "vbond/state/reports.h"
#include "vbond/state/sync_state.h"
#include "vbond/sync/backoff.h"
#include "vbond/sync/batch_collector.h"
#include "vbond/sync/session.h"

namespace grpc {
class ChannelCredentials;
}

namespace qmasq::vbond {

class QueryDesk;
class QueryHandler;
class SyncMetrics;

// Follows the controller for ever: a thread that opens a stream, reads it and drives the Session,
// one that writes to it, and one on which queries are answered (QueryDesk). A controller that is
// away is tried again with backoff; what is held stays in use meanwhile. A dead peer is noticed
// within some 10 seconds (HTTP/2 keepalive).
class SyncClient {
 public:
  struct Options {
    // "ADDR:PORT" or "unix:PATH".
    std::string controller;
    Session::Identity identity;
    BatchCollector::Limits limits;
    Backoff::Options backoff;
    // How long the controller may take to answer Hello.
    std::chrono::milliseconds welcome_timeout{10'000};
    std::chrono::milliseconds keepalive{5'000};
    // What each new stream is opened with; may block. Empty: no encryption, no identity.
    std::function<Result<std::shared_ptr<grpc::ChannelCredentials>>()> credentials;
    // The controller does not take us for who we say.
    std::function<void()> unauthenticated;
  };

  // References must outlive the client. `random`: a number in [0, 1), called from one thread.
  // `tick`: called about once a second on the writing thread while a stream stands, to bring
  // reports up to date; may call report_*(). `queries`: answers what the controller asks; null:
  // each is answered with an error.
  SyncClient(Options options, SyncState& state, Follower& follower, EventLog& events,
             SyncMetrics& metrics, std::function<double()> random, std::function<void()> tick,
             QueryHandler* queries = nullptr);
  // Stops.
  ~SyncClient();
  SyncClient(const SyncClient&) = delete;
  SyncClient& operator=(const SyncClient&) = delete;

  void start();
  // Ends the stream and the threads; within some 100 ms unless the follower or the handler of
  // queries takes longer.
  void stop();

  // Does not wait any longer before the next stream. Any thread.
  void retry();

  // Any thread; never wait.
  // `guard`: as in HostStatus.
  void report_host(const HostNics& nics, std::string guard = {});
  void report_endpoint(EndpointUid uid, const EndpointReport& report);
  void forget_endpoint(EndpointUid uid);

 private:
  struct Stream;
  // How a stream ended.
  struct Ending {
    bool welcomed = false;
    bool in_sync = false;  // was, at some time
    bool refused = false;  // time alone seldom mends it
    std::string reason;
  };

  void run();
  [[nodiscard]] Ending follow_one_stream();
  // Reads until the stream ends; the reason when it is not the stream's own.
  [[nodiscard]] std::string read_all(Stream& stream, Ending& ending);
  void write_all(Stream& stream);
  void take_reaction(Stream& stream, const Session::Reaction& reaction, Ending& ending);
  void report_ending(const Ending& ending, std::chrono::milliseconds delay);
  [[nodiscard]] bool stopping() const;

  struct Shared;

  const Options options_;
  SyncState& state_;
  EventLog& events_;
  SyncMetrics& metrics_;
  const std::function<void()> tick_;
  Backoff backoff_;          // of the reading thread
  Session session_;          // of the reading thread
  std::string last_reason_;  // of the reading thread
  std::unique_ptr<Shared> shared_;
  std::unique_ptr<QueryDesk> desk_;  // its lock comes before that of shared_
  std::thread thread_;
};

// The form of --controller; the error says what is expected.
[[nodiscard]] Status check_controller_address(std::string_view address);

}  // namespace qmasq::vbond
