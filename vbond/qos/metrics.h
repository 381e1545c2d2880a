// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "vbond/qos/nic_limiter.h"

namespace prometheus {
class Registry;
}

namespace qmasq::vbond {

// Metrics of limits, as docs/metrics.md has them in "vBond: QoS":
//   qmasq_vbond_qos_egress_bytes_total, _egress_packets_total, _drops_total, _overlimits_total,
//   _throttled_seconds_total {vpc,endpoint,nic}               counters
//   qmasq_vbond_qos_backlog_bytes{vpc,endpoint,nic}           gauge
//   qmasq_vbond_qos_limit_bytes_per_second{vpc,endpoint,nic,limit}   gauge
//   qmasq_vbond_qos_limits_enforced{vpc,endpoint,nic,backend}        gauge
//   the same as qmasq_vbond_qos_vpc_...{vpc,nic}, without backlog
//   qmasq_vbond_qos_other_egress_bytes_total{nic}, _nic_egress_bytes_total{nic}   counters
//   qmasq_vbond_qos_nic_rate_bytes_per_second{nic}, _nic_guaranteed_bytes_per_second{nic}
//   qmasq_vbond_qos_nodes{nic,state}                          gauge
//   qmasq_vbond_qos_steps_total{nic,result}                   counter
//   qmasq_vbond_qos_program_seconds                           histogram
//   qmasq_vbond_nic_hw_events_total{nic,counter}             counter
//
// vpc and endpoint are ids. Series go with the endpoint, the VPC, the NIC. From one thread.
class QosMetrics {
 public:
  explicit QosMetrics(prometheus::Registry& registry);
  ~QosMetrics();
  QosMetrics(const QosMetrics&) = delete;
  QosMetrics& operator=(const QosMetrics&) = delete;

  // All there is of the NIC; what was shown of it and is not in `state` goes.
  void show(const NicState& state);
  void show_hw(const std::string& nic, const std::map<std::string, std::uint64_t>& counters);
  void forget(const std::string& nic);
  void count_steps(const std::string& nic, std::size_t ok, std::size_t failed);
  void observe_program(std::chrono::nanoseconds took);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qmasq::vbond
