// SPDX-License-Identifier: Apache-2.0
#include "vbond/qos/qos_report.h"

#include <algorithm>
#include <tuple>
#include <vector>

#include "common/resource_name.h"

namespace qmasq::vbond {
namespace {

using Kind = qos::NodeId::Kind;

v1::QosNode::Kind to_proto(Kind kind) {
  switch (kind) {
    case Kind::kNic:
      return v1::QosNode::NIC;
    case Kind::kOther:
      return v1::QosNode::OTHER;
    case Kind::kVpc:
      return v1::QosNode::VPC;
    case Kind::kEndpoint:
      return v1::QosNode::ENDPOINT;
  }
  return v1::QosNode::KIND_UNSPECIFIED;
}

// The NIC, each VPC with its endpoints behind it, and last what is nobody's.
auto place(const NodeState& node) {
  const int part = node.id.kind == Kind::kNic ? 0 : node.id.kind == Kind::kOther ? 2 : 1;
  return std::tuple(part, std::cref(node.vpc_name), node.id.kind, std::cref(node.name));
}

bool before(const NodeState* a, const NodeState* b) {
  auto [a_part, a_vpc, a_kind, a_name] = place(*a);
  auto [b_part, b_vpc, b_kind, b_name] = place(*b);
  return std::tie(a_part, a_vpc.get(), a_kind, a_name.get()) <
         std::tie(b_part, b_vpc.get(), b_kind, b_name.get());
}

void add_configured(const qos::Policy& policy, v1::QosLimits& out) {
  const qos::Bandwidth& limits = policy.bandwidth;
  if (limits.guaranteed) out.set_guaranteed_bps(limits.guaranteed->value);
  if (limits.maximum) out.set_maximum_bps(limits.maximum->value);
  if (limits.burst) out.set_burst_bytes(*limits.burst);
  out.set_weight(limits.weight);
  if (policy.dscp) out.set_dscp(*policy.dscp);
}

v1::QosNode to_proto(const NodeState& node) {
  v1::QosNode out;
  out.set_kind(to_proto(node.id.kind));
  out.set_name(node.name);
  if (node.policy) {
    out.set_policy(qos_policy_name(node.policy->id));
    add_configured(*node.policy, *out.mutable_configured());
  }
  if (node.programmed) {
    v1::QosLimits& limits = *out.mutable_programmed();
    limits.set_guaranteed_bps(node.programmed->guaranteed.value);
    limits.set_maximum_bps(node.programmed->maximum.value);
    limits.set_burst_bytes(node.programmed->burst);
    limits.set_weight(node.programmed->weight);
    if (node.id.kind == Kind::kEndpoint && node.dscp) limits.set_dscp(*node.dscp);
  }
  out.set_enforced(node.unenforced.empty());
  for (const std::string& text : node.unenforced)
    out.add_unenforced(text);
  if (node.traffic) {
    v1::QosCounters& observed = *out.mutable_observed();
    observed.set_bytes(node.traffic->bytes);
    observed.set_packets(node.traffic->packets);
    observed.set_drops(node.traffic->drops);
    observed.set_overlimits(node.traffic->overlimits);
    observed.set_rate_bps(node.traffic->rate_bps);
    observed.set_backlog_bytes(node.traffic->backlog);
  }
  out.set_first_port(node.ports.first);
  out.set_port_count(node.ports.count);
  return out;
}

}  // namespace

v1::NicQos to_proto(const NicState& state, const std::string& netdev) {
  v1::NicQos out;
  out.set_device(state.device);
  out.set_netdev(netdev);
  out.set_rate_bps(state.rate.value);
  out.set_rate_by_admin(state.rate_by_admin);
  out.set_backend(state.backend);
  if (state.capabilities) {
    if (state.capabilities->guarantee) out.add_capabilities("guaranteed");
    if (state.capabilities->maximum) out.add_capabilities("maximum");
    if (state.capabilities->burst) out.add_capabilities("burst");
    if (state.capabilities->weight) out.add_capabilities("weight");
  }
  out.set_message(state.message);
  std::vector<const NodeState*> nodes;
  nodes.reserve(state.nodes.size());
  for (const NodeState& node : state.nodes)
    nodes.push_back(&node);
  std::sort(nodes.begin(), nodes.end(), before);
  for (const NodeState* node : nodes)
    *out.add_nodes() = to_proto(*node);
  return out;
}

}  // namespace qmasq::vbond
