// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "qos/plan.h"

namespace qmasq::qos {

// A node before and after; null: it is not there. Not both, and not the same.
struct NodeChange {
  const Node* have = nullptr;
  const Node* want = nullptr;
};

// True: no change will do, as the kernel's object is another one. Only endpoints move; were one of
// their parents to, its children would have to go first.
[[nodiscard]] inline bool replaced(const Node& have, const Node& want) {
  if (have.id.kind != NodeId::Kind::kEndpoint) return false;
  return have.parent != want.parent || have.ports != want.ports;
}

// What carries the changes out, in the order that diff() promises. REQUIRES: in order of ids.
[[nodiscard]] std::vector<Step> steps_of(const std::vector<NodeChange>& changes);

}  // namespace qmasq::qos
