// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>
#include <set>
#include <vector>

#include "common/result.h"
#include "vbond/rename/endpoint_table.h"
#include "vbond/rename/nic_table.h"
#include "vbond/sysfs/gid_staging.h"

namespace qmasq::vbond {

// Keeps the files that stand for an endpoint's GIDs in sysfs as the endpoint and the NICs are now:
// first written when a program attaches, then rewritten with each change, removed with the
// endpoint. Thread-safe; writes files, so not for threads that must not wait.
class EndpointFiles {
 public:
  // Nothing is owned.
  EndpointFiles(GidStaging& staging, const EndpointTable& endpoints, const NicTable& nics)
      : staging_(staging), endpoints_(endpoints), nics_(nics) {}

  // Writes the files, and says what to bind over sysfs for a program of the endpoint.
  [[nodiscard]] Result<std::vector<StagedMount>> prepare(EndpointUid endpoint);
  // The endpoint changed or went. One that no program ever attached to has no files.
  void refresh(EndpointUid endpoint);
  // The NICs changed.
  void refresh_all();
  // All state is here: removes what an agent before us left for endpoints that are no more.
  void sweep();

 private:
  [[nodiscard]] Status stage(const LocalEndpoint& endpoint);  // REQUIRES: mutex_ held
  void refresh_locked(EndpointUid endpoint);
  [[nodiscard]] std::vector<StagedNic> staged_nics() const;

  GidStaging& staging_;
  const EndpointTable& endpoints_;
  const NicTable& nics_;
  std::mutex mutex_;
  std::set<EndpointUid> staged_;  // guarded by mutex_
};

}  // namespace qmasq::vbond
