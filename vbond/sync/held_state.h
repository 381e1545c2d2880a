// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <unordered_map>

#include "common/net_types.h"
#include "vbond/state/change.h"

namespace qmasq::vbond {

// What sync itself remembers of the state: enough to say in Hello what the agent holds and to
// judge the next batch. Endpoints are not among it: there may be a million, and rename has them. Of
// security groups only their VPCs are, of QoS policies their ids.
// Not thread-safe.
class HeldState {
 public:
  struct Vpc {
    std::string name;  // "vpcs/blue"
    Vni vni;
  };

  // After all observers applied it. REQUIRES: `change` came from BatchCollector.
  void apply(const Change& change);
  [[nodiscard]] bool empty() const { return vpcs.empty() && hosts.empty() && policies.empty(); }

  std::string store_id;  // where all this came from; empty: nowhere yet
  // What is held goes on being used, but it is not to be built upon: the next stream asks for
  // everything anew.
  bool stale = false;
  HostUid host;  // who this host is in that store
  Revision revision;
  std::unordered_map<VpcUid, Vpc> vpcs;
  std::unordered_map<std::string, HostUid> hosts;  // by name: "hosts/hostA"
  std::unordered_map<SecurityGroupUid, VpcUid> groups;
  std::unordered_map<QosPolicyUid, std::string> policies;  // ids: "gold"
};

}  // namespace qmasq::vbond
