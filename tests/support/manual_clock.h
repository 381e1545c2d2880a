// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

#include "common/clock.h"

namespace qmasq::testing {

// A clock that moves only when told. Any thread.
class ManualClock final : public Clock {
 public:
  [[nodiscard]] std::chrono::steady_clock::time_point now() const override {
    return std::chrono::steady_clock::time_point(std::chrono::microseconds(micros_.load()));
  }
  [[nodiscard]] std::chrono::system_clock::time_point wall() const override {
    return std::chrono::system_clock::time_point(std::chrono::microseconds(micros_.load()));
  }
  void advance(std::chrono::microseconds by) { micros_ += by.count(); }

 private:
  // Some day in 2023: a zero would hide mistakes.
  std::atomic<std::int64_t> micros_{1'700'000'000'000'000};
};

}  // namespace qmasq::testing
