// SPDX-License-Identifier: Apache-2.0
#include "vbond/overlay/state.h"

#include <algorithm>

namespace qmasq::vbond {

const OverlayVpc* OverlayState::vpc(VpcUid uid) const {
  auto it = vpcs_.find(uid);
  return it == vpcs_.end() ? nullptr : &it->second;
}

VpcUid OverlayState::vpc_of(EndpointUid endpoint) const {
  auto it = vpc_of_.find(endpoint);
  return it == vpc_of_.end() ? VpcUid{} : it->second;
}

IpAddress OverlayState::underlay_of(HostUid host) const {
  auto it = hosts_.find(host);
  return it == hosts_.end() ? IpAddress{} : it->second.underlay;
}

HostUid OverlayState::host_named(const std::string& name) const {
  auto it = std::find_if(hosts_.begin(), hosts_.end(),
                         [&](const auto& entry) { return entry.second.name == name; });
  return it == hosts_.end() ? HostUid{} : it->first;
}

void OverlayState::remove_endpoint(EndpointUid uid, std::set<VpcUid>& touched) {
  auto it = vpc_of_.find(uid);
  if (it == vpc_of_.end()) return;
  touched.insert(it->second);
  if (auto vpc = vpcs_.find(it->second); vpc != vpcs_.end()) vpc->second.endpoints.erase(uid);
  vpc_of_.erase(it);
}

void OverlayState::remove_vpc(VpcUid uid, std::set<VpcUid>& touched) {
  auto it = vpcs_.find(uid);
  if (it == vpcs_.end()) return;
  touched.insert(uid);
  for (const auto& [endpoint, value] : it->second.endpoints)
    vpc_of_.erase(endpoint);
  vpcs_.erase(it);
}

std::set<VpcUid> OverlayState::apply(const Change& change) {
  std::set<VpcUid> touched;
  if (change.snapshot) {
    for (const auto& [uid, vpc] : vpcs_)
      touched.insert(uid);
    vpcs_.clear();
    vpc_of_.clear();
    hosts_.clear();
  }
  for (VpcUid uid : change.removed_vpcs)
    remove_vpc(uid, touched);
  for (EndpointUid uid : change.removed_endpoints)
    remove_endpoint(uid, touched);

  bool hosts_changed = false;
  for (HostUid uid : change.removed_hosts)
    hosts_changed |= hosts_.erase(uid) > 0;
  for (const HostView& host : change.hosts) {
    Host& held = hosts_[host.uid];
    hosts_changed |= held.name != host.name || held.underlay != host.underlay;
    held = {host.name, host.underlay};
  }
  for (const VpcView& vpc : change.vpcs) {
    vpcs_[vpc.uid].view = vpc;
    touched.insert(vpc.uid);
  }
  for (const EndpointView& endpoint : change.endpoints) {
    // An endpoint stays in its VPC for life; anything else is a mistake that must not leave two.
    if (VpcUid before = vpc_of(endpoint.uid); before != VpcUid{} && before != endpoint.vpc) {
      remove_endpoint(endpoint.uid, touched);
    }
    auto vpc = vpcs_.find(endpoint.vpc);
    if (vpc == vpcs_.end()) continue;
    vpc->second.endpoints[endpoint.uid] = {endpoint.host, endpoint.mac, endpoint.addresses};
    vpc_of_[endpoint.uid] = endpoint.vpc;
    touched.insert(endpoint.vpc);
  }
  if (hosts_changed) {
    for (const auto& [uid, vpc] : vpcs_)
      touched.insert(uid);
  }
  return touched;
}

}  // namespace qmasq::vbond
