// SPDX-License-Identifier: Apache-2.0
#include "vbond/journal/memory_log.h"

#include <array>
#include <atomic>
#include <cstring>
#include <new>

namespace qmasq::vbond {
namespace {

constexpr std::array<char, 8> kMagic = {'q', 'm', 'j', 'o', 'u', 'r', 'n', 'l'};
constexpr std::uint32_t kLayout = 1;
constexpr std::size_t kHeadSize = 4096;
constexpr std::uint32_t kFiller = 0xffffffff;  // up to the ring's end
constexpr std::size_t kMaxRecord = std::size_t{64} * 1024;

std::size_t round_up(std::size_t size) {
  return (size + 7) & ~std::size_t{7};
}

}  // namespace

struct MemoryLog::Head {
  std::array<char, 8> magic;
  std::uint32_t layout = 0;
  std::atomic<std::uint32_t> lost{0};
  // Bytes ever written, and ever trimmed.
  std::atomic<std::uint64_t> end{0};
  std::atomic<std::uint64_t> begin{0};
};

// Before each record.
struct MemoryLog::Mark {
  std::uint32_t size = 0;  // of the record, or kFiller
  std::uint32_t handle = 0;
  std::uint64_t context = 0;
};

MemoryLog::Head& MemoryLog::head() const {
  return *reinterpret_cast<Head*>(memory_.data());
}
std::byte* MemoryLog::ring() const {
  return memory_.data() + kHeadSize;
}

Result<std::unique_ptr<MemoryLog>> MemoryLog::create() {
  QMASQ_ASSIGN(auto memory, SharedMemory::create("qmasq-journal", kHeadSize + kSize));
  Head& head = *new (memory.data()) Head;
  head.layout = kLayout;
  head.magic = kMagic;
  return std::unique_ptr<MemoryLog>(new MemoryLog(std::move(memory)));
}

Result<std::unique_ptr<MemoryLog>> MemoryLog::adopt(UniqueFd descriptor) {
  QMASQ_ASSIGN(auto memory, SharedMemory::adopt(std::move(descriptor), kHeadSize + kSize));
  std::unique_ptr<MemoryLog> out(new MemoryLog(std::move(memory)));
  const Head& head = out->head();
  const std::uint64_t used = head.end.load() - head.begin.load();
  if (head.magic != kMagic || head.layout != kLayout || used > kSize) {
    return fail(Code::kInvalidArgument, "not a journal of this version");
  }
  return out;
}

bool MemoryLog::append(QpKey key, std::string_view record) {
  static_assert(sizeof(Mark) == 16);
  Head& state = head();
  std::uint64_t end = state.end.load(std::memory_order_relaxed);
  const std::size_t need = sizeof(Mark) + round_up(record.size());
  const std::size_t to_end = kSize - end % kSize;
  const std::size_t filler = to_end < need ? to_end : 0;
  const std::uint64_t used = end - state.begin.load(std::memory_order_acquire);
  if (record.size() > kMaxRecord || used + filler + need > kSize) {
    state.lost.store(1, std::memory_order_release);
    return false;
  }
  if (filler != 0) {
    const std::uint32_t mark = kFiller;
    std::memcpy(ring() + end % kSize, &mark, sizeof(mark));
    end += filler;
  }
  const Mark mark{static_cast<std::uint32_t>(record.size()), key.handle, key.context};
  std::memcpy(ring() + end % kSize, &mark, sizeof(mark));
  if (!record.empty())
    std::memcpy(ring() + end % kSize + sizeof(mark), record.data(), record.size());
  // All of it is there before it counts.
  state.end.store(end + need, std::memory_order_release);
  return true;
}

std::uint64_t MemoryLog::position() const {
  return head().end.load(std::memory_order_acquire);
}
void MemoryLog::trim(std::uint64_t position) {
  head().begin.store(position, std::memory_order_release);
}

bool MemoryLog::replay(const std::function<void(QpKey key, std::string_view record)>& each) const {
  const std::uint64_t end = head().end.load();
  for (std::uint64_t at = head().begin.load(); at < end;) {
    const std::size_t to_end = kSize - at % kSize;
    Mark mark;
    if (to_end < sizeof(mark)) {
      at += to_end;  // a filler too short for a mark
      continue;
    }
    std::memcpy(&mark, ring() + at % kSize, sizeof(mark));
    if (mark.size == kFiller) {
      at += to_end;
      continue;
    }
    const std::size_t need = sizeof(mark) + round_up(mark.size);
    if (mark.size > kMaxRecord || need > to_end || at + need > end) return false;
    each(QpKey{mark.context, mark.handle},
         {reinterpret_cast<const char*>(ring() + at % kSize + sizeof(mark)), mark.size});
    at += need;
  }
  return true;
}

bool MemoryLog::lost() const {
  return head().lost.load(std::memory_order_acquire) != 0;
}
void MemoryLog::clear_lost() {
  head().lost.store(0, std::memory_order_release);
}

}  // namespace qmasq::vbond
