// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/address_handles.h"

#include <algorithm>

#include "vbond/rename/connection_table.h"

namespace qmasq::vbond {

std::optional<std::uint32_t> AddressHandles::next_number() {
  if (used_ == kFirstAddressHandle) return std::nullopt;
  return kFirstAddressHandle + used_++;
}

void AddressHandles::used(std::uint32_t number) {
  used_ = std::max(used_, number - kFirstAddressHandle + 1);
}

bool AddressHandles::add(std::uint32_t handle, std::uint32_t number) {
  auto [it, is_new] = handles_.try_emplace(handle, Held{number, true});
  if (is_new) return true;
  it->second.in_kernel = true;
  return false;
}

void AddressHandles::cut(std::uint32_t handle) {
  handles_[handle] = Held{std::nullopt, false};
}

std::optional<AddressHandles::Held> AddressHandles::find(std::uint32_t handle) const {
  auto it = handles_.find(handle);
  if (it == handles_.end()) return std::nullopt;
  return it->second;
}

void AddressHandles::remove(std::uint32_t handle) {
  handles_.erase(handle);
}

}  // namespace qmasq::vbond
