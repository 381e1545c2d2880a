// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/flights.h"

namespace qmasq::vbond {
namespace {

// Threads come and go; those that are gone are dropped all at once when there are too many.
constexpr std::size_t kMostRunning = 1024;

}  // namespace

Flight Flights::begin(pid_t tid, pid_t pid, TaskInspector& tasks) {
  std::lock_guard lock(mutex_);
  if (running_.size() >= kMostRunning) {
    std::erase_if(running_, [&](const auto& each) { return !tasks.process_of(each.first); });
  }
  const std::uint64_t number = ++last_;
  running_[tid] = number;
  count_.store(running_.size(), std::memory_order_release);
  return {tid, pid, number};
}

void Flights::land(pid_t tid) {
  std::lock_guard lock(mutex_);
  running_.erase(tid);
  count_.store(running_.size(), std::memory_order_release);
}

bool Flights::in_flight(const Flight& flight, TaskInspector& tasks) const {
  {
    std::lock_guard lock(mutex_);
    auto at = running_.find(flight.tid);
    if (at == running_.end() || at->second != flight.number) return false;
  }
  auto process = tasks.process_of(flight.tid);
  return process && *process == flight.pid;
}

}  // namespace qmasq::vbond
