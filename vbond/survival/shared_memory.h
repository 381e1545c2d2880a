// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "common/result.h"
#include "common/unique_fd.h"

namespace qmasq::vbond {

// Memory that outlives the process, as long as somebody holds its descriptor: a memfd, mapped
// shared. What is written there is there for the next one even after kill -9; it does not survive
// the machine, and neither does anything that it speaks of. Pages come as they are touched.
class SharedMemory {
 public:
  // Zeroed.
  [[nodiscard]] static Result<SharedMemory> create(const std::string& name, std::size_t size);
  // Another process's. kInvalidArgument: not such memory, or smaller than `least`.
  [[nodiscard]] static Result<SharedMemory> adopt(UniqueFd descriptor, std::size_t least);
  SharedMemory(SharedMemory&& other) noexcept;
  SharedMemory& operator=(SharedMemory&&) = delete;
  ~SharedMemory();

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] int descriptor() const { return descriptor_.get(); }

 private:
  SharedMemory(UniqueFd descriptor, std::byte* data, std::size_t size)
      : descriptor_(std::move(descriptor)), data_(data), size_(size) {}
  [[nodiscard]] static Result<SharedMemory> map(UniqueFd descriptor, std::size_t size);

  UniqueFd descriptor_;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace qmasq::vbond
