// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <thread>

namespace qmasq {

// Pauses of a thread that looks again and again for what nobody tells it of: short ones first,
// since most of what is waited for comes within one or two, and each twice as long as the one
// before, up to `longest`. Not the agent's clock: these are waits of this very thread.
class Backoff {
 public:
  explicit Backoff(std::chrono::microseconds longest) : longest_(longest) {}

  // Whether the next pause is as long as they get.
  [[nodiscard]] bool at_longest() const { return pause_ == longest_; }
  void wait() {
    std::this_thread::sleep_for(pause_);
    pause_ = std::min(2 * pause_, longest_);
  }

 private:
  const std::chrono::microseconds longest_;
  std::chrono::microseconds pause_{20};
};

}  // namespace qmasq
