// SPDX-License-Identifier: Apache-2.0
#include "vbond/rename/name_arena.h"

#include <cstring>

namespace qmasq::vbond {

std::uint32_t NameArena::put(std::string_view text) {
  std::size_t need = units(text.size());
  std::uint32_t name = free_[need - 1];
  if (name != kNone) {
    std::memcpy(&free_[need - 1], at(name), sizeof name);
  } else {
    if (used_units_ + need > kChunkUnits) {
      chunks_.push_back(std::make_unique<char[]>(kChunkUnits * kUnit));
      used_units_ = 0;
    }
    name = static_cast<std::uint32_t>((chunks_.size() - 1) * kChunkUnits + used_units_);
    used_units_ += need;
  }
  char* place = at(name);
  place[0] = static_cast<char>(static_cast<unsigned char>(text.size()));
  if (!text.empty()) std::memcpy(place + 1, text.data(), text.size());
  return name;
}

std::string_view NameArena::get(std::uint32_t name) const {
  const char* place = at(name);
  return {place + 1, static_cast<unsigned char>(place[0])};
}

void NameArena::free(std::uint32_t name) {
  std::size_t size_class = units(get(name).size()) - 1;
  std::memcpy(at(name), &free_[size_class], sizeof name);
  free_[size_class] = name;
}

std::size_t NameArena::memory_bytes() const {
  return chunks_.size() * kChunkUnits * kUnit + chunks_.capacity() * sizeof(chunks_[0]);
}

}  // namespace qmasq::vbond
