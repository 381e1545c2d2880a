// SPDX-License-Identifier: Apache-2.0
#include "vbond/guard/metrics.h"

#include <prometheus/gauge.h>
#include <prometheus/registry.h>

namespace qmasq::vbond {

GuardMetrics::GuardMetrics(prometheus::Registry& registry)
    : on_(prometheus::BuildGauge()
              .Name("qmasq_vbond_guard_on")
              .Help("1 while programs cannot change a verb behind the agent's back")
              .Register(registry)
              .Add({})) {}

void GuardMetrics::show(const std::string& state) {
  on_.Set(state == "on" ? 1 : 0);
}

}  // namespace qmasq::vbond
