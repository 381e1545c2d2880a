// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace prometheus {
class Registry;
}  // namespace prometheus

namespace qmasq::controller {

// The controller's metrics (docs/metrics.md). Any thread.
//
// qmasq_controller_rpc_requests_total{method,code}, qmasq_controller_rpc_seconds{method},
// qmasq_controller_revision, qmasq_controller_objects{kind}, qmasq_controller_hosts{state},
// qmasq_controller_sync_streams, qmasq_controller_sync_batches_total{kind},
// qmasq_controller_sync_sent_bytes_total, qmasq_controller_sync_rejects_total,
// qmasq_controller_sync_reports_refused_total, qmasq_controller_refused_total{code},
// qmasq_controller_rate_limited_total, qmasq_controller_audit_dropped_total,
// qmasq_controller_accesses, qmasq_controller_certificates,
// qmasq_controller_certificate_expiry_seconds{certificate}.
class ControllerMetrics {
 public:
  explicit ControllerMetrics(prometheus::Registry& registry);
  ControllerMetrics(const ControllerMetrics&) = delete;
  ControllerMetrics& operator=(const ControllerMetrics&) = delete;
  ~ControllerMetrics();

  void rpc(std::string_view method, std::string_view code, std::chrono::nanoseconds took);
  void set_revision(std::uint64_t revision);
  struct Objects {
    std::size_t vpcs = 0;
    std::size_t endpoints = 0;
    std::size_t hosts = 0;
    std::size_t groups = 0;
    std::size_t policies = 0;
  };
  void set_objects(const Objects& objects);
  void set_hosts(std::size_t never_joined, std::size_t online, std::size_t offline);
  void set_streams(std::size_t streams);
  void batch_sent(bool snapshot);
  void bytes_sent(std::size_t bytes);
  void batch_rejected();
  void report_refused();
  // By the gate; `code` as gRPC spells it.
  void refused(std::string_view code);
  void rate_limited();
  void audit_dropped();
  void set_callers(std::size_t accesses, std::size_t certificates);
  // "ca" or "server".
  void set_expiry(std::string_view certificate, std::chrono::system_clock::time_point time);

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

}  // namespace qmasq::controller
