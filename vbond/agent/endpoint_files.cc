// SPDX-License-Identifier: Apache-2.0
#include "vbond/agent/endpoint_files.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace qmasq::vbond {

std::vector<StagedNic> EndpointFiles::staged_nics() const {
  std::vector<StagedNic> out;
  for (const NicPtr& nic : nics_.list())
    out.push_back({nic->device, nic->port});
  return out;
}

Status EndpointFiles::stage(const LocalEndpoint& endpoint) {
  StagedEndpoint staged;
  staged.uid = endpoint.uid;
  staged.gids = endpoint.gids;
  staged.guid = endpoint.guid;
  staged.interface = endpoint.interface;
  return staging_.stage(staged, staged_nics());
}

Result<std::vector<StagedMount>> EndpointFiles::prepare(EndpointUid endpoint) {
  std::lock_guard lock(mutex_);
  EndpointPtr found = endpoints_.find(endpoint);
  if (!found) return fail(Code::kNotFound, "the endpoint was deleted or moved to another host");
  // Noted before it is written: what fails half way is removed with the endpoint too.
  staged_.insert(endpoint);
  QMASQ_TRY(stage(*found));
  return staging_.mounts(endpoint, staged_nics());
}

void EndpointFiles::refresh(EndpointUid endpoint) {
  std::lock_guard lock(mutex_);
  if (staged_.count(endpoint) != 0) refresh_locked(endpoint);
}

void EndpointFiles::refresh_all() {
  std::lock_guard lock(mutex_);
  auto all = staged_;
  for (EndpointUid endpoint : all)
    refresh_locked(endpoint);
}

void EndpointFiles::refresh_locked(EndpointUid endpoint) {
  EndpointPtr found = endpoints_.find(endpoint);
  Status status = found ? stage(*found) : staging_.remove(endpoint);
  if (!found) staged_.erase(endpoint);
  if (!status) {
    spdlog::warn("GID files of {}: {}",
                 found ? found->name : fmt::format("endpoint uid {}", endpoint.value),
                 status.error().message);
  }
}

void EndpointFiles::sweep() {
  std::lock_guard lock(mutex_);
  std::vector<EndpointUid> keep;
  for (const EndpointPtr& endpoint : endpoints_.list())
    keep.push_back(endpoint->uid);
  if (auto status = staging_.sweep(keep); !status) {
    spdlog::warn("remove old GID files: {}", status.error().message);
  }
}

}  // namespace qmasq::vbond
