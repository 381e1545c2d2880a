// SPDX-License-Identifier: Apache-2.0
#include "controller/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <string>

namespace qmasq::controller {
namespace {

template <typename Builder>
auto& family(Builder builder, prometheus::Registry& registry, const char* name, const char* help) {
  return builder.Name(name).Help(help).Register(registry);
}

}  // namespace

struct ControllerMetrics::Families {
  explicit Families(prometheus::Registry& r)
      : requests(family(prometheus::BuildCounter(), r, "qmasq_controller_rpc_requests_total",
                        "Requests answered, by method and gRPC status code")),
        seconds(family(prometheus::BuildHistogram(), r, "qmasq_controller_rpc_seconds",
                       "Time to answer a request")),
        revision(family(prometheus::BuildGauge(), r, "qmasq_controller_revision",
                        "Newest revision of the state")
                     .Add({})),
        objects(family(prometheus::BuildGauge(), r, "qmasq_controller_objects",
                       "Objects in the store, by kind")),
        hosts(family(prometheus::BuildGauge(), r, "qmasq_controller_hosts",
                     "Hosts, by what is known of their agent")),
        streams(
            family(prometheus::BuildGauge(), r, "qmasq_controller_sync_streams", "Agents connected")
                .Add({})),
        batches(family(prometheus::BuildCounter(), r, "qmasq_controller_sync_batches_total",
                       "Batches sent to agents, in all their parts")),
        bytes(family(prometheus::BuildCounter(), r, "qmasq_controller_sync_sent_bytes_total",
                     "Bytes of messages sent to agents")
                  .Add({})),
        rejects(family(prometheus::BuildCounter(), r, "qmasq_controller_sync_rejects_total",
                       "Batches that an agent rejected")
                    .Add({})),
        refused(family(prometheus::BuildCounter(), r, "qmasq_controller_sync_reports_refused_total",
                       "Reports of a host about what does not belong to it")
                    .Add({})),
        denied(family(prometheus::BuildCounter(), r, "qmasq_controller_refused_total",
                      "Calls refused for who the caller is, by gRPC status code")),
        rate_limited(family(prometheus::BuildCounter(), r, "qmasq_controller_rate_limited_total",
                            "Calls refused because their caller made too many")
                         .Add({})),
        audit_dropped(family(prometheus::BuildCounter(), r, "qmasq_controller_audit_dropped_total",
                             "Refusals that were not recorded, because there were too many")
                          .Add({})),
        accesses(family(prometheus::BuildGauge(), r, "qmasq_controller_accesses",
                        "Accesses that are not revoked")
                     .Add({})),
        certificates(family(prometheus::BuildGauge(), r, "qmasq_controller_certificates",
                            "Client certificates that are neither revoked nor expired")
                         .Add({})),
        expiry(family(prometheus::BuildGauge(), r, "qmasq_controller_certificate_expiry_seconds",
                      "When the controller's own certificates expire, Unix time")) {}

  prometheus::Family<prometheus::Counter>& requests;
  prometheus::Family<prometheus::Histogram>& seconds;
  prometheus::Gauge& revision;
  prometheus::Family<prometheus::Gauge>& objects;
  prometheus::Family<prometheus::Gauge>& hosts;
  prometheus::Gauge& streams;
  prometheus::Family<prometheus::Counter>& batches;
  prometheus::Counter& bytes;
  prometheus::Counter& rejects;
  prometheus::Counter& refused;
  prometheus::Family<prometheus::Counter>& denied;
  prometheus::Counter& rate_limited;
  prometheus::Counter& audit_dropped;
  prometheus::Gauge& accesses;
  prometheus::Gauge& certificates;
  prometheus::Family<prometheus::Gauge>& expiry;
};

ControllerMetrics::ControllerMetrics(prometheus::Registry& registry)
    : families_(std::make_unique<Families>(registry)) {}

ControllerMetrics::~ControllerMetrics() = default;

void ControllerMetrics::rpc(std::string_view method, std::string_view code,
                            std::chrono::nanoseconds took) {
  static const prometheus::Histogram::BucketBoundaries bounds = {
      0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5};
  families_->requests.Add({{"method", std::string(method)}, {"code", std::string(code)}})
      .Increment();
  families_->seconds.Add({{"method", std::string(method)}}, bounds)
      .Observe(std::chrono::duration<double>(took).count());
}

void ControllerMetrics::set_revision(std::uint64_t revision) {
  families_->revision.Set(static_cast<double>(revision));
}

void ControllerMetrics::set_objects(const Objects& objects) {
  auto set = [&](const char* kind, std::size_t count) {
    families_->objects.Add({{"kind", kind}}).Set(static_cast<double>(count));
  };
  set("vpc", objects.vpcs);
  set("endpoint", objects.endpoints);
  set("host", objects.hosts);
  set("security_group", objects.groups);
  set("qos_policy", objects.policies);
}

void ControllerMetrics::set_hosts(std::size_t never_joined, std::size_t online,
                                  std::size_t offline) {
  auto set = [&](const char* state, std::size_t count) {
    families_->hosts.Add({{"state", state}}).Set(static_cast<double>(count));
  };
  set("never_joined", never_joined);
  set("online", online);
  set("offline", offline);
}

void ControllerMetrics::set_streams(std::size_t streams) {
  families_->streams.Set(static_cast<double>(streams));
}

void ControllerMetrics::batch_sent(bool snapshot) {
  families_->batches.Add({{"kind", snapshot ? "snapshot" : "delta"}}).Increment();
}

void ControllerMetrics::bytes_sent(std::size_t bytes) {
  families_->bytes.Increment(static_cast<double>(bytes));
}

void ControllerMetrics::batch_rejected() {
  families_->rejects.Increment();
}

void ControllerMetrics::report_refused() {
  families_->refused.Increment();
}

void ControllerMetrics::refused(std::string_view code) {
  families_->denied.Add({{"code", std::string(code)}}).Increment();
}

void ControllerMetrics::rate_limited() {
  families_->rate_limited.Increment();
}

void ControllerMetrics::audit_dropped() {
  families_->audit_dropped.Increment();
}

void ControllerMetrics::set_callers(std::size_t accesses, std::size_t certificates) {
  families_->accesses.Set(static_cast<double>(accesses));
  families_->certificates.Set(static_cast<double>(certificates));
}

void ControllerMetrics::set_expiry(std::string_view certificate,
                                   std::chrono::system_clock::time_point time) {
  families_->expiry.Add({{"certificate", std::string(certificate)}})
      .Set(std::chrono::duration<double>(time.time_since_epoch()).count());
}

}  // namespace qmasq::controller
