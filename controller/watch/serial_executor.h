// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace qmasq::controller {

// One thread that runs what it is given, in order, and something else at an interval. post() from
// any thread; the destructor runs what was posted before it and joins.
class SerialExecutor {
 public:
  SerialExecutor(std::function<void()> tick, std::chrono::milliseconds interval);
  SerialExecutor(const SerialExecutor&) = delete;
  SerialExecutor& operator=(const SerialExecutor&) = delete;
  ~SerialExecutor();

  void post(std::function<void()> work);
  // Waits while more than `most` pieces of work are queued: for producers that must not run ahead.
  // Not on the executor's own thread.
  void wait_for_room(std::size_t most);
  // Runs what is queued, then ends the thread. post() does nothing from then on.
  void stop();

 private:
  void run();

  const std::function<void()> tick_;
  const std::chrono::milliseconds interval_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable room_;
  std::vector<std::function<void()>> queue_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace qmasq::controller
