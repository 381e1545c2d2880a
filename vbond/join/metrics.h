// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>

namespace prometheus {
class Registry;
}

namespace qmasq::vbond {

// qmasq_vbond_certificate_expire_time_seconds   Unix time; 0: there is none
// qmasq_vbond_certificate_renewals_total{result="renewed"|"failed"}
// Thread-safe.
class JoinMetrics {
 public:
  explicit JoinMetrics(prometheus::Registry& registry);
  ~JoinMetrics();
  JoinMetrics(const JoinMetrics&) = delete;
  JoinMetrics& operator=(const JoinMetrics&) = delete;

  void set_expiry(std::chrono::system_clock::time_point time);
  void count_renewal(bool renewed);

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

}  // namespace qmasq::vbond
