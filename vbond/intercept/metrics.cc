// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <array>
#include <string>
#include <vector>

namespace qmasq::vbond {
namespace {

const prometheus::Histogram::BucketBoundaries kSeconds = {
    2e-6, 5e-6, 10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 5e-3, 20e-3, 100e-3, 1.0};

prometheus::Gauge& gauge(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({});
}

prometheus::Counter& counter(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
}

}  // namespace

const char* to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::kExecuted:
      return "executed";
    case Outcome::kAnswered:
      return "answered";
    case Outcome::kPassed:
      return "passed";
    case Outcome::kRefused:
      return "refused";
    case Outcome::kFailed:
      return "failed";
    case Outcome::kGone:
      return "gone";
  }
  return "unknown";
}

const char* to_string(OtherCall call) {
  switch (call) {
    case OtherCall::kOpen:
      return "OPEN";
    case OtherCall::kDoorbell:
      return "DOORBELL";
    case OtherCall::kWrite:
      return "WRITE";
    case OtherCall::kUndecodable:
      return "UNDECODABLE";
    case OtherCall::kForeign:
      return "FOREIGN_DEVICE";
  }
  return "unknown";
}

struct InterceptMetrics::Impl {
  struct Row {
    std::array<prometheus::Counter*, kOutcomes> by_outcome{};
    prometheus::Histogram* seconds = nullptr;
  };

  explicit Impl(prometheus::Registry& registry)
      : attachments(
            gauge(registry, "qmasq_vbond_attachments", "Programs under the agent's filter")),
        unsealed(gauge(registry, "qmasq_vbond_attachments_unsealed",
                       "Programs whose verbs the kernel reads from their own memory")),
        contexts(gauge(registry, "qmasq_vbond_contexts", "Verbs devices open for tenants")),
        queue_pairs(gauge(registry, "qmasq_vbond_queue_pairs", "Queue pairs of tenants")),
        receivers(gauge(registry, "qmasq_vbond_receivers", "Threads that serve attachments")),
        opened(counter(registry, "qmasq_vbond_contexts_opened_total",
                       "Verbs devices opened for tenants")),
        abandoned(counter(registry, "qmasq_vbond_contexts_abandoned_total",
                          "Contexts closed because no process held them any more")),
        scans(counter(registry, "qmasq_vbond_holder_scans_total",
                      "Searches of all descriptor tables for holders of contexts")),
        scan_seconds(counter(registry, "qmasq_vbond_holder_scan_seconds_total",
                             "Time spent in these searches")),
        violations(prometheus::BuildCounter()
                       .Name("qmasq_vbond_guard_violations_total")
                       .Help("Verb calls that the agent had not let run; the program was ended")
                       .Register(registry)) {
    for (const char* what :
         {"method", "command", "write", "modify_qp", "create_ah", "create_qp", "open"})
      violations.Add({{"what", what}});
    auto& verbs = prometheus::BuildCounter()
                      .Name("qmasq_vbond_verbs_total")
                      .Help("Calls of tenants by what became of them")
                      .Register(registry);
    auto& seconds = prometheus::BuildHistogram()
                        .Name("qmasq_vbond_verb_seconds")
                        .Help("Time from the agent's waking to its answer")
                        .Register(registry);
    auto add_row = [&](const std::string& name) {
      Row row;
      for (std::size_t i = 0; i < kOutcomes; ++i) {
        // The forms of one verb share a name; Add() gives the same counter then.
        row.by_outcome[i] =
            &verbs.Add({{"verb", name}, {"verdict", to_string(static_cast<Outcome>(i))}});
      }
      row.seconds = &seconds.Add({{"verb", name}}, kSeconds);
      rows.push_back(row);
    };
    for (const uverbs::Verb& verb : uverbs::all_verbs())
      add_row(std::string(verb.name));
    for (std::size_t i = 0; i < kOtherCalls; ++i)
      add_row(to_string(static_cast<OtherCall>(i)));
  }

  std::vector<Row> rows;
  prometheus::Gauge& attachments;
  prometheus::Gauge& unsealed;
  prometheus::Gauge& contexts;
  prometheus::Gauge& queue_pairs;
  prometheus::Gauge& receivers;
  prometheus::Counter& opened;
  prometheus::Counter& abandoned;
  prometheus::Counter& scans;
  prometheus::Counter& scan_seconds;
  prometheus::Family<prometheus::Counter>& violations;
};

InterceptMetrics::InterceptMetrics(prometheus::Registry& registry)
    : impl_(std::make_unique<Impl>(registry)) {}
InterceptMetrics::~InterceptMetrics() = default;

std::size_t InterceptMetrics::row(const uverbs::Verb& verb) {
  return static_cast<std::size_t>(&verb - uverbs::all_verbs().data());
}
std::size_t InterceptMetrics::row(OtherCall call) {
  return uverbs::all_verbs().size() + static_cast<std::size_t>(call);
}

void InterceptMetrics::count(std::size_t row, Outcome outcome, std::chrono::nanoseconds took) {
  const Impl::Row& at = impl_->rows[row];
  at.by_outcome[static_cast<std::size_t>(outcome)]->Increment();
  at.seconds->Observe(std::chrono::duration<double>(took).count());
}

void InterceptMetrics::add_attachments(int count) {
  impl_->attachments.Increment(count);
}
void InterceptMetrics::add_unsealed(int count) {
  impl_->unsealed.Increment(count);
}
void InterceptMetrics::add_contexts(int count) {
  impl_->contexts.Increment(count);
  if (count > 0) impl_->opened.Increment(count);
}
void InterceptMetrics::add_queue_pairs(int count) {
  impl_->queue_pairs.Increment(count);
}
void InterceptMetrics::add_receivers(int count) {
  impl_->receivers.Increment(count);
}
void InterceptMetrics::count_abandoned() {
  impl_->abandoned.Increment();
}
void InterceptMetrics::count_violation(const char* what) {
  impl_->violations.Add({{"what", what}}).Increment();
}
void InterceptMetrics::count_scan(std::chrono::nanoseconds took) {
  impl_->scans.Increment();
  impl_->scan_seconds.Increment(std::chrono::duration<double>(took).count());
}

}  // namespace qmasq::vbond
