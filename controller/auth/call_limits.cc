// SPDX-License-Identifier: Apache-2.0
#include "controller/auth/call_limits.h"

#include <algorithm>

namespace qmasq::controller {

std::optional<std::chrono::milliseconds> CallLimits::take(const std::string& name,
                                                          const qos::VerbRate& rate, Time now) {
  std::lock_guard lock(mutex_);
  auto found = by_name_.find(name);
  if (found == by_name_.end()) {
    if (by_name_.size() >= kMost) {
      by_name_.erase(by_use_.back().name);
      by_use_.pop_back();
    }
    by_use_.push_front({name, qos::TokenBucket(rate, now)});
    found = by_name_.emplace(name, by_use_.begin()).first;
  } else {
    by_use_.splice(by_use_.begin(), by_use_, found->second);
  }
  qos::TokenBucket& bucket = found->second->bucket;
  if (bucket.rate() != rate) bucket.set_rate(rate, now);
  if (bucket.has(now)) {
    bucket.take();
    return std::nullopt;
  }
  return std::chrono::milliseconds(1000 / std::max<std::uint32_t>(rate.per_second, 1) + 1);
}

}  // namespace qmasq::controller
