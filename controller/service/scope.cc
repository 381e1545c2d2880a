// SPDX-License-Identifier: Apache-2.0
#include "controller/service/scope.h"

#include <fmt/format.h>

#include "common/resource_name.h"
#include "controller/service/actions.h"

namespace qmasq::controller {

Result<Scope> Scope::of(ReadView& view, const Caller& caller) {
  Scope scope;
  scope.scoped_ = caller.scoped();
  if (!scope.scoped_) return scope;
  for (const auto& id : caller.vpcs) {
    QMASQ_ASSIGN(VpcPtr vpc, view.find_vpc(id));
    if (!vpc) continue;
    if (vpc->qos_policy.uid.value != 0) scope.policies_.insert(vpc->qos_policy.uid.value);
    QMASQ_ASSIGN(auto policies, view.endpoint_policies(vpc->uid));
    for (QosPolicyUid policy : policies)
      scope.policies_.insert(policy.value);
    QMASQ_ASSIGN(auto hosts, view.hosts_of(vpc->uid));
    for (const auto& host : hosts)
      scope.hosts_.insert(host.uid.value);
  }
  return scope;
}

Result<HostPtr> Scope::require_host(ReadView& view, std::string_view name,
                                    std::string_view field) const {
  QMASQ_ASSIGN(HostPtr host, controller::require_host(view, name, field));
  if (has(host->uid)) return host;
  return fail(Code::kNotFound,
              fmt::format("there is no {}: create it, or start its agent", host_name(host->id)),
              std::string(field));
}

void Scope::strip(v1::Host* host) const {
  if (!scoped_) return;
  host->clear_underlay_address();
  host->clear_nics();
  host->clear_nic_rates();
  host->clear_description();
  auto* status = host->mutable_status();
  status->clear_agent_version();
  status->clear_kernel_release();
  status->clear_reject_reason();
}

}  // namespace qmasq::controller
