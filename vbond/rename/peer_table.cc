// SPDX-License-Identifier: Apache-2.0
#include "vbond/rename/peer_table.h"

#include <algorithm>
#include <cstring>

namespace qmasq::vbond {
namespace {

// The high half of a 128-bit product: maps a well mixed 64-bit value onto [0, n) without division.
std::size_t scale(std::uint64_t hash, std::size_t n) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::size_t>((static_cast<Wide>(hash) * n) >> 64U);
}

}  // namespace

std::size_t PeerTable::home(std::uint32_t vpc, const Gid& gid) const {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  std::memcpy(&high, gid.raw.data(), 8);
  std::memcpy(&low, gid.raw.data() + 8, 8);
  // Addresses of a VPC differ in a few bits, which may be anywhere in the words; scale() looks at
  // the highest bits, so each round must carry all bits there.
  std::uint64_t hash = (low ^ (vpc * 0x9E3779B97F4A7C15ULL)) * 0xD6E8FEB86659FD93ULL;
  hash ^= hash >> 32U;
  hash = (hash ^ high) * 0xD6E8FEB86659FD93ULL;
  hash ^= hash >> 32U;
  hash *= 0x9FB21C651E98DF25ULL;
  return scale(hash, capacity_);
}

void PeerTable::put(const Slot& slot) {
  std::size_t i = home(slot.vpc, slot.gid);
  while (slots_[i].vpc != kNoVpc && !(slots_[i].vpc == slot.vpc && slots_[i].gid == slot.gid))
    i = next(i);
  if (slots_[i].vpc == kNoVpc) ++size_;
  slots_[i] = slot;
}

void PeerTable::erase(std::uint32_t vpc, const Gid& gid, EndpointUid owner) {
  const Slot* found = find(vpc, gid);
  if (found == nullptr || found->endpoint != owner) return;
  auto hole = static_cast<std::size_t>(found - slots_.data());
  // Whatever follows without a gap and would rather sit in the hole moves there.
  for (std::size_t i = next(hole); slots_[i].vpc != kNoVpc; i = next(i)) {
    std::size_t want = home(slots_[i].vpc, slots_[i].gid);
    bool stays = hole <= i ? (hole < want && want <= i) : (hole < want || want <= i);
    if (stays) continue;
    slots_[hole] = slots_[i];
    hole = i;
  }
  slots_[hole] = Slot{};
  --size_;
}

PeerTable PeerTable::resized(std::size_t entries, bool grow) const {
  entries = std::max(entries, size_);
  std::size_t capacity = entries + entries / 4 + 2;  // exactly up to the limit
  if (grow) capacity += capacity / 4;
  PeerTable out(std::max(capacity, kMinCapacity));
  for (std::size_t i = 0; i < capacity_; ++i) {
    const Slot& slot = slots_[i];
    if (slot.vpc != kNoVpc) out.put(slot);
  }
  return out;
}

}  // namespace qmasq::vbond
