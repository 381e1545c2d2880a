// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <unordered_set>
#include <vector>

#include "vbond/intercept/metrics.h"
#include "vbond/uverbs/qp.h"

namespace qmasq::vbond {

// The queue pairs of one context that are known to exist, by the kernel's handles, and on hardware
// NICs the types of those that the tenant is about to make (executor.h). Counts them in
// qmasq_vbond_queue_pairs. Guarded by the context's mutex, but for size().
class QueuePairs {
 public:
  explicit QueuePairs(InterceptMetrics& metrics) : metrics_(metrics) {}

  [[nodiscard]] bool contains(std::uint32_t handle) const { return handles_.contains(handle); }
  [[nodiscard]] const std::unordered_set<std::uint32_t>& handles() const { return handles_; }
  // Any thread, for those who must not wait for a verb.
  [[nodiscard]] std::size_t size() const { return size_.load(std::memory_order_relaxed); }

  // No effect where it is known already; where it is not known.
  void add(std::uint32_t handle);
  void remove(std::uint32_t handle);
  void clear();

  // Creation of one of this type was let run; its handle is not known. Of very many the oldest are
  // forgotten: a tenant can ask and never use what it gets.
  void expect(uverbs::QpType type);
  // The type of one whose handle is new: what is expected, where all that are expected agree.
  [[nodiscard]] uverbs::QpType take_expected();

 private:
  void count();

  InterceptMetrics& metrics_;
  std::unordered_set<std::uint32_t> handles_;
  std::vector<uverbs::QpType> expected_;
  std::atomic<std::size_t> size_{0};
};

}  // namespace qmasq::vbond
