// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>

namespace qmasq::vbond::uverbs {

// At most N values of a trivial type, without a heap. push_back() says false when it is full.
template <typename T, std::size_t N>
class FixedVector {
 public:
  // The elements past size() are never read, so they are not initialised.
  FixedVector() {}  // NOLINT(modernize-use-equals-default)
  [[nodiscard]] bool push_back(const T& value) {
    if (size_ == N) return false;
    items_[size_++] = value;
    return true;
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] T* begin() { return items_.data(); }
  [[nodiscard]] T* end() { return items_.data() + size_; }
  [[nodiscard]] const T* begin() const { return items_.data(); }
  [[nodiscard]] const T* end() const { return items_.data() + size_; }
  // REQUIRES: index < size().
  [[nodiscard]] T& operator[](std::size_t index) { return items_[index]; }
  [[nodiscard]] const T& operator[](std::size_t index) const { return items_[index]; }

 private:
  std::size_t size_ = 0;
  std::array<T, N> items_;
};

}  // namespace qmasq::vbond::uverbs
