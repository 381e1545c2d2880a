// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/net_types.h"
#include "vbond/state/change.h"

// What the overlay keeps of the controller's state. Pure; for one thread.
namespace qmasq::vbond {

// Without the name: most endpoints of a large VPC are elsewhere and nobody asks for theirs.
struct OverlayEndpoint {
  HostUid host;
  Mac mac;
  std::vector<IpAddress> addresses;
  bool operator==(const OverlayEndpoint&) const = default;
};

struct OverlayVpc {
  VpcView view;
  std::map<EndpointUid, OverlayEndpoint> endpoints;
};

class OverlayState {
 public:
  // Returns the VPCs that may look different now, the removed ones among them. Endpoints of a VPC
  // that is not known are left out: the controller sends a VPC before or with its endpoints.
  std::set<VpcUid> apply(const Change& change);

  [[nodiscard]] const std::map<VpcUid, OverlayVpc>& vpcs() const { return vpcs_; }
  [[nodiscard]] const OverlayVpc* vpc(VpcUid uid) const;
  // Zero uid when unknown.
  [[nodiscard]] VpcUid vpc_of(EndpointUid endpoint) const;
  // Unspecified address when unknown.
  [[nodiscard]] IpAddress underlay_of(HostUid host) const;
  [[nodiscard]] HostUid host_named(const std::string& name) const;

 private:
  struct Host {
    std::string name;
    IpAddress underlay;
  };
  void remove_endpoint(EndpointUid uid, std::set<VpcUid>& touched);
  void remove_vpc(VpcUid uid, std::set<VpcUid>& touched);

  std::map<VpcUid, OverlayVpc> vpcs_;
  std::unordered_map<EndpointUid, VpcUid> vpc_of_;
  std::unordered_map<HostUid, Host> hosts_;
};

}  // namespace qmasq::vbond
