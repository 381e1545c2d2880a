// SPDX-License-Identifier: Apache-2.0
#include "vbond/survival/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <string>

namespace qmasq::vbond {
namespace {

using Gauges = prometheus::Family<prometheus::Gauge>;

Gauges& gauges(prometheus::Registry& registry, const std::string& name, const std::string& help) {
  return prometheus::BuildGauge().Name("qmasq_vbond_" + name).Help(help).Register(registry);
}

}  // namespace

struct SurvivalMetrics::Families {
  explicit Families(prometheus::Registry& registry)
      : keeper_up(gauges(registry, "keeper_up", "1: what the agent has open outlives it").Add({})),
        descriptors(gauges(registry, "keeper_descriptors",
                           "Descriptors that are to outlive the agent, and those that the keeper "
                           "holds")),
        wanted(descriptors.Add({{"state", "wanted"}})),
        held(descriptors.Add({{"state", "held"}})),
        journal_up(gauges(registry, "journal_up", "1: the disk takes the journal").Add({})),
        waiting(gauges(registry, "journal_waiting", "Rows of the journal that are not on the disk")
                    .Add({})),
        lost(prometheus::BuildCounter()
                 .Name("qmasq_vbond_journal_lost_total")
                 .Help("Rows of the journal that neither memory nor disk had room for")
                 .Register(registry)
                 .Add({})),
        restored(gauges(registry, "restored", "What this agent took over when it started")),
        programs(restored.Add({{"what", "programs"}})),
        contexts(restored.Add({{"what", "contexts"}})),
        queue_pairs(restored.Add({{"what", "queue_pairs"}})) {}

  prometheus::Gauge& keeper_up;
  Gauges& descriptors;
  prometheus::Gauge& wanted;
  prometheus::Gauge& held;
  prometheus::Gauge& journal_up;
  prometheus::Gauge& waiting;
  prometheus::Counter& lost;
  Gauges& restored;
  prometheus::Gauge& programs;
  prometheus::Gauge& contexts;
  prometheus::Gauge& queue_pairs;
};

SurvivalMetrics::SurvivalMetrics(prometheus::Registry& registry)
    : families_(std::make_unique<Families>(registry)) {}
SurvivalMetrics::~SurvivalMetrics() = default;

void SurvivalMetrics::set_keeper(bool up, std::size_t wanted, std::size_t held) {
  families_->keeper_up.Set(up ? 1 : 0);
  families_->wanted.Set(static_cast<double>(wanted));
  families_->held.Set(static_cast<double>(held));
}

void SurvivalMetrics::set_journal(bool up, std::size_t waiting, std::uint64_t lost) {
  families_->journal_up.Set(up ? 1 : 0);
  families_->waiting.Set(static_cast<double>(waiting));
  const double more = static_cast<double>(lost) - families_->lost.Value();
  if (more > 0) families_->lost.Increment(more);
}

void SurvivalMetrics::set_restored(std::size_t programs, std::size_t contexts,
                                   std::size_t queue_pairs) {
  families_->programs.Set(static_cast<double>(programs));
  families_->contexts.Set(static_cast<double>(contexts));
  families_->queue_pairs.Set(static_cast<double>(queue_pairs));
}

}  // namespace qmasq::vbond
