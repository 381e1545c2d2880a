// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string_view>

#include "controller/model/auth_types.h"
#include "controller/store/store.h"
#include "qmasq/v1/host.pb.h"

namespace qmasq::controller {

// What a VPC admin may see beside its VPCs: the hosts on which these have endpoints, and the QoS
// policies that these have. For others, everything. Of one view; costs some lookups for each VPC.
class Scope {
 public:
  [[nodiscard]] static Result<Scope> of(ReadView& view, const Caller& caller);

  [[nodiscard]] bool has(HostUid host) const { return !scoped_ || hosts_.contains(host.value); }
  [[nodiscard]] bool has(QosPolicyUid policy) const {
    return !scoped_ || policies_.contains(policy.value);
  }
  // With the same words for a host that is not there and one that is not seen.
  [[nodiscard]] Result<HostPtr> require_host(ReadView& view, std::string_view name,
                                             std::string_view field) const;
  // Takes from a host what endpoints do not need: NICs, addresses, versions.
  void strip(v1::Host* host) const;

 private:
  bool scoped_ = false;
  std::set<std::uint64_t> hosts_;
  std::set<std::uint64_t> policies_;
};

}  // namespace qmasq::controller
