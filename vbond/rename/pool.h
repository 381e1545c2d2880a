// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace qmasq::vbond {

// Values of T in chunks, named by 32-bit numbers: no reallocation ever doubles the memory, and a
// number is half of a pointer. Not thread-safe.
template <typename T>
class Pool {
 public:
  static constexpr std::uint32_t kNone = 0xffffffffU;

  [[nodiscard]] std::uint32_t take() {
    if (!free_.empty()) {
      std::uint32_t index = free_.back();
      free_.pop_back();
      return index;
    }
    if (used_ == chunks_.size() * kChunk) chunks_.push_back(std::make_unique<T[]>(kChunk));
    return used_++;
  }
  // REQUIRES: `index` came from take() and was not given since.
  void give(std::uint32_t index) {
    (*this)[index] = T{};
    free_.push_back(index);
  }
  [[nodiscard]] T& operator[](std::uint32_t index) {
    return chunks_[index / kChunk][index % kChunk];
  }
  [[nodiscard]] const T& operator[](std::uint32_t index) const {
    return chunks_[index / kChunk][index % kChunk];
  }
  // Numbers below this were taken at some time.
  [[nodiscard]] std::uint32_t end() const { return used_; }
  [[nodiscard]] std::size_t memory_bytes() const {
    return chunks_.size() * kChunk * sizeof(T) + chunks_.capacity() * sizeof(chunks_[0]) +
           free_.capacity() * sizeof(std::uint32_t);
  }

 private:
  static constexpr std::uint32_t kChunk = 1024;
  std::vector<std::unique_ptr<T[]>> chunks_;
  std::vector<std::uint32_t> free_;
  std::uint32_t used_ = 0;
};

}  // namespace qmasq::vbond
