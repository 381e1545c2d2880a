// SPDX-License-Identifier: Apache-2.0
#include "qos/plan.h"

#include "qos/steps.h"

namespace qmasq::qos {

std::string to_string(const NodeId& id) {
  switch (id.kind) {
    case NodeId::Kind::kNic:
      return "nic";
    case NodeId::Kind::kOther:
      return "other";
    case NodeId::Kind::kVpc:
      return "vpc " + std::to_string(id.uid);
    case NodeId::Kind::kEndpoint:
      return "endpoint " + std::to_string(id.uid);
  }
  return "?";
}

std::vector<Step> steps_of(const std::vector<NodeChange>& changes) {
  auto goes = [](const NodeChange& change) {
    if (change.have == nullptr) return false;
    return change.want == nullptr || replaced(*change.have, *change.want);
  };
  std::size_t count = 0;
  for (const NodeChange& change : changes)
    count += change.have != nullptr && change.want != nullptr && goes(change) ? 2 : 1;
  std::vector<Step> steps;
  steps.reserve(count);
  for (auto change = changes.rbegin(); change != changes.rend(); ++change) {
    if (goes(*change)) steps.push_back({Step::Kind::kRemove, *change->have});
  }
  for (const NodeChange& change : changes) {
    if (change.want == nullptr) continue;
    const bool comes = change.have == nullptr || goes(change);
    steps.push_back({comes ? Step::Kind::kAdd : Step::Kind::kChange, *change.want});
  }
  return steps;
}

std::vector<Step> diff(const Plan& have, const Plan& want) {
  std::vector<NodeChange> changes;
  auto old = have.nodes.begin();
  auto now = want.nodes.begin();
  while (old != have.nodes.end() || now != want.nodes.end()) {
    if (now == want.nodes.end() || (old != have.nodes.end() && old->first < now->first)) {
      changes.push_back({&old->second, nullptr});
      ++old;
    } else if (old == have.nodes.end() || now->first < old->first) {
      changes.push_back({nullptr, &now->second});
      ++now;
    } else {
      if (old->second != now->second) changes.push_back({&old->second, &now->second});
      ++old;
      ++now;
    }
  }
  return steps_of(changes);
}

void apply(std::vector<Step>::const_iterator first, std::vector<Step>::const_iterator last,
           Plan& plan) {
  for (; first != last; ++first) {
    if (first->kind == Step::Kind::kRemove) {
      plan.nodes.erase(first->node.id);
    } else {
      plan.nodes.insert_or_assign(first->node.id, first->node);
    }
  }
}

}  // namespace qmasq::qos
