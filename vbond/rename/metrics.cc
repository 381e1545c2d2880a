// SPDX-License-Identifier: Apache-2.0
#include "vbond/rename/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <array>
#include <cstring>
#include <string>

#include "vbond/rename/connection_table.h"
#include "vbond/rename/peer_map.h"

namespace qmasq::vbond {
namespace {

prometheus::Gauge& gauge(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({});
}

prometheus::Counter& counter(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
}

// EHOSTUNREACH, not "No route to host": the same word as in events.
std::string errno_name(int err) {
  const char* name = strerrorname_np(err);
  return name != nullptr ? name : std::to_string(err);
}

}  // namespace

struct RenameMetrics::Impl {
  Impl(prometheus::Registry& registry, const PeerMap& map)
      : peers(map),
        entries(gauge(registry, "qmasq_vbond_rename_map_entries",
                      "VPC addresses that the agent can turn into physical ones.")),
        endpoints(
            gauge(registry, "qmasq_vbond_rename_map_endpoints", "Endpoints in the map of peers.")),
        bytes(gauge(registry, "qmasq_vbond_rename_map_bytes", "Memory behind the map of peers.")),
        connections(gauge(registry, "qmasq_vbond_rename_connections",
                          "Tenants' QPs that are connected to a peer, and address handles of UD.")),
        queue_pairs(prometheus::BuildGauge()
                        .Name("qmasq_vbond_rename_queue_pairs")
                        .Help("Tenants' QPs by the state they were last seen in.")
                        .Register(registry)),
        connects(counter(registry, "qmasq_vbond_rename_connects_total",
                         "QPs that were renamed and connected to a peer.")),
        disconnects(counter(registry, "qmasq_vbond_rename_disconnects_total",
                            "Connected QPs that were reset, destroyed or closed.")),
        refusals(prometheus::BuildCounter()
                     .Name("qmasq_vbond_rename_refusals_total")
                     .Help("Verbs refused while renaming, by verb and errno.")
                     .Register(registry)) {
    for (std::size_t i = 0; i < states.size(); ++i) {
      states[i] = &queue_pairs.Add({{"state", state_name(static_cast<uverbs::QpState>(i))}});
    }
  }

  const PeerMap& peers;
  prometheus::Gauge& entries;
  prometheus::Gauge& endpoints;
  prometheus::Gauge& bytes;
  prometheus::Gauge& connections;
  prometheus::Family<prometheus::Gauge>& queue_pairs;
  prometheus::Counter& connects;
  prometheus::Counter& disconnects;
  prometheus::Family<prometheus::Counter>& refusals;
  std::array<prometheus::Gauge*, 7> states{};
};

RenameMetrics::RenameMetrics(prometheus::Registry& registry, const PeerMap& peers)
    : impl_(std::make_unique<Impl>(registry, peers)) {}
RenameMetrics::~RenameMetrics() = default;

void RenameMetrics::count_connect() {
  impl_->connects.Increment();
}

void RenameMetrics::count_disconnect() {
  impl_->disconnects.Increment();
}

void RenameMetrics::count_refusal(const char* verb, int err) {
  impl_->refusals.Add({{"verb", verb}, {"errno", errno_name(err)}}).Increment();
}

void RenameMetrics::show(const ConnectionTable& connections) {
  ConnectionCounts counts = connections.counts();
  // Most of them stay as they are from one verb to the next, and looking costs less than setting.
  auto set = [](prometheus::Gauge& gauge, std::size_t count) {
    const auto value = static_cast<double>(count);
    if (gauge.Value() != value) gauge.Set(value);
  };
  set(impl_->connections, counts.connected);
  for (std::size_t i = 0; i < counts.by_state.size(); ++i)
    set(*impl_->states[i], counts.by_state[i]);
}

Status RenameMetrics::check(const Change& /*change*/) {
  return {};
}

void RenameMetrics::apply(const Change& /*change*/) {
  PeerMap::Size size = impl_->peers.size();
  impl_->entries.Set(static_cast<double>(size.entries));
  impl_->endpoints.Set(static_cast<double>(size.endpoints));
  impl_->bytes.Set(static_cast<double>(impl_->peers.memory_bytes()));
}

}  // namespace qmasq::vbond
