// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>

namespace qmasq::vbond {

// An array that lookups jump about in. A large one asks for huge pages: with small ones each jump
// costs a walk through the page tables on top of the cache miss.
template <typename T>
class BigArray {
 public:
  BigArray() = default;
  explicit BigArray(std::size_t size) : bytes_(size * sizeof(T)) {
    void* memory = nullptr;
    if (::posix_memalign(&memory, bytes_ >= kHuge ? kHuge : kLine, bytes_) != 0) {
      throw std::bad_alloc();
    }
    // Whole huge pages only: the rest would round the memory up. Refused: only slower.
    if (bytes_ >= kHuge) ::madvise(memory, bytes_ / kHuge * kHuge, MADV_HUGEPAGE);
    data_.reset(static_cast<T*>(memory));
    std::uninitialized_default_construct_n(data_.get(), size);
  }
  [[nodiscard]] T& operator[](std::size_t i) { return data_.get()[i]; }
  [[nodiscard]] const T& operator[](std::size_t i) const { return data_.get()[i]; }
  [[nodiscard]] const T* data() const { return data_.get(); }
  [[nodiscard]] std::size_t memory_bytes() const { return bytes_; }

 private:
  static_assert(std::is_trivially_destructible_v<T>);
  static constexpr std::size_t kLine = 64;
  static constexpr std::size_t kHuge = std::size_t{2} << 20U;
  struct Free {
    void operator()(T* data) const { std::free(data); }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t bytes_ = 0;
};

}  // namespace qmasq::vbond
