// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace qmasq::vbond {

// A hash index of record numbers, 4 bytes a place: keys stay in the records. Open addressing with
// linear probing, at most four fifths full. `hash_of(number)` gives the hash of a record's key,
// `is(number)` tells whether it is the one looked for. Records with equal keys may be in it side by
// side. Not thread-safe.
class RecordIndex {
 public:
  static constexpr std::uint32_t kNone = 0xffffffffU;

  explicit RecordIndex(std::size_t count = 0)
      : places_(std::max<std::size_t>(count + count / 4 + 2, 64), kNone) {}

  template <typename Is>
  [[nodiscard]] std::uint32_t find(std::uint64_t hash, const Is& is) const {
    for (std::size_t i = home(hash);; i = next(i)) {
      if (places_[i] == kNone || is(places_[i])) return places_[i];
    }
  }
  // REQUIRES: room_for(1).
  void add(std::uint64_t hash, std::uint32_t number) {
    std::size_t i = home(hash);
    while (places_[i] != kNone)
      i = next(i);
    places_[i] = number;
    ++size_;
  }
  // REQUIRES: it is there, and hash_of still answers what it did at add().
  template <typename HashOf>
  void remove(std::uint32_t number, const HashOf& hash_of) {
    std::size_t hole = home(hash_of(number));
    while (places_[hole] != number)
      hole = next(hole);
    for (std::size_t i = next(hole); places_[i] != kNone; i = next(i)) {
      std::size_t want = home(hash_of(places_[i]));
      bool stays = hole <= i ? (hole < want && want <= i) : (hole < want || want <= i);
      if (stays) continue;
      places_[hole] = places_[i];
      hole = i;
    }
    places_[hole] = kNone;
    --size_;
  }

  [[nodiscard]] bool room_for(std::size_t more) const {
    return size_ + more <= places_.size() - places_.size() / 5;
  }
  // A copy for `count` records in all. Reads only.
  template <typename HashOf>
  [[nodiscard]] RecordIndex resized(std::size_t count, const HashOf& hash_of) const {
    RecordIndex out(std::max(count, size_));
    for (std::uint32_t number : places_) {
      if (number != kNone) out.add(hash_of(number), number);
    }
    return out;
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t memory_bytes() const {
    return places_.capacity() * sizeof(std::uint32_t);
  }

 private:
  [[nodiscard]] std::size_t home(std::uint64_t hash) const {
    return static_cast<std::size_t>((hash >> 32U) * places_.size() >> 32U);  // below 2^32 places
  }
  [[nodiscard]] std::size_t next(std::size_t i) const {
    return i + 1 == places_.size() ? 0 : i + 1;
  }

  std::vector<std::uint32_t> places_;
  std::size_t size_ = 0;
};

}  // namespace qmasq::vbond
