// SPDX-License-Identifier: Apache-2.0
#include "vbond/rename/nic_table.h"

#include <mutex>
#include <utility>

namespace qmasq::vbond {

NicDiff NicTable::update(std::vector<Nic> nics) {
  std::map<std::string, NicPtr, std::less<>> next;
  for (Nic& nic : nics) {
    std::string device = nic.device;
    next.emplace(std::move(device), std::make_shared<const Nic>(std::move(nic)));
  }
  NicDiff diff;
  std::unique_lock lock(mutex_);
  for (auto& [device, nic] : next) {
    auto old = nics_.find(device);
    if (old == nics_.end()) {
      diff.found.push_back(device);
    } else if (*old->second != *nic) {
      diff.changed.push_back(device);
    } else {
      nic = old->second;
    }
  }
  for (const auto& [device, nic] : nics_) {
    if (!next.contains(device)) diff.lost.push_back(device);
  }
  nics_ = std::move(next);
  return diff;
}

NicPtr NicTable::find(std::string_view device) const {
  std::shared_lock lock(mutex_);
  auto it = nics_.find(device);
  return it == nics_.end() ? nullptr : it->second;
}

std::vector<NicPtr> NicTable::list() const {
  std::shared_lock lock(mutex_);
  std::vector<NicPtr> out;
  out.reserve(nics_.size());
  for (const auto& [device, nic] : nics_)
    out.push_back(nic);
  return out;
}

}  // namespace qmasq::vbond
