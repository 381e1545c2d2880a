// SPDX-License-Identifier: Apache-2.0
#include "vbond/rename/endpoint_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <unordered_set>
#include <utility>

#include "common/resource_name.h"
#include "vbond/rename/peer_map.h"

namespace qmasq::vbond {
namespace {

constexpr std::size_t kNamesInMessage = 5;

// Modified EUI-64 (RFC 4291 appendix A), the way drivers make a node GUID of a MAC.
std::array<std::uint8_t, 8> guid_of(const Mac& mac) {
  Gid gid = Gid::link_local(mac);
  std::array<std::uint8_t, 8> out{};
  std::copy(gid.raw.begin() + 8, gid.raw.end(), out.begin());
  return out;
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (std::size_t i = 0; i < names.size() && i < kNamesInMessage; ++i)
    out += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kNamesInMessage) out += ", ...";
  return out;
}

}  // namespace

void EndpointTable::set_host(HostUid uid, std::string name) {
  Changed changed;
  {
    std::unique_lock lock(mutex_);
    host_name_ = std::move(name);
    if (host_ == uid) return;
    host_ = uid;
    for (const auto& [endpoint, view] : views_)
      changed[endpoint] = nullptr;
    views_.clear();
    endpoints_.clear();
    interfaces_.clear();
  }
  tell(changed);
}

void EndpointTable::set_interface(EndpointUid uid, std::string interface, std::uint32_t ifindex) {
  Changed changed;
  {
    std::unique_lock lock(mutex_);
    auto view = views_.find(uid);
    if (view == views_.end()) return;
    interfaces_[uid] = Interface{std::move(interface), ifindex};
    changed[uid] = endpoints_[uid] = make(view->second);
  }
  tell(changed);
}

EndpointPtr EndpointTable::find(EndpointUid uid) const {
  std::shared_lock lock(mutex_);
  auto it = endpoints_.find(uid);
  return it == endpoints_.end() ? nullptr : it->second;
}

Result<EndpointPtr> EndpointTable::find(std::string_view reference) const {
  QMASQ_ASSIGN(EndpointName want, parse_endpoint_reference(reference));
  if (!sync_.in_sync()) {
    return fail(
        Code::kFailedPrecondition,
        fmt::format("endpoint '{}': the agent has no state from the controller yet", reference));
  }
  std::vector<EndpointPtr> found;
  std::string host;
  {
    std::shared_lock lock(mutex_);
    host = host_name_;
    for (const auto& [uid, endpoint] : endpoints_) {
      auto name = parse_endpoint_name(endpoint->name);
      if (name && name->endpoint == want.endpoint && (want.vpc.empty() || name->vpc == want.vpc)) {
        found.push_back(endpoint);
      }
    }
  }
  if (found.size() == 1) return found[0];
  std::vector<std::string> names;
  if (!found.empty()) {
    for (const EndpointPtr& endpoint : found)
      names.push_back(endpoint->name);
    std::sort(names.begin(), names.end());
    return fail(Code::kInvalidArgument, fmt::format("endpoint '{}' is ambiguous on {}: {}",
                                                    reference, host, joined(names)));
  }
  for (const PeerMap::Named& peer :
       peers_.find_named(want.vpc, want.endpoint, kNamesInMessage + 1)) {
    names.push_back(
        fmt::format("{} is on {}", peer.name, peer.host.empty() ? "an unknown host" : peer.host));
  }
  if (!names.empty()) {
    std::sort(names.begin(), names.end());
    return fail(Code::kFailedPrecondition,
                fmt::format("endpoint '{}' is not on {}: {}", reference, host, joined(names)));
  }
  return fail(Code::kNotFound,
              fmt::format("no endpoint '{}' on {} or in a VPC that has endpoints here", reference,
                          host.empty() ? "this host" : host));
}

std::vector<EndpointPtr> EndpointTable::list() const {
  std::vector<EndpointPtr> out;
  {
    std::shared_lock lock(mutex_);
    out.reserve(endpoints_.size());
    for (const auto& [uid, endpoint] : endpoints_)
      out.push_back(endpoint);
  }
  std::sort(out.begin(), out.end(),
            [](const EndpointPtr& a, const EndpointPtr& b) { return a->name < b->name; });
  return out;
}

