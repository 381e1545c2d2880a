// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/net_types.h"
#include "common/rate.h"

// What is to be programmed for one NIC: a tree NIC -> VPC -> endpoint, and one node for packets of
// nobody. Values, any thread.
namespace qmasq::qos {

// UDP source ports: a power of two of them, `first` a multiple of their number. Taken by masking
// (port & ~(count - 1)) == first.
struct PortBlock {
  std::uint16_t first = 0;
  std::uint16_t count = 0;  // 0: none
  auto operator<=>(const PortBlock&) const = default;
};

// Parents come before their children in this order.
struct NodeId {
  enum class Kind : std::uint8_t { kNic, kOther, kVpc, kEndpoint };
  Kind kind = Kind::kNic;
  std::uint64_t uid = 0;  // of the VPC or the endpoint; 0 for the other two
  auto operator<=>(const NodeId&) const = default;

  static NodeId nic() { return {Kind::kNic, 0}; }
  static NodeId other() { return {Kind::kOther, 0}; }
  static NodeId vpc(VpcUid uid) { return {Kind::kVpc, uid.value}; }
  static NodeId endpoint(EndpointUid uid) { return {Kind::kEndpoint, uid.value}; }
};
[[nodiscard]] std::string to_string(const NodeId& id);  // "vpc 17", "nic", for logs

// All is said: a backend needs no defaults of its own.
struct Node {
  NodeId id;
  NodeId parent;             // of the NIC: itself
  BitsPerSecond guaranteed;  // at least kLeastGuarantee: a class without any may starve
  BitsPerSecond maximum;     // at least `guaranteed`, at most the parent's
  std::uint64_t burst = 0;   // bytes
  std::uint32_t weight = 0;  // 1 to kMaxWeight
  PortBlock ports;           // of endpoints alone
  bool operator==(const Node&) const = default;
};
inline constexpr BitsPerSecond kLeastGuarantee{8000};

// The NIC's own node is there as soon as any other is; an empty plan is none at all.
struct Plan {
  std::map<NodeId, Node> nodes;
  bool operator==(const Plan&) const = default;
};

// One thing to do. Removed nodes have what they had.
struct Step {
  enum class Kind : std::uint8_t { kAdd, kChange, kRemove };
  Kind kind = Kind::kAdd;
  Node node;
  bool operator==(const Step&) const = default;
};

// What turns one into the other, minimal. In an order that keeps every tree in between whole:
// removals first, children before parents; then additions and changes, parents before children. An
// endpoint whose parent or ports differ is removed and added; the other nodes cannot move.
[[nodiscard]] std::vector<Step> diff(const Plan& have, const Plan& want);
// `steps` carried out.
void apply(std::vector<Step>::const_iterator first, std::vector<Step>::const_iterator last,
           Plan& plan);

}  // namespace qmasq::qos
