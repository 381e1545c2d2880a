// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>

#include "controller/store/store.h"
#include "controller/watch/hub.h"
#include "controller/watch/serial_executor.h"

namespace qmasq::controller {

// The hub and the thread it lives on. Any thread may call; all but load() only queue work.
class Watch {
 public:
  Watch(Hub::Options options, const Clock& clock, StatusBoard& board, ControllerMetrics& metrics);

  // Reads the store into the hub. Before the first commit and the first stream. Commits of the
  // store are then given to commit(). `each` sees all that was there, as one commit.
  [[nodiscard]] Status load(Store& store, const std::function<void(const Commit&)>& each);
  // Waits when the hub is far behind: writers must not outrun it without bound.
  void commit(const Commit& commit);

  void post(std::function<void(Hub&)> work);
  [[nodiscard]] std::uint64_t new_id() { return ++last_id_; }
  // Runs what is queued and ends the thread. All streams must be gone.
  void stop() { executor_.stop(); }

 private:
  Hub hub_;
  std::atomic<std::uint64_t> last_id_{0};
  SerialExecutor executor_;  // last: its thread uses the above
};

}  // namespace qmasq::controller
