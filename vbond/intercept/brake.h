// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

namespace qmasq::vbond {

// Slows down a program that goes on calling although it has been told EAGAIN: its next refusals are
// answered later, so that it waits in the kernel and not in a loop that costs the agent a CPU. The
// first refusal after a pause is answered at once. Only receivers of the program's own attachment
// wait here, with no lock held. Thread-safe.
class Brake {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::milliseconds kPause{100};  // without a refusal: forgiven
  static constexpr std::chrono::milliseconds kDelay{10};

  // How long the answer to a refusal at `now` has to wait.
  [[nodiscard]] std::chrono::milliseconds refused(Time now);
  // Waits, or returns at once from release() on.
  void wait(std::chrono::milliseconds time);
  // The attachment ends, or its endpoint is gone.
  void release();

 private:
  std::mutex mutex_;  // guards all below
  std::condition_variable released_cv_;
  std::optional<Time> last_;
  bool released_ = false;
};

}  // namespace qmasq::vbond
