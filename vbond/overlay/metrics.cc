// SPDX-License-Identifier: Apache-2.0
#include "vbond/overlay/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <array>

namespace qmasq::vbond {

struct OverlayMetrics::Impl {
  explicit Impl(prometheus::Registry& registry) {
    auto& objects = prometheus::BuildGauge()
                        .Name("qmasq_vbond_overlay_objects")
                        .Help("Kernel objects of the overlay that should be there and that are")
                        .Register(registry);
    constexpr std::array<const char*, kOverlayObjects> kNames = {"bridge", "vxlan", "port",
                                                                 "forwarding", "neighbour"};
    for (std::size_t i = 0; i < kOverlayObjects; ++i) {
      desired[i] = &objects.Add({{"kind", kNames[i]}, {"state", "desired"}});
      actual[i] = &objects.Add({{"kind", kNames[i]}, {"state", "actual"}});
    }
    auto& changes = prometheus::BuildCounter()
                        .Name("qmasq_vbond_overlay_changes_total")
                        .Help("Changes sent to the kernel, by result")
                        .Register(registry);
    done = &changes.Add({{"result", "ok"}});
    failed = &changes.Add({{"result", "error"}});
    faults = &prometheus::BuildGauge()
                  .Name("qmasq_vbond_overlay_faults")
                  .Help("Objects that are not as they should be now")
                  .Register(registry)
                  .Add({});
    auto& reconciles = prometheus::BuildCounter()
                           .Name("qmasq_vbond_overlay_reconciles_total")
                           .Help(
                               "Passes over the overlay: full compares with the kernel, delta "
                               "with what was put there last")
                           .Register(registry);
    full = &reconciles.Add({{"scope", "full"}});
    delta = &reconciles.Add({{"scope", "delta"}});
    last = &prometheus::BuildGauge()
                .Name("qmasq_vbond_overlay_last_reconcile_seconds")
                .Help("How long the last pass over the overlay took")
                .Register(registry)
                .Add({});
  }

  std::array<prometheus::Gauge*, kOverlayObjects> desired{};
  std::array<prometheus::Gauge*, kOverlayObjects> actual{};
  prometheus::Counter* done = nullptr;
  prometheus::Counter* failed = nullptr;
  prometheus::Gauge* faults = nullptr;
  prometheus::Counter* full = nullptr;
  prometheus::Counter* delta = nullptr;
  prometheus::Gauge* last = nullptr;
};

OverlayMetrics::OverlayMetrics(prometheus::Registry& registry)
    : impl_(std::make_unique<Impl>(registry)) {}
OverlayMetrics::~OverlayMetrics() = default;

void OverlayMetrics::set_objects(OverlayObject object, std::size_t desired, std::size_t actual) {
  auto i = static_cast<std::size_t>(object);
  impl_->desired[i]->Set(static_cast<double>(desired));
  impl_->actual[i]->Set(static_cast<double>(actual));
}

void OverlayMetrics::count_changes(std::size_t done, std::size_t failed) {
  impl_->done->Increment(static_cast<double>(done));
  impl_->failed->Increment(static_cast<double>(failed));
}

void OverlayMetrics::set_faults(std::size_t count) {
  impl_->faults->Set(static_cast<double>(count));
}

void OverlayMetrics::count_reconcile(bool full, std::chrono::duration<double> took) {
  (full ? impl_->full : impl_->delta)->Increment();
  impl_->last->Set(took.count());
}

}  // namespace qmasq::vbond
