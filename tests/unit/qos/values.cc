// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/qos/values.h"

#include <set>

namespace qmasq::qos::test {

Bandwidth limits(std::uint64_t guaranteed, std::uint64_t maximum, std::uint32_t weight) {
  Bandwidth out;
  if (guaranteed != 0) out.guaranteed = BitsPerSecond{guaranteed * kMbit};
  if (maximum != 0) out.maximum = BitsPerSecond{maximum * kMbit};
  out.weight = weight;
  return out;
}

std::vector<std::string> lines(const Plan& plan) {
  std::vector<std::string> out;
  for (const auto& [id, node] : plan.nodes) {
    out.push_back(to_string(id) + ": " + to_string(node.guaranteed) + " to " +
                  to_string(node.maximum));
    if (node.weight != kDefaultWeight) out.back() += ", weight " + std::to_string(node.weight);
  }
  return out;
}

std::string fault_of_tree(const Plan& plan) {
  std::set<unsigned> ports;
  for (const auto& [id, node] : plan.nodes) {
    const std::string name = to_string(id);
    if (node.id != id) return name + " is kept as another";
    if (!plan.nodes.contains(node.parent)) return name + " has no parent";
    const bool endpoint = id.kind == NodeId::Kind::kEndpoint;
    const auto above = endpoint ? NodeId::Kind::kVpc : NodeId::Kind::kNic;
    if (node.parent.kind != above) return name + " is a child of " + to_string(node.parent);
    if (endpoint != (node.ports.count > 0)) return name + " has wrong ports";
    for (unsigned i = 0; i < node.ports.count; ++i) {
      if (!ports.insert(node.ports.first + i).second) return name + " shares a port";
    }
  }
  return {};
}

std::string fault(const Plan& plan) {
  std::map<NodeId, std::uint64_t> promised;
  std::set<NodeId> parents;
  for (const auto& [id, node] : plan.nodes) {
    const std::string name = to_string(id);
    if (node.guaranteed < kLeastGuarantee) return name + " starves";
    if (node.maximum < node.guaranteed) return name + " is guaranteed more than its maximum";
    if (node.weight < 1 || node.weight > kMaxWeight) return name + " has no sound weight";
    if (node.burst == 0) return name + " has no burst";
    if (id == NodeId::nic()) continue;
    auto parent = plan.nodes.find(node.parent);
    if (parent == plan.nodes.end()) return name + " has no parent";
    if (node.maximum > parent->second.maximum) return name + " has a maximum above its parent's";
    promised[node.parent] += node.guaranteed.value;
    parents.insert(node.parent);
  }
  for (const auto& [id, sum] : promised) {
    if (sum > plan.nodes.at(id).guaranteed.value) return to_string(id) + " promises too much";
  }
  for (const auto& [id, node] : plan.nodes) {
    if (id.kind == NodeId::Kind::kVpc && !parents.contains(id)) return to_string(id) + " is empty";
  }
  if (!plan.nodes.empty() && !plan.nodes.contains(NodeId::other())) return "others have no node";
  return fault_of_tree(plan);
}

}  // namespace qmasq::qos::test
