// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <shared_mutex>
#include <thread>

namespace qmasq::vbond {

// A reader-writer lock for many readers and one writer: a reader takes the stripe of its thread,
// the writer takes all. Readers on different stripes touch no common cache line.
class BigReaderLock {
 public:
  [[nodiscard]] std::shared_lock<std::shared_mutex> read() const {
    thread_local const std::size_t stripe =
        std::hash<std::thread::id>{}(std::this_thread::get_id()) % kStripes;
    return std::shared_lock(stripes_[stripe].mutex);
  }
  // Lockable, for std::unique_lock. Stripes are always taken in the same order.
  void lock() {
    for (auto& stripe : stripes_)
      stripe.mutex.lock();
  }
  void unlock() {
    for (auto& stripe : stripes_)
      stripe.mutex.unlock();
  }

 private:
  static constexpr std::size_t kStripes = 16;
  struct alignas(64) Stripe {
    mutable std::shared_mutex mutex;
  };
  std::array<Stripe, kStripes> stripes_;
};

}  // namespace qmasq::vbond
