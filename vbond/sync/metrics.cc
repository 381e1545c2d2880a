// SPDX-License-Identifier: Apache-2.0
#include "vbond/sync/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

namespace qmasq::vbond {
namespace {

prometheus::Gauge& gauge(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({});
}

}  // namespace

struct SyncMetrics::Families {
  explicit Families(prometheus::Registry& registry)
      : connected(gauge(registry, "qmasq_vbond_sync_connected",
                        "1 while the stream to the controller stands")),
        in_sync(gauge(registry, "qmasq_vbond_sync_in_sync",
                      "1 once all state was here since the agent started")),
        held(gauge(registry, "qmasq_vbond_sync_held_revision", "Newest revision applied")),
        newest(gauge(registry, "qmasq_vbond_sync_newest_revision",
                     "Newest revision that the controller spoke of")),
        lag(gauge(registry, "qmasq_vbond_sync_lag_revisions",
                  "Newest revision less the one that is applied")),
        streams(prometheus::BuildCounter()
                    .Name("qmasq_vbond_sync_streams_total")
                    .Help("Attempts to open a stream to the controller")
                    .Register(registry)),
        opened(streams.Add({{"result", "opened"}})),
        failed(streams.Add({{"result", "failed"}})),
        batches(prometheus::BuildCounter()
                    .Name("qmasq_vbond_sync_batches_total")
                    .Help("Batches of changes from the controller")
                    .Register(registry)),
        applied(batches.Add({{"result", "applied"}})),
        rejected(batches.Add({{"result", "rejected"}})) {}

  prometheus::Gauge& connected;
  prometheus::Gauge& in_sync;
  prometheus::Gauge& held;
  prometheus::Gauge& newest;
  prometheus::Gauge& lag;
  prometheus::Family<prometheus::Counter>& streams;
  prometheus::Counter& opened;
  prometheus::Counter& failed;
  prometheus::Family<prometheus::Counter>& batches;
  prometheus::Counter& applied;
  prometheus::Counter& rejected;
};

SyncMetrics::SyncMetrics(prometheus::Registry& registry)
    : families_(std::make_unique<Families>(registry)) {}
SyncMetrics::~SyncMetrics() = default;

void SyncMetrics::set_status(const SyncStatus& status) {
  auto held = static_cast<double>(status.held.value);
  auto newest = static_cast<double>(status.newest.value);
  families_->connected.Set(status.connected ? 1 : 0);
  families_->in_sync.Set(status.in_sync ? 1 : 0);
  families_->held.Set(held);
  families_->newest.Set(newest);
  families_->lag.Set(newest > held ? newest - held : 0);
}

void SyncMetrics::count_stream(bool opened) {
  (opened ? families_->opened : families_->failed).Increment();
}

void SyncMetrics::count_batch(bool applied) {
  (applied ? families_->applied : families_->rejected).Increment();
}

}  // namespace qmasq::vbond
