// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <memory>
#include <string>

#include "qos/admission/account.h"
#include "qos/admission/verb_gate.h"
#include "qos/policy.h"

namespace prometheus {
class Registry;
}

namespace qmasq::vbond {

// Metrics of this folder, by endpoint of this host and by VPC:
//   qmasq_vbond_quota_used, _limit{vpc,endpoint,resource}           gauges
//   qmasq_vbond_quota_pinned_bytes, _pinned_limit_bytes{vpc,endpoint}
//   qmasq_vbond_quota_refusals_total{vpc,endpoint,resource}
//   qmasq_vbond_quota_vpc_used, _vpc_limit{vpc,resource}
//   qmasq_vbond_quota_vpc_pinned_bytes, _vpc_pinned_limit_bytes{vpc}
//   qmasq_vbond_verb_rate_admissions_total{vpc,endpoint,verb,result}
//   qmasq_vbond_verb_rate_limit{vpc,endpoint,verb}
// A limit that does not exist has no gauge. Thread-safe, but a row is one owner's: its calls come
// one at a time.
class AdmissionMetrics {
 public:
  explicit AdmissionMetrics(prometheus::Registry& registry);
  ~AdmissionMetrics();

  // The metrics of one endpoint (or, with an empty endpoint id, of one VPC). They go with the row.
  class Row {
   public:
    Row(AdmissionMetrics& metrics, std::string vpc, std::string endpoint);
    ~Row();
    Row(const Row&) = delete;
    Row& operator=(const Row&) = delete;

    void show_used(const qos::Amounts& used);
    void show_limits(const qos::Quotas& limits);
    void show_rates(const qos::VerbRates& rates);  // endpoints only
    void count_refusal(qos::Resource resource);
    void count_verb(qos::VerbKind kind, bool admitted);

   private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
  };

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qmasq::vbond
