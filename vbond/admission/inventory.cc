// SPDX-License-Identifier: Apache-2.0
#include "vbond/admission/inventory.h"

#include <algorithm>
#include <cerrno>
#include <unordered_set>

namespace qmasq::vbond {
namespace {

using qos::Amounts;
using qos::Resource;

// Of no machine that Linux runs on has a process more.
constexpr std::uint64_t kAddressSpace = std::uint64_t{1} << 57U;

Amounts bytes(std::uint64_t count) {
  return qos::amounts_of(Resource::kPinnedBytes, count);
}

}  // namespace

std::uint64_t pinned_bytes(const Region& region, std::uint64_t page_size) {
  if (region.length == 0 || region.length > kAddressSpace) return 0;
  const std::uint64_t touched = region.iova % page_size + region.length;
  return (touched + page_size - 1) / page_size * page_size;
}

Amounts Inventory::amounts(Resource kind, const Region& region) const {
  Amounts out = qos::amounts_of(kind);
  if (kind == Resource::kMemoryRegions) {
    out[static_cast<std::size_t>(Resource::kPinnedBytes)] = pinned_bytes(region, page_size_);
  }
  return out;
}

void Inventory::made(Resource kind, std::uint32_t handle) {
  const auto [at, fresh] = known(kind).try_emplace(handle);
  // It had gone behind our back, and its handle was given again.
  if (!fresh) tenancy_->release(amounts(kind, at->second));
  at->second = {};
}

void Inventory::gone(Resource kind, std::uint32_t handle, const std::optional<Region>& region) {
  if (auto at = known(kind).find(handle); at != known(kind).end()) {
    // A change of it that is expected still is settled when its thread has landed.
    tenancy_->release(amounts(kind, at->second));
    known(kind).erase(at);
    return;
  }
  // Not settled yet. Without its expectation it was never charged.
  const Region was = region.value_or(Region{});
  if (take_expected(kind, was)) tenancy_->release(amounts(kind, was));
}

void Inventory::expect(Resource kind, const Region& region, const Flight& flight) {
  expected_.push_back({kind, region, {flight}, false});
}

void Inventory::expect_change(std::uint32_t handle, std::uint64_t extra, const Flight& flight) {
  changes_.push_back({handle, extra, flight, false});
}

void Inventory::withdraw(const Flight& flight) {
  auto change = std::find_if(changes_.begin(), changes_.end(),
                             [&](const Change& each) { return each.flight == flight; });
  if (change != changes_.end()) {
    tenancy_->release(bytes(change->extra));
    changes_.erase(change);
    return;
  }
  for (auto it = expected_.begin(); it != expected_.end(); ++it) {
    auto& flights = it->flights;
    auto at = std::find(flights.begin(), flights.end(), flight);
    if (at == flights.end()) continue;
    if (flights.size() > 1) {
      // The object of one of the others was found and may have been taken for this one's.
      flights.erase(at);
      return;
    }
    tenancy_->release(amounts(it->kind, it->region));
    expected_.erase(it);
    return;
  }
}

std::optional<Region> Inventory::find(Resource kind, std::uint32_t handle) const {
  auto at = known(kind).find(handle);
  if (at == known(kind).end()) return std::nullopt;
  return at->second;
}

std::vector<std::uint32_t> Inventory::handles(Resource kind) const {
  std::vector<std::uint32_t> out;
  out.reserve(known(kind).size());
  for (const auto& [handle, region] : known(kind))
    out.push_back(handle);
  return out;
}

bool Inventory::can_settle(const InFlight& in_flight) const {
  return std::any_of(expected_.begin(), expected_.end(),
                     [&](const Expected& each) {
                       return std::none_of(each.flights.begin(), each.flights.end(), in_flight);
                     }) ||
         std::any_of(changes_.begin(), changes_.end(),
                     [&](const Change& each) { return !in_flight(each.flight); });
}

bool Inventory::take_expected(Resource kind, const Region& region) {
  auto like = [&](const Expected& each) { return each.kind == kind && each.region == region; };
  auto at = std::find_if(expected_.begin(), expected_.end(),
                         [&](const Expected& each) { return like(each) && each.landed; });
  if (at == expected_.end()) at = std::find_if(expected_.begin(), expected_.end(), like);
  if (at == expected_.end()) return false;
  if (!at->landed) {
    // Whose it is cannot be told from others in flight that expect the same: see above.
    auto other = std::find_if(std::next(at), expected_.end(),
                              [&](const Expected& each) { return like(each) && !each.landed; });
    if (other != expected_.end()) {
      other->flights.insert(other->flights.end(), at->flights.begin(), at->flights.end());
    }
  }
  expected_.erase(at);
  return true;
}

void Inventory::drop_absent(Resource kind, const KernelObjects::Listing& listing) {
  if (!listing.complete) return;
  const std::unordered_set<std::uint32_t> there(listing.handles.begin(), listing.handles.end());
  for (auto it = known(kind).begin(); it != known(kind).end();) {
    if (there.contains(it->first)) {
      ++it;
      continue;
    }
    tenancy_->release(amounts(kind, it->second));
    it = known(kind).erase(it);
  }
}

bool Inventory::take_in_new(Resource kind, const KernelObjects::Listing& listing,
                            KernelObjects& kernel) {
  bool sure = true;
  for (std::uint32_t handle : listing.handles) {
    if (known(kind).contains(handle)) continue;
    Region region;
    if (kind == Resource::kMemoryRegions) {
      auto told = kernel.region(handle);
      if (!told) {
        // Gone meanwhile, or about to go or to change.
        sure = sure && told.error() == ENOENT;
        continue;
      }
      region = *told;
    }
    if (!take_expected(kind, region)) tenancy_->exchange(amounts(kind, region), {});
    known(kind)[handle] = region;
  }
  return sure;
}

void Inventory::settle_changes(KernelObjects& kernel) {
  for (auto it = changes_.begin(); it != changes_.end();) {
    auto at = known(Resource::kMemoryRegions).find(it->handle);
    if (!it->landed) {
      ++it;
      continue;
    }
    if (at == known(Resource::kMemoryRegions).end()) {
      tenancy_->release(bytes(it->extra));
      it = changes_.erase(it);
      continue;
    }
    auto told = kernel.region(it->handle);
    if (!told) {  // another change is on its way
      ++it;
      continue;
    }
    tenancy_->exchange(bytes(pinned_bytes(*told, page_size_)),
                       bytes(pinned_bytes(at->second, page_size_) + it->extra));
    at->second = *told;
    it = changes_.erase(it);
  }
}

bool Inventory::settle(Resource kind, KernelObjects& kernel, const InFlight& in_flight) {
  // Before the kernel is asked: who lands later is not judged by this answer.
  for (Expected& each : expected_) {
    if (each.kind != kind) continue;
    each.landed = std::none_of(each.flights.begin(), each.flights.end(), in_flight);
  }
  if (kind == Resource::kMemoryRegions) {
    for (Change& each : changes_)
      each.landed = !in_flight(each.flight);
  }
  auto listing = kernel.list(kind);
  if (!listing) return false;
  // The newest come first: where the list reaches something known, nothing new is left out.
  const bool has_all_new =
      listing->complete || std::any_of(listing->handles.begin(), listing->handles.end(),
                                       [&](auto each) { return known(kind).contains(each); });
  drop_absent(kind, *listing);
  const bool sure = take_in_new(kind, *listing, kernel);
  if (kind == Resource::kMemoryRegions) settle_changes(kernel);
  if (!sure || !has_all_new) return true;
  std::erase_if(expected_, [&](const Expected& each) {
    if (each.kind != kind || !each.landed) return false;
    tenancy_->release(amounts(kind, each.region));
    return true;
  });
  return true;
}

void Inventory::clear() {
  Amounts less{};
  auto add = [&](const Amounts& amounts) {
    for (std::size_t i = 0; i < amounts.size(); ++i)
      less[i] += amounts[i];
  };
  for (std::size_t i = 0; i < kKinds; ++i) {
    for (const auto& [handle, region] : known_[i])
      add(amounts(static_cast<Resource>(i), region));
    known_[i].clear();
  }
  for (const Expected& each : expected_)
    add(amounts(each.kind, each.region));
  for (const Change& each : changes_)
    add(bytes(each.extra));
  expected_.clear();
  changes_.clear();
  tenancy_->release(less);
}

}  // namespace qmasq::vbond
