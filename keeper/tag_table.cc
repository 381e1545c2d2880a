// SPDX-License-Identifier: Apache-2.0
#include "keeper/tag_table.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>

#include "keeper/protocol.h"

namespace qmasq::keeper {
namespace {

constexpr std::uint64_t kTableMagic = 0x314c424154514d51;  // "QMQTABL1", the format's version in it

Result<TagTable> failed(const char* what) {
  return fail(Code::kResourceExhausted, std::string(what) + ": " + std::strerror(errno));
}

}  // namespace

// Both are what the file consists of: Head, then slots.
struct TagTable::Head {
  std::uint64_t magic;
  std::uint64_t last_id;
};
struct TagTable::Slot {
  std::uint64_t id;  // 0: free, and the rest means nothing. Stored last
  // Of two slots with one id the later holds: a process died while it changed a tag.
  std::uint64_t change;
  std::uint64_t size;
  char tag[kMaxText];  // NOLINT: a layout
};

void Unmap::operator()(void* memory) const {
  ::munmap(memory, size);
}

TagTable::Head& TagTable::head() const {
  return *static_cast<Head*>(memory_.get());
}

TagTable::Slot& TagTable::slot(std::size_t index) const {
  auto* first = reinterpret_cast<Slot*>(static_cast<char*>(memory_.get()) + sizeof(Head));
  return first[index];
}

Result<TagTable> TagTable::map(UniqueFd file, std::size_t slots) {
  static_assert(std::is_trivially_copyable_v<Slot> && sizeof(Head) % alignof(Slot) == 0);
  const std::size_t size = sizeof(Head) + slots * sizeof(Slot);
  if (::ftruncate(file.get(), static_cast<off_t>(size)) != 0) return failed("size of the table");
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) return failed("memory for the table");
  TagTable table;
  table.file_ = std::move(file);
  table.memory_ = std::unique_ptr<void, Unmap>(memory, Unmap{size});
  table.slots_ = slots;
  return table;
}

Result<TagTable> TagTable::create(std::size_t entries) {
  UniqueFd file(::memfd_create("qmasq-keeper-tags", MFD_CLOEXEC));
  if (!file.valid()) return failed("a file for the table");
  QMASQ_ASSIGN(auto table, map(std::move(file), entries + 1));
  table.head().magic = kTableMagic;
  table.read_slots();
  return table;
}

Result<TagTable> TagTable::adopt(UniqueFd file, std::size_t entries) {
  struct stat found {};
  if (::fstat(file.get(), &found) != 0) return failed("look at the table");
  const auto size = static_cast<std::size_t>(found.st_size);
  if (!S_ISREG(found.st_mode) || size < sizeof(Head) || (size - sizeof(Head)) % sizeof(Slot) != 0) {
    return fail(Code::kUnsupported, "the table is of another size than this version makes");
  }
  QMASQ_ASSIGN(auto table,
               map(std::move(file), std::max(entries + 1, (size - sizeof(Head)) / sizeof(Slot))));
  if (table.head().magic != kTableMagic) {
    return fail(Code::kUnsupported, "the table is of another version");
  }
  table.read_slots();
  return table;
}

void TagTable::read_slots() {
  for (std::size_t i = 0; i < slots_; ++i) {
    Slot& one = slot(i);
    if (one.id == 0 || one.size > kMaxText) continue;
    auto [entry, fresh] = by_id_.try_emplace(one.id, i);
    if (fresh) continue;
    Slot& other = slot(entry->second);
    (one.change > other.change ? other : one).id = 0;
    if (one.id != 0) entry->second = i;
  }
  // Lowest first: pages that were never used stay so.
  for (std::size_t i = slots_; i-- > 0;) {
    auto used = by_id_.find(slot(i).id);
    if (used == by_id_.end() || used->second != i) free_.push_back(i);
  }
}

std::uint64_t TagTable::next_id() {
  return ++head().last_id;
}

void TagTable::skip_to(std::uint64_t id) {
  head().last_id = std::max(head().last_id, id);
}

bool TagTable::set(std::uint64_t id, std::string_view tag) {
  if (free_.empty()) return false;
  const std::size_t index = free_.back();
  auto known = by_id_.find(id);
  // The last free slot is for changes: an entry that could never be changed is not made.
  if (known == by_id_.end() && free_.size() == 1) return false;
  free_.pop_back();
  Slot& fresh = slot(index);
  fresh.change = known == by_id_.end() ? 0 : slot(known->second).change + 1;
  fresh.size = tag.size();
  std::memcpy(fresh.tag, tag.data(), tag.size());
  std::atomic_ref(fresh.id).store(id, std::memory_order_release);
  if (known == by_id_.end()) {
    by_id_.emplace(id, index);
    return true;
  }
  std::atomic_ref(slot(known->second).id).store(0, std::memory_order_release);
  free_.push_back(std::exchange(known->second, index));
  return true;
}

void TagTable::erase(std::uint64_t id) {
  auto known = by_id_.find(id);
  if (known == by_id_.end()) return;
  std::atomic_ref(slot(known->second).id).store(0, std::memory_order_release);
  free_.push_back(known->second);
  by_id_.erase(known);
}

std::string_view TagTable::tag(std::uint64_t id) const {
  auto known = by_id_.find(id);
  if (known == by_id_.end()) return {};
  const Slot& found = slot(known->second);
  return {found.tag, found.size};
}

void TagTable::for_each(const std::function<void(std::uint64_t id)>& visit) const {
  for (const auto& [id, index] : by_id_)
    visit(id);
}

}  // namespace qmasq::keeper
