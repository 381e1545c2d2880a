// SPDX-License-Identifier: Apache-2.0
#include "vbond/rename/policy_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "common/metric_series.h"
#include "common/resource_name.h"
#include "vbond/rename/endpoint_table.h"

namespace qmasq::vbond {
namespace {

using conntrack::Admission;
using conntrack::Effect;

constexpr std::size_t kResults = 4;
constexpr std::array kResultNames = {"admitted", "forbidden", "gone", "limit"};

constexpr std::array kCauses = {Effect::Cause::kRules, Effect::Cause::kOwnGone,
                                Effect::Cause::kPeerGone, Effect::Cause::kPeerMoved};

const char* name_of(Effect::Cause cause) {
  switch (cause) {
    case Effect::Cause::kRules:
      return "rules";
    case Effect::Cause::kOwnGone:
      return "own-gone";
    case Effect::Cause::kPeerGone:
      return "peer-gone";
    case Effect::Cause::kPeerMoved:
      return "peer-moved";
  }
  return "unknown";
}

using Labels = MetricLabels;

Labels labels_of(const std::string& endpoint_name) {
  auto name = parse_endpoint_name(endpoint_name);
  if (!name) return {{"vpc", ""}, {"endpoint", ""}};
  return {{"vpc", name->vpc}, {"endpoint", name->endpoint}};
}

Labels with(Labels labels, const char* key, const char* value) {
  labels[key] = value;
  return labels;
}

using Counters = MetricSeries<prometheus::Counter>;

prometheus::Family<prometheus::Counter>& counters(prometheus::Registry& registry, const char* name,
                                                  const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

prometheus::Gauge& gauge(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({});
}

}  // namespace

struct PolicyMetrics::Impl {
  explicit Impl(prometheus::Registry& registry)
      : verdicts(counters(registry, "qmasq_vbond_conntrack_verdicts_total",
                          "What was said to connections that endpoints asked for.")),
        shadow_hits(counters(registry, "qmasq_vbond_conntrack_shadow_hits_total",
                             "Connections that a shadow rule would have decided.")),
        cuts(counters(registry, "qmasq_vbond_conntrack_cuts_total",
                      "Queue pairs put into the error state because a change forbids their "
                      "connection.")),
        narrowed(counters(registry, "qmasq_vbond_conntrack_narrowed_total",
                          "Queue pairs that got other access flags because a change says so.")),
        cut_seconds(
            prometheus::BuildHistogram()
                .Name("qmasq_vbond_conntrack_cut_seconds")
                .Help("From a change's arrival to the queue pair in the error state.")
                .Register(registry)
                .Add({}, prometheus::Histogram::BucketBoundaries{0.0001, 0.0003, 0.001, 0.003, 0.01,
                                                                 0.03, 0.1, 0.3, 1, 3})),
        reevaluations(counters(registry, "qmasq_vbond_conntrack_reevaluations_total",
                               "Connections that were looked at again after a change.")
                          .Add({})),
        connections(gauge(registry, "qmasq_vbond_conntrack_connections",
                          "Connections that are kept in step with the rules.")),
        groups(gauge(registry, "qmasq_vbond_conntrack_groups", "Security groups held.")),
        rules(gauge(registry, "qmasq_vbond_conntrack_rules", "Rules of the groups held.")) {}

  // One endpoint's counters, looked up once.
  struct Row {
    std::string name;  // "vpcs/blue/endpoints/a"
    std::array<Counters::Handle, kResults> verdicts;
    std::array<Counters::Handle, kCauses.size()> cuts;  // in the order of kCauses
    Counters::Handle shadow;
    Counters::Handle narrowed;
  };
  // REQUIRES: mutex held.
  Row& row(const LocalEndpoint& endpoint) {
    auto [it, fresh] = rows.try_emplace(endpoint.uid);
    if (!fresh) return it->second;
    // All at 0 before the first of them happens: a counter that appears at 1 has no rate.
    const Labels labels = labels_of(endpoint.name);
    Row& row = it->second;
    row.name = endpoint.name;
    for (std::size_t i = 0; i < kResults; ++i)
      row.verdicts[i] = verdicts.get(with(labels, "verdict", kResultNames[i]));
    row.shadow = shadow_hits.get(labels);
    for (std::size_t i = 0; i < kCauses.size(); ++i)
      row.cuts[i] = cuts.get(with(labels, "cause", name_of(kCauses[i])));
    row.narrowed = narrowed.get(labels);
    by_name[row.name] = endpoint.uid;
    return row;
  }
  // Null: it was never judged, or is gone. REQUIRES: mutex held.
  Row* find(const std::string& name) {
    auto found = by_name.find(name);
    return found == by_name.end() ? nullptr : &rows.at(found->second);
  }

