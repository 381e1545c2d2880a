// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "conntrack/tracker.h"

namespace prometheus {
class Registry;
}

namespace qmasq::vbond {

struct LocalEndpoint;

// Metrics of security groups:
//   qmasq_vbond_conntrack_verdicts_total{vpc,endpoint,verdict}   counter; verdict: admitted,
//                                          forbidden (by rules), gone, limit
//   qmasq_vbond_conntrack_shadow_hits_total{vpc,endpoint}        counter
//   qmasq_vbond_conntrack_cuts_total{vpc,endpoint,cause}         counter; cause: rules, own-gone,
//                                          peer-gone, peer-moved
//   qmasq_vbond_conntrack_narrowed_total{vpc,endpoint}           counter
//   qmasq_vbond_conntrack_cut_seconds      histogram, from the change's arrival at the agent to the
//                                          queue pair in the error state
//   qmasq_vbond_conntrack_reevaluations_total                    counter
//   qmasq_vbond_conntrack_connections, _groups, _rules           gauges
//
// vpc and endpoint are ids; only endpoints of this host are there, and they go with the endpoint.
// Thread-safe.
class PolicyMetrics {
 public:
  explicit PolicyMetrics(prometheus::Registry& registry);
  ~PolicyMetrics();

  void count(const LocalEndpoint& endpoint, conntrack::Admission::Result result);
  void count_shadow(const LocalEndpoint& endpoint);
  // `endpoint_name`: "vpcs/blue/endpoints/a".
  void count_cut(const std::string& endpoint_name, conntrack::Effect::Cause cause);
  void count_narrowed(const std::string& endpoint_name);
  void observe_cuts(std::size_t count, std::chrono::nanoseconds took);
  void show(const conntrack::Tracker& tracker, const conntrack::GroupSets& sets);
  // Endpoints that are not of this host any more. What is cut of them after that is shown until the
  // next ones go.
  void forget(std::span<const EndpointUid> endpoints);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qmasq::vbond
