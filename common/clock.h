// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

namespace qmasq {

// Time as a dependency: code that waits or stamps takes a Clock, so tests turn it by hand.
// Implementations are safe to call from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  // For durations and deadlines.
  [[nodiscard]] virtual std::chrono::steady_clock::time_point now() const = 0;
  // For stamps that people read.
  [[nodiscard]] virtual std::chrono::system_clock::time_point wall() const = 0;
};

class SystemClock final : public Clock {
 public:
  [[nodiscard]] std::chrono::steady_clock::time_point now() const override {
    return std::chrono::steady_clock::now();
  }
  [[nodiscard]] std::chrono::system_clock::time_point wall() const override {
    return std::chrono::system_clock::now();
  }
};

}  // namespace qmasq