  Counters verdicts;
  Counters shadow_hits;
  Counters cuts;
  Counters narrowed;
  prometheus::Histogram& cut_seconds;
  prometheus::Counter& reevaluations;
  prometheus::Gauge& connections;
  prometheus::Gauge& groups;
  prometheus::Gauge& rules;
  std::mutex mutex;  // guards all below
  std::unordered_map<EndpointUid, Row> rows;
  std::unordered_map<std::string, EndpointUid> by_name;
  // Cuts of endpoints that are gone: they come after forget(), and stay until the next one.
  std::map<Labels, Counters::Handle> late;
};

PolicyMetrics::PolicyMetrics(prometheus::Registry& registry)
    : impl_(std::make_unique<Impl>(registry)) {}
PolicyMetrics::~PolicyMetrics() = default;

void PolicyMetrics::count(const LocalEndpoint& endpoint, Admission::Result result) {
  std::lock_guard lock(impl_->mutex);
  impl_->row(endpoint).verdicts[static_cast<std::size_t>(result)]->Increment();
}

void PolicyMetrics::count_shadow(const LocalEndpoint& endpoint) {
  std::lock_guard lock(impl_->mutex);
  impl_->row(endpoint).shadow->Increment();
}

void PolicyMetrics::count_cut(const std::string& endpoint_name, Effect::Cause cause) {
  std::lock_guard lock(impl_->mutex);
  if (Impl::Row* row = impl_->find(endpoint_name)) {
    const auto at = std::find(kCauses.begin(), kCauses.end(), cause);
    if (at != kCauses.end()) row->cuts[static_cast<std::size_t>(at - kCauses.begin())]->Increment();
    return;
  }
  const Labels labels = with(labels_of(endpoint_name), "cause", name_of(cause));
  Counters::Handle& counter = impl_->late[labels];
  if (!counter) counter = impl_->cuts.get(labels);
  counter->Increment();
}

void PolicyMetrics::count_narrowed(const std::string& endpoint_name) {
  std::lock_guard lock(impl_->mutex);
  if (Impl::Row* row = impl_->find(endpoint_name)) row->narrowed->Increment();
}

void PolicyMetrics::observe_cuts(std::size_t count, std::chrono::nanoseconds took) {
  const double seconds = std::chrono::duration<double>(took).count();
  for (std::size_t i = 0; i < count; ++i)
    impl_->cut_seconds.Observe(seconds);
}

void PolicyMetrics::show(const conntrack::Tracker& tracker, const conntrack::GroupSets& sets) {
  const auto size = sets.size();
  impl_->connections.Set(static_cast<double>(tracker.size()));
  impl_->groups.Set(static_cast<double>(size.groups));
  impl_->rules.Set(static_cast<double>(size.rules));
  const auto looked = static_cast<double>(tracker.counters().looked_at_again);
  impl_->reevaluations.Increment(looked - impl_->reevaluations.Value());
}

void PolicyMetrics::forget(std::span<const EndpointUid> endpoints) {
  std::lock_guard lock(impl_->mutex);
  if (!endpoints.empty()) impl_->late.clear();
  for (EndpointUid endpoint : endpoints) {
    auto it = impl_->rows.find(endpoint);
    if (it == impl_->rows.end()) continue;
    auto named = impl_->by_name.find(it->second.name);
    if (named != impl_->by_name.end() && named->second == endpoint) impl_->by_name.erase(named);
    impl_->rows.erase(it);
  }
}

}  // namespace qmasq::vbond
