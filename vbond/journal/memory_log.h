// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "common/result.h"
#include "vbond/rename/connection_table.h"
#include "vbond/survival/shared_memory.h"

namespace qmasq::vbond {

// What was written to the journal and is not on the disk yet, in memory that outlives the agent: a
// verb pays for a copy, not for a disk, and what it wrote is there after kill -9 all the same. A
// ring: when the disk does not keep up for long, what comes is not in it any more, and it says so.
//
// One writer; trim() from another thread.
class MemoryLog {
 public:
  static constexpr std::size_t kSize = std::size_t{4} << 20U;

  [[nodiscard]] static Result<std::unique_ptr<MemoryLog>> create();
  // kInvalidArgument: not one, or of another layout.
  [[nodiscard]] static Result<std::unique_ptr<MemoryLog>> adopt(UniqueFd memory);
  [[nodiscard]] int descriptor() const { return memory_.descriptor(); }

  // Empty `record`: it is no more. False: no room.
  bool append(QpKey key, std::string_view record);
  // To be given to trim() when all that was appended so far is on the disk.
  [[nodiscard]] std::uint64_t position() const;
  void trim(std::uint64_t position);

  // In order. False: it ended in something that is no record; what came before is sound.
  bool replay(const std::function<void(QpKey key, std::string_view record)>& each) const;
  // Some did not find room since the last clear_lost().
  [[nodiscard]] bool lost() const;
  void clear_lost();

 private:
  struct Head;
  struct Mark;
  explicit MemoryLog(SharedMemory memory) : memory_(std::move(memory)) {}
  [[nodiscard]] Head& head() const;
  [[nodiscard]] std::byte* ring() const;

  SharedMemory memory_;
};

}  // namespace qmasq::vbond
