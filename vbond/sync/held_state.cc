// SPDX-License-Identifier: Apache-2.0
#include "vbond/sync/held_state.h"

#include <algorithm>
#include <unordered_set>

namespace qmasq::vbond {

void HeldState::apply(const Change& change) {
  if (change.snapshot) {
    vpcs.clear();
    hosts.clear();
    groups.clear();
    policies.clear();
    stale = false;
  }
  for (VpcUid uid : change.removed_vpcs)
    vpcs.erase(uid);
  if (!change.removed_vpcs.empty()) {
    std::unordered_set<VpcUid> gone(change.removed_vpcs.begin(), change.removed_vpcs.end());
    std::erase_if(groups, [&](const auto& entry) { return gone.contains(entry.second); });
  }
  for (SecurityGroupUid uid : change.removed_groups)
    groups.erase(uid);
  for (QosPolicyUid uid : change.removed_policies)
    policies.erase(uid);
  for (HostUid uid : change.removed_hosts) {
    std::erase_if(hosts, [&](const auto& entry) { return entry.second == uid; });
  }
  for (const VpcView& vpc : change.vpcs)
    vpcs[vpc.uid] = Vpc{vpc.name, vpc.vni};
  for (const auto& group : change.groups)
    groups[group.uid] = group.vpc;
  for (const qos::Policy& policy : change.policies)
    policies[policy.uid] = policy.id;
  for (const HostView& one : change.hosts) {
    // A host that is known under another name gave the old one up.
    auto known = hosts.find(one.name);
    if (known != hosts.end() && known->second == one.uid) continue;
    std::erase_if(hosts, [&](const auto& entry) { return entry.second == one.uid; });
    hosts[one.name] = one.uid;
  }
  revision = change.revision;
}

}  // namespace qmasq::vbond
