// SPDX-License-Identifier: Apache-2.0
#include "vbond/nic/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

namespace qmasq::vbond {

struct NicMetrics::Families {
  explicit Families(prometheus::Registry& registry)
      : devices(prometheus::BuildGauge()
                    .Name("qmasq_vbond_nic_devices")
                    .Help("RDMA devices that the agent may use, by port state")
                    .Register(registry)),
        active(devices.Add({{"state", "active"}})),
        down(devices.Add({{"state", "down"}})),
        usable(prometheus::BuildGauge()
                   .Name("qmasq_vbond_nic_usable")
                   .Help("RDMA devices that are active and have a RoCE v2 GID of the underlay "
                         "address")
                   .Register(registry)
                   .Add({})),
        changes(prometheus::BuildCounter()
                    .Name("qmasq_vbond_nic_changes_total")
                    .Help("RDMA devices that appeared or went")
                    .Register(registry)),
        found(changes.Add({{"change", "found"}})),
        lost(changes.Add({{"change", "lost"}})) {}

  prometheus::Family<prometheus::Gauge>& devices;
  prometheus::Gauge& active;
  prometheus::Gauge& down;
  prometheus::Gauge& usable;
  prometheus::Family<prometheus::Counter>& changes;
  prometheus::Counter& found;
  prometheus::Counter& lost;
};

NicMetrics::NicMetrics(prometheus::Registry& registry)
    : families_(std::make_unique<Families>(registry)) {}
NicMetrics::~NicMetrics() = default;

void NicMetrics::set_devices(std::size_t active, std::size_t down, std::size_t usable) {
  families_->active.Set(static_cast<double>(active));
  families_->down.Set(static_cast<double>(down));
  families_->usable.Set(static_cast<double>(usable));
}

void NicMetrics::count_found() {
  families_->found.Increment();
}

void NicMetrics::count_lost() {
  families_->lost.Increment();
}

}  // namespace qmasq::vbond
