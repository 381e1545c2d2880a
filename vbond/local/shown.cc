// SPDX-License-Identifier: Apache-2.0
#include "vbond/local/shown.h"

#include <algorithm>

#include "vbond/events/event_log.h"

namespace qmasq::vbond {
namespace {

template <typename List, typename Keep>
void keep_if(List& list, Keep keep) {
  list.erase(std::remove_if(list.begin(), list.end(), [&](const auto& one) { return !keep(one); }),
             list.end());
}

}  // namespace

void restrict(const LocalAccess::Sight& sight, v1::Agent& agent) {
  v1::Agent out;
  out.set_host(agent.host());
  out.set_version(agent.version());
  out.set_connected(agent.connected());
  out.set_in_sync(agent.in_sync());
  out.set_held_revision(agent.held_revision());
  out.set_newest_revision(agent.newest_revision());
  *out.mutable_features() = agent.features();
  out.set_guard(agent.guard());
  out.set_keeper(agent.keeper());
  for (v1::LocalEndpoint& endpoint : *agent.mutable_local_endpoints()) {
    if (!sight.sees(endpoint.name())) continue;
    out.set_attachments(out.attachments() + endpoint.attachments());
    *out.add_local_endpoints() = std::move(endpoint);
  }
  out.set_endpoints(static_cast<std::uint32_t>(out.local_endpoints_size()));
  agent = std::move(out);
}

void restrict(const LocalAccess::Sight& sight, v1::HostQos& qos) {
  for (v1::NicQos& nic : *qos.mutable_nics()) {
    keep_if(*nic.mutable_nodes(), [&](const v1::QosNode& node) {
      return node.kind() == v1::QosNode::ENDPOINT && sight.sees(node.name());
    });
    nic.clear_netdev();
    nic.clear_rate_bps();
    nic.clear_rate_by_admin();
    nic.clear_message();
  }
  keep_if(*qos.mutable_quotas(), [&](const auto& use) { return sight.sees(use.name()); });
  keep_if(*qos.mutable_verb_rates(), [&](const auto& use) { return sight.sees(use.name()); });
}

void restrict(v1::Connection& connection) {
  connection.clear_physical_gid();
  connection.clear_peer_physical_gid();
  connection.clear_peer_host();
  connection.clear_flow_label();
}

void restrict(v1::Event& event) {
  if (event.has_connection()) restrict(*event.mutable_connection());
  // It says where the peer is; both sides are in the connection.
  if (event.type() == to_string(EventType::kConnected)) event.clear_reason();
}

}  // namespace qmasq::vbond
