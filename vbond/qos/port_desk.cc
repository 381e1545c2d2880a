// SPDX-License-Identifier: Apache-2.0
#include "vbond/qos/port_desk.h"

namespace qmasq::vbond {
namespace {

// DSCP is the upper six bits of what was once the type of service.
std::uint8_t traffic_class(const GovernedEndpoint& endpoint) {
  return static_cast<std::uint8_t>(endpoint.dscp().value_or(0) << 2U);
}

}  // namespace

void PortDesk::adopt(EndpointUid endpoint, qos::PortBlock block) {
  std::lock_guard lock(mutex_);
  // A block that cannot be had any more: the endpoint gets another.
  (void)blocks_.adopt(endpoint, block);
}

std::optional<qos::PortBlock> PortDesk::take(EndpointUid endpoint) {
  auto block = blocks_.take(endpoint);
  if (block || resting_.empty()) return block;
  for (const auto& [uid, since] : resting_)
    blocks_.give_back(uid);
  resting_.clear();
  return blocks_.take(endpoint);
}

void PortDesk::serve(EndpointUid endpoint, Entries& entries) {
  auto block = take(endpoint);
  if (block) {
    waiting_.erase(endpoint);
  } else {
    waiting_.insert(endpoint);
  }
  entries.emplace_back(endpoint,
                       PortBlockPolicy::Marking{block.value_or(qos::PortBlock{}), here_[endpoint]});
}

void PortDesk::follow(const PolicyTable::Changed& changed) {
  std::lock_guard lock(mutex_);
  Entries entries;
  entries.reserve(changed.size());
  // Who goes first makes room for who comes.
  for (const auto& [uid, governed] : changed) {
    if (governed) continue;
    here_.erase(uid);
    waiting_.erase(uid);
    if (blocks_.find(uid)) resting_.try_emplace(uid, clock_.now());
    entries.emplace_back(uid, std::nullopt);
  }
  for (const auto& [uid, governed] : changed) {
    if (!governed) continue;
    here_[uid] = traffic_class(*governed);
    resting_.erase(uid);
    serve(uid, entries);
  }
  wire_.update(entries);
}

std::vector<EndpointUid> PortDesk::settle() {
  std::lock_guard lock(mutex_);
  const auto now = clock_.now();
  for (auto resting = resting_.begin(); resting != resting_.end();) {
    if (now - resting->second < kRest) {
      ++resting;
      continue;
    }
    blocks_.give_back(resting->first);
    resting = resting_.erase(resting);
  }
  std::vector<EndpointUid> served;
  Entries entries;
  const std::set<EndpointUid> waiting = waiting_;
  for (EndpointUid uid : waiting) {
    serve(uid, entries);
    if (waiting_.contains(uid)) break;  // nor is there any for the next
    served.push_back(uid);
  }
  if (!entries.empty()) wire_.update(entries);
  return served;
}

std::optional<qos::PortBlock> PortDesk::find(EndpointUid endpoint) const {
  std::lock_guard lock(mutex_);
  if (!here_.contains(endpoint)) return std::nullopt;
  return blocks_.find(endpoint);
}

std::size_t PortDesk::waiting() const {
  std::lock_guard lock(mutex_);
  return waiting_.size();
}

}  // namespace qmasq::vbond
