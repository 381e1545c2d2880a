// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "vbond/state/sync_state.h"

namespace prometheus {
class Registry;
}

namespace qmasq::vbond {

// qmasq_vbond_sync_connected          1 while the stream to the controller stands
// qmasq_vbond_sync_in_sync            1 once all state was here since the start
// qmasq_vbond_sync_held_revision      newest revision applied
// qmasq_vbond_sync_newest_revision    newest revision that the controller spoke of
// qmasq_vbond_sync_lag_revisions      difference of the two
// qmasq_vbond_sync_streams_total{result="opened"|"failed"}   attempts, by whether we were welcome
// qmasq_vbond_sync_batches_total{result="applied"|"rejected"}
// Thread-safe.
class SyncMetrics {
 public:
  explicit SyncMetrics(prometheus::Registry& registry);
  ~SyncMetrics();
  SyncMetrics(const SyncMetrics&) = delete;
  SyncMetrics& operator=(const SyncMetrics&) = delete;

  void set_status(const SyncStatus& status);
  void count_stream(bool opened);
  void count_batch(bool applied);

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

}  // namespace qmasq::vbond
