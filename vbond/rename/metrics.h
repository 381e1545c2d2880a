// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "vbond/state/change.h"

namespace prometheus {
class Registry;
}

namespace qmasq::vbond {

class ConnectionTable;
class PeerMap;

// Metrics of this folder:
//   qmasq_vbond_rename_map_entries, _map_endpoints, _map_bytes   gauges, after each change of state
//   qmasq_vbond_rename_queue_pairs{state}                        gauge
//   qmasq_vbond_rename_connections                               gauge: QPs with a peer, and AHs
//   qmasq_vbond_rename_connects_total, qmasq_vbond_rename_disconnects_total
//   qmasq_vbond_rename_refusals_total{verb,errno}
//
// Register it behind the PeerMap among the observers of the state. Thread-safe.
class RenameMetrics final : public ChangeObserver {
 public:
  // Nothing is owned; `peers` must outlive this.
  RenameMetrics(prometheus::Registry& registry, const PeerMap& peers);
  ~RenameMetrics() override;

  void count_connect();
  void count_disconnect();
  void count_refusal(const char* verb, int err);
  void show(const ConnectionTable& connections);

  [[nodiscard]] Status check(const Change& change) override;
  void apply(const Change& change) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qmasq::vbond
