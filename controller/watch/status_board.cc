// SPDX-License-Identifier: Apache-2.0
#include "controller/watch/status_board.h"

namespace qmasq::controller {

void StatusBoard::set_host(HostUid uid, HostLive live) {
  std::lock_guard lock(mutex_);
  hosts_[uid] = std::move(live);
}

void StatusBoard::drop_host(HostUid uid) {
  std::lock_guard lock(mutex_);
  hosts_.erase(uid);
}

std::optional<HostLive> StatusBoard::host(HostUid uid) const {
  std::lock_guard lock(mutex_);
  auto found = hosts_.find(uid);
  if (found == hosts_.end()) return std::nullopt;
  return found->second;
}

void StatusBoard::set_endpoint(EndpointUid uid, EndpointLive live) {
  std::lock_guard lock(mutex_);
  endpoints_[uid] = std::move(live);
}

void StatusBoard::drop_endpoint(EndpointUid uid) {
  std::lock_guard lock(mutex_);
  endpoints_.erase(uid);
}

std::optional<EndpointLive> StatusBoard::endpoint(EndpointUid uid) const {
  std::lock_guard lock(mutex_);
  auto found = endpoints_.find(uid);
  if (found == endpoints_.end()) return std::nullopt;
  return found->second;
}

void StatusBoard::set_current(Revision revision) {
  std::lock_guard lock(mutex_);
  current_ = revision;
}

Revision StatusBoard::current() const {
  std::lock_guard lock(mutex_);
  return current_;
}

}  // namespace qmasq::controller
