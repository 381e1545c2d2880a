// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/net_types.h"
#include "vbond/rename/big_array.h"

namespace qmasq::vbond {

// The hash table of the peer map: (VPC row, virtual GID) -> host row and endpoint, all in one
// 32-byte slot, so a lookup costs one cache miss. Open addressing with linear probing; erasing
// moves later slots back, so there are no tombstones. Not thread-safe.
class PeerTable {
 public:
  // How many rows and records a slot can name.
  static constexpr unsigned kVpcBits = 17;
  static constexpr unsigned kHostBits = 21;
  static constexpr unsigned kRecordBits = 26;
  static constexpr std::uint32_t kNoVpc = (1U << kVpcBits) - 1;
  struct alignas(32) Slot {
    Gid gid;
    EndpointUid endpoint;
    std::uint64_t vpc : kVpcBits = kNoVpc;  // kNoVpc: free
    std::uint64_t host : kHostBits = 0;
    // Of the endpoint, or, when the record has another uid, of one that has just gone.
    std::uint64_t record : kRecordBits = 0;
  };
  static_assert(sizeof(Slot) == 32);

  PeerTable() : PeerTable(kMinCapacity) {}

  // Null: not there.
  [[nodiscard]] const Slot* find(std::uint32_t vpc, const Gid& gid) const {
    for (std::size_t i = home(vpc, gid);; i = next(i)) {
      const Slot& slot = slots_[i];
      if (slot.vpc == kNoVpc) return nullptr;
      if (slot.vpc == vpc && slot.gid == gid) return &slot;
    }
  }
  // Puts or overwrites. REQUIRES: !full().
  void put(const Slot& slot);
  // Only where the endpoint still owns it: another may have taken the address since.
  void erase(std::uint32_t vpc, const Gid& gid, EndpointUid owner);

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool full() const { return size_ >= limit(capacity_); }
  // Larger than a table that has just grown.
  [[nodiscard]] bool sparse() const {
    return capacity_ > 4 * kMinCapacity && size_ < capacity_ / 2;
  }
  // A copy with room for at least `entries`, and a quarter more for growth when `grow`. Reads only:
  // readers may go on with this one meanwhile.
  [[nodiscard]] PeerTable resized(std::size_t entries, bool grow) const;
  [[nodiscard]] bool room_for(std::size_t entries) const { return entries <= limit(capacity_); }
  [[nodiscard]] std::size_t memory_bytes() const { return slots_.memory_bytes(); }

 private:
  static constexpr std::size_t kMinCapacity = 64;
  explicit PeerTable(std::size_t capacity) : slots_(capacity), capacity_(capacity) {}

  // At most four fifths full: 3 slots, side by side, for a hit and 13 for a miss on average.
  static std::size_t limit(std::size_t capacity) { return capacity - capacity / 5; }
  [[nodiscard]] std::size_t home(std::uint32_t vpc, const Gid& gid) const;
  [[nodiscard]] std::size_t next(std::size_t i) const { return i + 1 == capacity_ ? 0 : i + 1; }

  BigArray<Slot> slots_;
  std::size_t capacity_;
  std::size_t size_ = 0;
};

}  // namespace qmasq::vbond
