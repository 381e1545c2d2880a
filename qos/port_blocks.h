// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "common/net_types.h"
#include "qos/plan.h"

namespace qmasq::qos {

// Gives endpoints of a host blocks of UDP source ports of their own, the same on all NICs, for as
// long as they are there: queue pairs carry them for life. The range is the one that RoCE v2
// drivers derive from flow labels (0xc000 to 0xffff). Blocks are as large as can be while many more
// endpoints still find one: kLargest ports each at first, smaller ones as it fills, down to a
// single port. Few different sizes: each is a mask of its own to whoever classifies.
//
// Pure, not thread-safe.
class PortBlocks {
 public:
  static constexpr std::uint16_t kFirst = 0xc000;
  static constexpr std::uint32_t kPorts = 0x4000;
  static constexpr std::uint16_t kLargest = 16;

  PortBlocks();

  // The one it has, or a new one. Nothing: all ports are taken.
  [[nodiscard]] std::optional<PortBlock> take(EndpointUid endpoint);
  // A block from before a restart. False: it is no sound block, or taken in part, or the endpoint
  // has another.
  [[nodiscard]] bool adopt(EndpointUid endpoint, PortBlock block);
  void give_back(EndpointUid endpoint);
  [[nodiscard]] std::optional<PortBlock> find(EndpointUid endpoint) const;
  [[nodiscard]] std::size_t size() const { return blocks_.size(); }

 private:
  std::unordered_map<EndpointUid, PortBlock> blocks_;
  // Free blocks by size (index: log2), each by its first port.
  std::vector<std::map<std::uint16_t, bool>> free_;
};

}  // namespace qmasq::qos