Status EndpointTable::check(const Change& change) {
  for (const EndpointView& view : change.endpoints) {
    if (view.addresses.size() >= LocalEndpoint::kMaxGids) {
      return fail(Code::kInvalidArgument,
                  fmt::format("{} has {} addresses, the GID table of a QP holds {}", view.name,
                              view.addresses.size(), LocalEndpoint::kMaxGids - 1));
    }
  }
  return {};
}

void EndpointTable::apply(const Change& change) {
  Changed changed;
  {
    std::unique_lock lock(mutex_);
    std::unordered_set<VpcUid> gone_vpcs(change.removed_vpcs.begin(), change.removed_vpcs.end());
    std::unordered_set<EndpointUid> gone(change.removed_endpoints.begin(),
                                         change.removed_endpoints.end());
    if (change.snapshot) {
      for (const auto& [uid, vpc] : vpcs_)
        gone_vpcs.insert(uid);
      for (const VpcView& vpc : change.vpcs)
        gone_vpcs.erase(vpc.uid);
      for (const auto& [uid, view] : views_)
        gone.insert(uid);
      for (const EndpointView& view : change.endpoints)
        gone.erase(view.uid);
      for (EndpointUid uid : change.removed_endpoints)
        gone.insert(uid);
    }
    for (const VpcView& vpc : change.vpcs) {
      vpcs_[vpc.uid] = vpc;
      for (const auto& [uid, view] : views_) {
        if (view.vpc == vpc.uid) changed[uid] = nullptr;  // made below
      }
    }
    for (const EndpointView& view : change.endpoints) {
      if (gone.contains(view.uid)) continue;
      if (view.host == host_) {
        views_[view.uid] = view;
        changed[view.uid] = nullptr;
      } else {
        remove(view.uid, changed);
      }
    }
    for (EndpointUid uid : gone)
      remove(uid, changed);
    for (VpcUid uid : gone_vpcs)
      vpcs_.erase(uid);
    for (auto it = views_.begin(); it != views_.end();) {
      EndpointUid uid = it->first;
      bool orphan = !vpcs_.contains(it->second.vpc);
      ++it;
      if (orphan) remove(uid, changed);
    }
    for (auto it = changed.begin(); it != changed.end();) {
      auto view = views_.find(it->first);
      if (view != views_.end()) {
        EndpointPtr made = make(view->second);
        EndpointPtr& held = endpoints_[it->first];
        if (held != nullptr && *held == *made) {
          it = changed.erase(it);
          continue;
        }
        it->second = held = std::move(made);
      }
      ++it;
    }
  }
  tell(changed);
}

void EndpointTable::remove(EndpointUid uid, Changed& changed) {
  views_.erase(uid);
  interfaces_.erase(uid);
  if (endpoints_.erase(uid) != 0) {
    changed[uid] = nullptr;
  } else {
    changed.erase(uid);  // came and went in one change
  }
}

EndpointPtr EndpointTable::make(const EndpointView& view) const {
  auto out = std::make_shared<LocalEndpoint>();
  out->uid = view.uid;
  out->host = view.host;
  out->name = view.name;
  out->vpc = view.vpc;
  if (auto vpc = vpcs_.find(view.vpc); vpc != vpcs_.end()) {
    out->vpc_name = vpc->second.name;
    out->vni = vpc->second.vni;
    out->ranges = vpc->second.ranges;
    out->mtu = vpc->second.mtu;
  }
  out->mac = view.mac;
  out->addresses = view.addresses;
  out->gids.reserve(view.addresses.size() + 1);
  out->gids.push_back(Gid::link_local(view.mac));
  for (const IpAddress& address : view.addresses)
    out->gids.push_back(Gid::from_ip(address));
  out->guid = guid_of(view.mac);
  out->user_ids = view.user_ids;
  out->group_ids = view.group_ids;
  if (auto it = interfaces_.find(view.uid); it != interfaces_.end()) {
    out->interface = it->second.name;
    out->ifindex = it->second.index;
  }
  return out;
}

void EndpointTable::tell(const Changed& changed) const {
  if (!listener_) return;
  for (const auto& [uid, endpoint] : changed)
    listener_(uid, endpoint);
}

}  // namespace qmasq::vbond
