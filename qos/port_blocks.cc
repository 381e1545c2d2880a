// SPDX-License-Identifier: Apache-2.0
#include "qos/port_blocks.h"

#include <bit>

namespace qmasq::qos {
namespace {

constexpr unsigned kTopOrder = 14;  // the whole range
static_assert(PortBlocks::kPorts == 1U << kTopOrder);
static_assert(PortBlocks::kFirst % PortBlocks::kPorts == 0, "pieces are aligned to their size");

unsigned order_of(std::uint16_t count) {
  return static_cast<unsigned>(std::countr_zero(count));
}

bool sound(PortBlock block) {
  return std::has_single_bit(block.count) && block.count <= PortBlocks::kLargest &&
         block.first >= PortBlocks::kFirst && block.first % block.count == 0;
}

}  // namespace

PortBlocks::PortBlocks() : free_(kTopOrder + 1) {
  free_[kTopOrder].insert(kFirst);
}

std::uint16_t PortBlocks::size_of_next() const {
  if (free_ports_ > kPorts / 4 * 3) return kLargest;
  if (free_ports_ > kPorts / 8 * 5) return 4;
  return 1;
}

std::optional<PortBlock> PortBlocks::take(EndpointUid endpoint) {
  if (auto known = blocks_.find(endpoint); known != blocks_.end()) return known->second;
  for (std::uint16_t count = size_of_next(); count > 0; count /= 4) {
    const unsigned wanted = order_of(count);
    unsigned order = wanted;
    while (order <= kTopOrder && free_[order].empty())
      ++order;
    if (order > kTopOrder) continue;
    const std::uint32_t first = *free_[order].begin();
    free_[order].erase(free_[order].begin());
    while (order > wanted) {
      --order;
      free_[order].insert(first + (1U << order));
    }
    free_ports_ -= count;
    const PortBlock block{static_cast<std::uint16_t>(first), count};
    blocks_.emplace(endpoint, block);
    return block;
  }
  return std::nullopt;
}

bool PortBlocks::adopt(EndpointUid endpoint, PortBlock block) {
  if (!sound(block)) return false;
  if (auto known = blocks_.find(endpoint); known != blocks_.end()) return known->second == block;
  const unsigned wanted = order_of(block.count);
  // The free piece that it lies in, if it does.
  for (unsigned order = wanted; order <= kTopOrder; ++order) {
    std::uint32_t first = block.first & ~((1U << order) - 1);
    auto piece = free_[order].find(first);
    if (piece == free_[order].end()) continue;
    free_[order].erase(piece);
    for (unsigned at = order; at > wanted;) {
      --at;
      const std::uint32_t upper = first + (1U << at);
      if (block.first >= upper) {
        free_[at].insert(first);
        first = upper;
      } else {
        free_[at].insert(upper);
      }
    }
    free_ports_ -= block.count;
    blocks_.emplace(endpoint, block);
    return true;
  }
  return false;
}

void PortBlocks::give_back(EndpointUid endpoint) {
  auto known = blocks_.find(endpoint);
  if (known == blocks_.end()) return;
  free_ports_ += known->second.count;
  release(known->second.first, order_of(known->second.count));
  blocks_.erase(known);
}

void PortBlocks::release(std::uint32_t first, unsigned order) {
  while (order < kTopOrder) {
    auto neighbour = free_[order].find(first ^ (1U << order));
    if (neighbour == free_[order].end()) break;
    free_[order].erase(neighbour);
    first &= ~(1U << order);
    ++order;
  }
  free_[order].insert(first);
}

std::optional<PortBlock> PortBlocks::find(EndpointUid endpoint) const {
  auto known = blocks_.find(endpoint);
  if (known == blocks_.end()) return std::nullopt;
  return known->second;
}

}  // namespace qmasq::qos
