// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "common/net_types.h"
#include "qos/plan.h"

namespace qmasq::qos {

// Gives endpoints of a host blocks of UDP source ports of their own, the same on all NICs, for as
// long as they are there: queue pairs carry them for life, so a block never moves or shrinks. The
// range is the one that RoCE v2 drivers derive from flow labels (0xc000 to 0xffff).
//
// How large a new block is depends on how much of the range is free: 16 ports while more than three
// quarters are, 4 while more than five eighths are, then 1. The first 256 endpoints get 16 each,
// the next 512 get 4, and 10240 more find one port: 11008 in all. Where no block of that size is
// left in one piece, the largest of these sizes that is. Few sizes, as each is a mask of its own to
// whoever classifies. Of the free pieces that will do the smallest is cut, the lowest of these
// first; what is given back grows together again.
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
  // A block from before a restart, of any power of two up to kLargest. False: it is no sound block,
  // or taken in part, or the endpoint has another.
  [[nodiscard]] bool adopt(EndpointUid endpoint, PortBlock block);
  void give_back(EndpointUid endpoint);
  [[nodiscard]] std::optional<PortBlock> find(EndpointUid endpoint) const;
  [[nodiscard]] std::size_t size() const { return blocks_.size(); }

 private:
  std::unordered_map<EndpointUid, PortBlock> blocks_;
  [[nodiscard]] std::uint16_t size_of_next() const;
  // Puts a piece among the free ones, joined with its free neighbours.
  void release(std::uint32_t first, unsigned order);

  std::uint32_t free_ports_ = kPorts;
  // First ports of free pieces by size (index: log2).
  std::vector<std::set<std::uint32_t>> free_;
};

}  // namespace qmasq::qos
