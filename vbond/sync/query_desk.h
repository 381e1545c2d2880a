// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "qmasq/v1/sync.pb.h"
#include "vbond/state/sync_state.h"
#include "vbond/sync/query_handler.h"

namespace qmasq::vbond {

// Where queries of the stream wait for the handler, so that neither batches nor heartbeats wait for
// an answer. Thread-safe; the handler runs on a thread of the desk.
class QueryDesk {
 public:
  // What waits while one is being answered; a query more is answered with an error at once.
  static constexpr std::size_t kMostWaiting = 16;

  // Gets each answer; from the thread of ask() or from the desk's, with the desk's lock held: must
  // not wait and must not call the desk.
  using Reply = std::function<void(v1::Answer)>;

  // `handler` may be null: nothing is offered then, and there is no thread. References must outlive
  // the desk.
  QueryDesk(QueryHandler* handler, const SyncState& state, Reply reply);
  // Stops.
  ~QueryDesk();
  QueryDesk(const QueryDesk&) = delete;
  QueryDesk& operator=(const QueryDesk&) = delete;

  void start();
  // Waits for the answer that is being made; it goes nowhere.
  void stop();

  void ask(v1::Query query);
  // The stream is gone: what was asked on it is forgotten. After this returns no answer to it
  // reaches the reply, not even one that is being made.
  void forget();

 private:
  void run();
  void refuse(const v1::Query& query, const char* why);

  QueryHandler* const handler_;
  const SyncState& state_;
  const Reply reply_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<v1::Query> waiting_;  // guarded by mutex_, like all below
  std::uint64_t stream_ = 0;       // moves on with forget()
  bool stopping_ = false;
  std::thread thread_;  // of start() and stop()
};

}  // namespace qmasq::vbond
