// SPDX-License-Identifier: Apache-2.0
#include "vbond/join/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

namespace qmasq::vbond {

struct JoinMetrics::Families {
  explicit Families(prometheus::Registry& registry)
      : expiry(prometheus::BuildGauge()
                   .Name("qmasq_vbond_certificate_expire_time_seconds")
                   .Help("When the agent's certificate ends, Unix time; 0: it has none")
                   .Register(registry)
                   .Add({})),
        renewals(prometheus::BuildCounter()
                     .Name("qmasq_vbond_certificate_renewals_total")
                     .Help("Attempts to renew the agent's certificate")
                     .Register(registry)),
        renewed(renewals.Add({{"result", "renewed"}})),
        failed(renewals.Add({{"result", "failed"}})) {}

  prometheus::Gauge& expiry;
  prometheus::Family<prometheus::Counter>& renewals;
  prometheus::Counter& renewed;
  prometheus::Counter& failed;
};

JoinMetrics::JoinMetrics(prometheus::Registry& registry)
    : families_(std::make_unique<Families>(registry)) {}
JoinMetrics::~JoinMetrics() = default;

void JoinMetrics::set_expiry(std::chrono::system_clock::time_point time) {
  families_->expiry.Set(std::chrono::duration<double>(time.time_since_epoch()).count());
}

void JoinMetrics::count_renewal(bool renewed) {
  (renewed ? families_->renewed : families_->failed).Increment();
}

}  // namespace qmasq::vbond
