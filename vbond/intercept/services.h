// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>

#include "vbond/guard/guard.h"
#include "vbond/intercept/interceptor.h"
#include "vbond/intercept/metrics.h"
#include "vbond/intercept/options.h"

namespace qmasq::vbond {

class Attachment;
class Custody;
class Ledger;
class Tenancy;

// Holds up calls of programs that attached to an agent before this one until the controller's state
// is here; a program sees no more of a restart than a call that takes longer.
class StateGate {
 public:
  // False: it did not come in time (EAGAIN).
  [[nodiscard]] bool wait(const Attachment& attachment);
  void open();

 private:
  // From the start on.
  static constexpr std::chrono::seconds kPatience{30};
  const std::chrono::steady_clock::time_point until_ = std::chrono::steady_clock::now() + kPatience;
  std::atomic<bool> open_{false};
  std::mutex mutex_;
  std::condition_variable opened_;
};

// What every part of this folder works with. Owned by the Interceptor, outlives all of its threads.
struct Services {
  [[nodiscard]] Guard& guard() { return parts.guard != nullptr ? *parts.guard : no_guard; }

  Interceptor::Parts parts;
  InterceptOptions options;
  InterceptMetrics metrics;
  std::atomic<std::uint64_t> next_context{1};
  StateGate gate{};
  // Null: nothing survives.
  [[nodiscard]] Ledger* ledger() const {
    return parts.survival == nullptr ? nullptr : &parts.survival->ledger;
  }
  [[nodiscard]] Custody* custody() const {
    return parts.survival == nullptr ? nullptr : &parts.survival->custody;
  }
  // For a new context.
  [[nodiscard]] std::uint64_t context_number();
  // reclaim() of quota.h over all attachments, those that end included.
  std::function<void(const Tenancy& tenancy, bool all_of_vpc)> reclaim =
      [](const Tenancy& /*tenancy*/, bool /*all_of_vpc*/) {};
  NoGuard no_guard{};
};

}  // namespace qmasq::vbond
