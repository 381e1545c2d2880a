// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "vbond/guard/guard.h"
#include "vbond/intercept/interceptor.h"
#include "vbond/intercept/metrics.h"
#include "vbond/intercept/options.h"

namespace qmasq::vbond {

class Tenancy;

// What every part of this folder works with. Owned by the Interceptor, outlives all of its threads.
struct Services {
  [[nodiscard]] Guard& guard() { return parts.guard != nullptr ? *parts.guard : no_guard; }

  Interceptor::Parts parts;
  InterceptOptions options;
  InterceptMetrics metrics;
  std::atomic<std::uint64_t> next_context{1};
  // reclaim() of quota.h over all attachments, those that end included.
  std::function<void(const Tenancy& tenancy, bool all_of_vpc)> reclaim =
      [](const Tenancy& /*tenancy*/, bool /*all_of_vpc*/) {};
  NoGuard no_guard{};
};

}  // namespace qmasq::vbond
