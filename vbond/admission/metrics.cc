// SPDX-License-Identifier: Apache-2.0
#include "vbond/admission/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <utility>

#include "common/metric_series.h"

namespace qmasq::vbond {
namespace {

using Labels = MetricLabels;
using Gauges = MetricSeries<prometheus::Gauge>;
using Counters = MetricSeries<prometheus::Counter>;

prometheus::Family<prometheus::Gauge>& gauges(prometheus::Registry& registry, const char* name,
                                              const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}
prometheus::Family<prometheus::Counter>& counters(prometheus::Registry& registry, const char* name,
                                                  const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

Labels with(Labels labels, const char* key, const char* value) {
  labels[key] = value;
  return labels;
}

// A gauge that is there only while it has a value.
struct Optional {
  Gauges* family = nullptr;
  Labels labels;
  Gauges::Handle gauge;

  void show(const std::optional<std::uint64_t>& value) {
    if (!value) {
      gauge.reset();
      return;
    }
    if (!gauge) gauge = family->get(labels);
    gauge->Set(static_cast<double>(*value));
  }
};

constexpr auto kPinned = static_cast<std::size_t>(qos::Resource::kPinnedBytes);

}  // namespace

struct AdmissionMetrics::Impl {
  explicit Impl(prometheus::Registry& registry)
      : used(gauges(registry, "qmasq_vbond_quota_used",
                    "Objects that an endpoint has on this host.")),
        limit(gauges(registry, "qmasq_vbond_quota_limit",
                     "Objects that an endpoint may have by its own policy.")),
        pinned(gauges(registry, "qmasq_vbond_quota_pinned_bytes",
                      "Memory of an endpoint's memory regions, in whole pages.")),
        pinned_limit(gauges(registry, "qmasq_vbond_quota_pinned_limit_bytes",
                            "Memory that an endpoint's memory regions may have.")),
        vpc_used(gauges(registry, "qmasq_vbond_quota_vpc_used",
                        "Objects that the endpoints of a VPC have on this host.")),
        vpc_limit(gauges(registry, "qmasq_vbond_quota_vpc_limit",
                         "Objects that the endpoints of a VPC may have on this host.")),
        vpc_pinned(gauges(registry, "qmasq_vbond_quota_vpc_pinned_bytes",
                          "Memory of the memory regions of a VPC on this host, in whole pages.")),
        vpc_pinned_limit(gauges(registry, "qmasq_vbond_quota_vpc_pinned_limit_bytes",
                                "Memory that the memory regions of a VPC may have on this host.")),
        refusals(counters(registry, "qmasq_vbond_quota_refusals_total",
                          "Calls refused because of a quota (EDQUOT).")),
        admissions(counters(registry, "qmasq_vbond_verb_rate_admissions_total",
                            "Calls that a verb rate was asked for, by what it said.")),
        rate_limit(gauges(registry, "qmasq_vbond_verb_rate_limit",
                          "Calls a second that an endpoint's policy allows.")) {}

  Gauges used;
  Gauges limit;
  Gauges pinned;
  Gauges pinned_limit;
  Gauges vpc_used;
  Gauges vpc_limit;
  Gauges vpc_pinned;
  Gauges vpc_pinned_limit;
  Counters refusals;
  Counters admissions;
  Gauges rate_limit;
};

AdmissionMetrics::AdmissionMetrics(prometheus::Registry& registry)
    : impl_(std::make_unique<Impl>(registry)) {}
AdmissionMetrics::~AdmissionMetrics() = default;

struct AdmissionMetrics::Row::Impl {
  Impl(AdmissionMetrics::Impl& all_in, Labels labels_in, bool of_vpc)
      : all(all_in), labels(std::move(labels_in)), endpoint(!of_vpc) {
    for (std::size_t i = 0; i < qos::kResources; ++i) {
      if (i == kPinned) {
        used[i] = {of_vpc ? &all.vpc_pinned : &all.pinned, labels, {}};
        limits[i] = {of_vpc ? &all.vpc_pinned_limit : &all.pinned_limit, labels, {}};
      } else {
        const Labels mine = with(labels, "resource", to_string(static_cast<qos::Resource>(i)));
        used[i] = {of_vpc ? &all.vpc_used : &all.used, mine, {}};
        limits[i] = {of_vpc ? &all.vpc_limit : &all.limit, mine, {}};
      }
    }
    // From 0 on, so that a first refusal is seen as one.
    for (std::size_t i = 0; endpoint && i < qos::kResources; ++i) {
      refusals[i] =
          all.refusals.get(with(labels, "resource", to_string(static_cast<qos::Resource>(i))));
    }
    for (std::size_t i = 0; i < qos::kVerbKinds; ++i) {
      rates[i] = {
          &all.rate_limit, with(labels, "verb", to_string(static_cast<qos::VerbKind>(i))), {}};
    }
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  AdmissionMetrics::Impl& all;
  const Labels labels;
  const bool endpoint;
  std::array<Optional, qos::kResources> used;
  std::array<Optional, qos::kResources> limits;
  std::array<Optional, qos::kVerbKinds> rates;
  std::array<Counters::Handle, qos::kResources> refusals;
  std::array<std::array<Counters::Handle, 2>, qos::kVerbKinds> verbs;
};

AdmissionMetrics::Row::Row(AdmissionMetrics& metrics, std::string vpc, std::string endpoint) {
  const bool of_vpc = endpoint.empty();
  Labels labels{{"vpc", std::move(vpc)}};
  if (!of_vpc) labels["endpoint"] = std::move(endpoint);
  impl_ = std::make_unique<Impl>(*metrics.impl_, std::move(labels), of_vpc);
}
AdmissionMetrics::Row::~Row() = default;

void AdmissionMetrics::Row::show_used(const qos::Amounts& used) {
  for (std::size_t i = 0; i < qos::kResources; ++i)
    impl_->used[i].show(used[i]);
}

void AdmissionMetrics::Row::show_limits(const qos::Quotas& limits) {
  for (std::size_t i = 0; i < qos::kResources; ++i)
    impl_->limits[i].show(limits.limits[i]);
}

void AdmissionMetrics::Row::show_rates(const qos::VerbRates& rates) {
  if (!impl_->endpoint) return;
  for (std::size_t i = 0; i < qos::kVerbKinds; ++i) {
    const auto& rate = rates.rates[i];
    impl_->rates[i].show(rate ? std::optional<std::uint64_t>(rate->per_second) : std::nullopt);
  }
}

void AdmissionMetrics::Row::count_refusal(qos::Resource resource) {
  if (!impl_->endpoint) return;
  impl_->refusals[static_cast<std::size_t>(resource)]->Increment();
}

void AdmissionMetrics::Row::count_verb(qos::VerbKind kind, bool admitted) {
  if (!impl_->endpoint) return;
  auto& counter = impl_->verbs[static_cast<std::size_t>(kind)][admitted ? 1 : 0];
  if (!counter) {
    counter = impl_->all.admissions.get(with(with(impl_->labels, "verb", to_string(kind)), "result",
                                             admitted ? "admitted" : "refused"));
  }
  counter->Increment();
}

}  // namespace qmasq::vbond
