// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>

namespace prometheus {
class Registry;
}

namespace qmasq::vbond {

enum class OverlayObject { kBridge, kVxlan, kPort, kForwarding, kNeighbour };
inline constexpr std::size_t kOverlayObjects = 5;

// Declared once for each registry; docs/metrics.md has the list. Any thread.
class OverlayMetrics {
 public:
  explicit OverlayMetrics(prometheus::Registry& registry);
  ~OverlayMetrics();

  void set_objects(OverlayObject object, std::size_t desired, std::size_t actual);
  void count_changes(std::size_t done, std::size_t failed);
  void set_faults(std::size_t count);
  void count_reconcile(bool full, std::chrono::duration<double> took);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qmasq::vbond
