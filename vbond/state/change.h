// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/net_types.h"
#include "common/result.h"
#include "conntrack/types.h"
#include "qos/policy.h"

// The controller's state as the parts of the agent see it: values, without protobuf. sync/ turns
// batches of the stream into Changes; rename/, bond/ and overlay/ follow them.
namespace qmasq::vbond {

struct VpcView {
  VpcUid uid;
  std::string name;  // "vpcs/blue"
  Vni vni;
  std::vector<IpPrefix> ranges;
  std::uint32_t mtu = 0;         // bytes; 0: from the underlay
  QosPolicyUid qos_policy = {};  // 0: none
};

struct EndpointView {
  EndpointUid uid;
  VpcUid vpc;
  std::string name;  // "vpcs/blue/endpoints/a"
  HostUid host;
  Mac mac;
  std::vector<IpAddress> addresses;  // order of the virtual GID table from index 1 on
  std::vector<SecurityGroupUid> groups;
  QosPolicyUid qos_policy = {};  // 0: none
  // Of its host, beside root and the group qmasq. Sorted, each once.
  std::vector<std::uint32_t> user_ids = {};
  std::vector<std::uint32_t> group_ids = {};
};

struct HostNicView {
  std::string device;
  Gid primary_gid;          // zero: cannot carry qmasq traffic
  BitsPerSecond rate = {};  // that may be shared out; 0: unknown
  bool rate_by_admin = false;
  Gid vpc_prefix = {};  // of the GIDs that VPCs have there (nic/vpc_gid.h); zero: none
};

struct HostView {
  HostUid uid;
  std::string name;  // "hosts/hostA"
  IpAddress underlay;
  std::vector<HostNicView> nics;
};

// One step from one revision to another. Upserts carry whole values.
struct Change {
  Revision revision;
  // True: what is held and not in here is gone.
  bool snapshot = false;
  std::vector<VpcView> vpcs;
  std::vector<EndpointView> endpoints;
  std::vector<HostView> hosts;
  std::vector<conntrack::Group> groups;
  std::vector<qos::Policy> policies;  // of all the store, whether used here or not
  std::vector<VpcUid> removed_vpcs;   // their endpoints and groups go too
  std::vector<EndpointUid> removed_endpoints;
  std::vector<HostUid> removed_hosts;
  std::vector<SecurityGroupUid> removed_groups;
  std::vector<QosPolicyUid> removed_policies;
};

// A part of the agent that follows the state. Called from one thread (sync's), in the order of
// revisions; must not block on tenants. `check` may refuse before anything is applied; after all
// observers agreed, `apply` is called on each and must not lose the change: what cannot be done now
// (a link that will not come up) is the observer's to retry and to report, not a reason to fail.
class ChangeObserver {
 public:
  virtual ~ChangeObserver() = default;
  [[nodiscard]] virtual Status check(const Change& change) = 0;
  virtual void apply(const Change& change) = 0;
};

}  // namespace qmasq::vbond
