// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace prometheus {
class Gauge;
class Registry;
}  // namespace prometheus

namespace qmasq::vbond {

// qmasq_vbond_guard_on: 1 while the guard holds, 0 where it is off or broken. Thread-safe.
// (Violations are counted by vbond/intercept/metrics.h.)
class GuardMetrics {
 public:
  explicit GuardMetrics(prometheus::Registry& registry);
  // As Guard::describe() says it.
  void show(const std::string& state);

 private:
  prometheus::Gauge& on_;
};

}  // namespace qmasq::vbond
