// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "qos/admission/verb_gate.h"

namespace qmasq::controller {

// A token bucket for each of many, by name. Forgets who was silent longest when there are too many:
// that one's bucket was full again, or the memory is worth more. Any thread.
class CallLimits {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::size_t kMost = 4096;

  // Nothing: go on. Otherwise refuse; after so long there is a token again.
  [[nodiscard]] std::optional<std::chrono::milliseconds> take(const std::string& name,
                                                              const qos::VerbRate& rate, Time now);

 private:
  struct Entry {
    std::string name;
    qos::TokenBucket bucket;
  };
  std::mutex mutex_;
  std::list<Entry> by_use_;  // the newest in front
  std::unordered_map<std::string, std::list<Entry>::iterator> by_name_;
};

}  // namespace qmasq::controller
