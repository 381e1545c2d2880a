// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "vbond/admission/inventory.h"
#include "vbond/kernel/task_inspector.h"

namespace qmasq::vbond {

// Calls of an attachment that were let run and whose end matters to quotas. A call is in flight
// until its thread makes another trapped call, since a thread is in one system call at a time, or
// is gone. Thread-safe.
//
// The number of a task that is gone may be given to a new thread of the same process; the call is
// then taken to be in flight until that one makes a call or goes. Its charge stays meanwhile.
class Flights {
 public:
  // Before the call is let run.
  [[nodiscard]] Flight begin(pid_t tid, pid_t pid, TaskInspector& tasks);
  // The task has made a call. One load where nothing is in flight.
  void landed(pid_t tid) {
    if (count_.load(std::memory_order_acquire) != 0) land(tid);
  }
  [[nodiscard]] bool in_flight(const Flight& flight, TaskInspector& tasks) const;

 private:
  void land(pid_t tid);

  std::atomic<std::size_t> count_{0};  // size of running_
  mutable std::mutex mutex_;           // guards all below
  std::uint64_t last_ = 0;
  std::unordered_map<pid_t, std::uint64_t> running_;  // number of the task's flight
};

}  // namespace qmasq::vbond
