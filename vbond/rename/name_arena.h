// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace qmasq::vbond {

// Short strings behind 32-bit numbers, about 5 bytes of overhead each; freed places are used again
// for strings of about the same length. Not thread-safe.
class NameArena {
 public:
  static constexpr std::size_t kMaxLength = 255;
  NameArena() { free_.fill(kNone); }

  // REQUIRES: text.size() <= kMaxLength.
  [[nodiscard]] std::uint32_t put(std::string_view text);
  // Valid until the arena changes.
  [[nodiscard]] std::string_view get(std::uint32_t name) const;
  void free(std::uint32_t name);
  [[nodiscard]] std::size_t memory_bytes() const;

 private:
  static constexpr std::uint32_t kNone = 0xffffffffU;
  static constexpr std::size_t kUnit = 8;  // bytes that a number counts
  static constexpr std::size_t kChunkUnits = 4096;
  static constexpr std::size_t kClasses = (kMaxLength + 1) / kUnit;

  static std::size_t units(std::size_t length) { return (length + 1 + kUnit - 1) / kUnit; }
  [[nodiscard]] char* at(std::uint32_t name) const {
    return chunks_[name / kChunkUnits].get() + (name % kChunkUnits) * kUnit;
  }

  std::vector<std::unique_ptr<char[]>> chunks_;
  std::size_t used_units_ = kChunkUnits;        // of the last chunk
  std::array<std::uint32_t, kClasses> free_{};  // heads of lists, by units - 1
};

}  // namespace qmasq::vbond
