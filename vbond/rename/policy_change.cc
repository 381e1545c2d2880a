// SPDX-License-Identifier: Apache-2.0
#include "vbond/rename/policy_change.h"

namespace qmasq::vbond {

conntrack::PolicyChange policy_change(const Change& change) {
  conntrack::PolicyChange out;
  out.snapshot = change.snapshot;
  out.groups = change.groups;
  out.removed_groups = change.removed_groups;
  out.removed_vpcs = change.removed_vpcs;
  out.endpoints.reserve(change.endpoints.size() + change.removed_endpoints.size());
  for (const EndpointView& endpoint : change.endpoints)
    out.endpoints.push_back(endpoint.uid);
  out.endpoints.insert(out.endpoints.end(), change.removed_endpoints.begin(),
                       change.removed_endpoints.end());
  return out;
}

}  // namespace qmasq::vbond
