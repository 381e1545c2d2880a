// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"

namespace qmasq::keeper {

struct Unmap {
  std::size_t size = 0;
  void operator()(void* memory) const;
};

// Ids and tags of what is held, in a memory file that can be handed to the next keeper process.
// A change is there or is not there whatever instant this process dies at: it is written into a
// free slot, which then takes effect by one store. Single-threaded.
class TagTable {
 public:
  // Room for `entries`, and for one change under way. kResourceExhausted: no memory.
  [[nodiscard]] static Result<TagTable> create(std::size_t entries);
  // One that another process left, made larger where it has less room. kUnsupported: it is of a
  // format that this program does not know, or damaged.
  [[nodiscard]] static Result<TagTable> adopt(UniqueFd file, std::size_t entries);

  // An id that was never given before.
  [[nodiscard]] std::uint64_t next_id();
  // Ids up to this one count as given.
  void skip_to(std::uint64_t id);
  // Enters `id`, or gives it another tag. False: no room.
  // REQUIRES: tag.size() <= kMaxText.
  [[nodiscard]] bool set(std::uint64_t id, std::string_view tag);
  void erase(std::uint64_t id);
  // Valid until the next change; empty for an id that is not there.
  [[nodiscard]] std::string_view tag(std::uint64_t id) const;
  void for_each(const std::function<void(std::uint64_t id)>& visit) const;

  [[nodiscard]] int descriptor() const { return file_.get(); }

 private:
  struct Head;
  struct Slot;

  [[nodiscard]] static Result<TagTable> map(UniqueFd file, std::size_t slots);
  [[nodiscard]] Head& head() const;
  [[nodiscard]] Slot& slot(std::size_t index) const;
  void read_slots();

  UniqueFd file_;
  std::unique_ptr<void, Unmap> memory_;
  std::size_t slots_ = 0;
  // What follows from the file.
  std::map<std::uint64_t, std::size_t> by_id_;
  std::vector<std::size_t> free_;
};

}  // namespace qmasq::keeper
