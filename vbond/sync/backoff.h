// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>

namespace qmasq::vbond {

// How long to wait before the next stream. Doubles up to `longest`, each time somewhere in the
// upper half, so that hosts that lost their controller together do not come back together. Pure;
// not thread-safe.
class Backoff {
 public:
  struct Options {
    std::chrono::milliseconds first{250};
    std::chrono::milliseconds longest{15'000};
    // After the controller refused us in a way that time alone seldom mends: another agent runs
    // under our host name, or it does not speak our protocol.
    std::chrono::milliseconds refused{60'000};
  };
  // `random`: a number in [0, 1).
  Backoff(Options options, std::function<double()> random);

  [[nodiscard]] std::chrono::milliseconds next();
  [[nodiscard]] std::chrono::milliseconds after_refusal();
  // All went well once.
  void reset();

 private:
  [[nodiscard]] std::chrono::milliseconds upper_half(std::chrono::milliseconds whole);

  const Options options_;
  const std::function<double()> random_;
  std::chrono::milliseconds whole_;
};

}  // namespace qmasq::vbond
