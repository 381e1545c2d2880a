// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <unordered_map>
#include <vector>

#include "qos/backend.h"
#include "qos/backends/tc/types.h"
#include "qos/plan.h"

// What of ours is in the kernel, and whose it is. Pure.
//
// The NIC's class has minor 1, the one of packets of nobody 2. An endpoint's class is the one its
// two filters lead to; their handle is the low 32 bits of its uid. A VPC's class is its endpoints'
// parent.
namespace qmasq::qos::tc {

inline constexpr std::uint16_t kNicMinor = 1;
inline constexpr std::uint16_t kOtherMinor = 2;
inline constexpr std::uint16_t kFirstMinor = 0x10;
inline constexpr std::uint16_t kLastMinor = 0xffff;

// Of RoCE v2.
inline constexpr std::uint16_t kRocePort = 4791;
// One protocol for each priority: IPv4, then IPv6. Those of endpoints are asked first.
inline constexpr std::uint16_t kEndpointPriority = 10;
inline constexpr std::uint16_t kOtherPriority = 20;

// The two filters of a node, IPv4 first. REQUIRES: an endpoint with ports, or `other`.
[[nodiscard]] std::vector<Filter> filters_of(const Node& node, Handle target);

// A node that is programmed.
struct Held {
  Node node;
  Handle id = 0;
  Class spec;  // with statistics as last read
};

struct Scan {
  std::map<NodeId, Held> nodes;
  // Removes what is ours and nobody's any more; filters before classes, children before parents.
  std::vector<Operation> leftovers;
  // All minors that are in use, by anybody.
  std::vector<std::uint16_t> minors;
};

// vpcs: classes known to be VPCs', where no endpoint tells.
[[nodiscard]] Scan scan(std::span<const Class> classes, std::span<const Filter> filters,
                        const Backend::VpcOf& vpc_of,
                        const std::unordered_map<Handle, VpcUid>& vpcs);

}  // namespace qmasq::qos::tc
