// SPDX-License-Identifier: Apache-2.0
#include "vbond/survival/ledger.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

namespace qmasq::vbond {
namespace {

constexpr std::array<char, 8> kMagic = {'q', 'm', 'l', 'e', 'd', 'g', 'e', 'r'};
// Of everything behind CallSlot::notification. Changes with any change of its meaning.
constexpr std::uint32_t kLayout = 1;
constexpr std::size_t kHeadSize = 4096;

static_assert(std::is_standard_layout_v<NotificationSpace>);
static_assert(sizeof(CallSlot) <= 4096 && alignof(CallSlot) <= kHeadSize);

// The two that stay where they are in all layouts.
constexpr std::size_t kListenerAt = 0;
constexpr std::size_t kNotificationAt = 8;

}  // namespace

struct Ledger::Head {
  std::array<char, 8> magic;
  std::uint32_t layout = 0;
  std::uint32_t slot_size = 0;
  std::uint32_t slots = 0;
  std::atomic<std::uint64_t> last_context{0};
  std::atomic<std::uint64_t> last_listener{0};
};

Ledger::Head& Ledger::head() const {
  return *reinterpret_cast<Head*>(memory_.data());
}

CallSlot* Ledger::slots() const {
  return reinterpret_cast<CallSlot*>(memory_.data() + kHeadSize);
}

Result<std::unique_ptr<Ledger>> Ledger::create() {
  QMASQ_ASSIGN(auto memory,
               SharedMemory::create("qmasq-ledger", kHeadSize + kSlots * sizeof(CallSlot)));
  Head& head = *new (memory.data()) Head;
  head.layout = kLayout;
  head.slot_size = sizeof(CallSlot);
  head.slots = kSlots;
  head.magic = kMagic;
  std::unique_ptr<Ledger> out(new Ledger(std::move(memory)));
  // Zeroed memory is a free slot; none is touched before it is claimed.
  out->free_.reserve(kSlots);
  for (std::size_t i = kSlots; i > 0; --i)
    out->free_.push_back(out->slots() + i - 1);
  return out;
}

Result<std::unique_ptr<Ledger>> Ledger::adopt(UniqueFd descriptor) {
  QMASQ_ASSIGN(auto memory, SharedMemory::adopt(std::move(descriptor), kHeadSize));
  std::unique_ptr<Ledger> out(new Ledger(std::move(memory)));
  const Head& head = out->head();
  if (head.magic != kMagic || head.slot_size < kNotificationAt + NotificationSpace::kSize ||
      kHeadSize + std::uint64_t{head.slot_size} * head.slots > out->memory_.size()) {
    return fail(Code::kInvalidArgument, "not a ledger");
  }
  if (head.layout != kLayout || head.slot_size != sizeof(CallSlot) || head.slots != kSlots) {
    QMASQ_ASSIGN(auto fresh, create());
    fresh->carry_over(*out);
    return fresh;
  }
  for (std::size_t i = kSlots; i > 0; --i) {
    CallSlot* slot = out->slots() + i - 1;
    if (slot->listener.load(std::memory_order_acquire) == 0) {
      out->free_.push_back(slot);
    } else {
      out->left_.push_back(slot);
    }
  }
  return out;
}

void Ledger::carry_over(const Ledger& old) {
  renewed_ = true;
  const Head& head = old.head();
  given(head.last_context.load(), head.last_listener.load());
  for (std::uint32_t i = 0; i < head.slots; ++i) {
    const std::byte* at = old.memory_.data() + kHeadSize + std::size_t{i} * head.slot_size;
    std::uint64_t listener = 0;
    std::memcpy(&listener, at + kListenerAt, sizeof(listener));
    if (listener == 0) continue;
    CallSlot* slot = claim(listener);
    if (slot == nullptr) return;
    std::memcpy(slot->notification.bytes.data(), at + kNotificationAt, NotificationSpace::kSize);
    left_.push_back(slot);
  }
}

CallSlot* Ledger::claim(std::uint64_t listener) {
  std::lock_guard lock(mutex_);
  if (free_.empty()) return nullptr;
  CallSlot* slot = free_.back();
  free_.pop_back();
  slot->notification.clear();
  slot->stage.store(CallStage::kReceived, std::memory_order_relaxed);
  // The compiler must not put what comes before behind it; the kernel kills between instructions.
  slot->listener.store(listener, std::memory_order_release);
  return slot;
}

void Ledger::release(CallSlot* slot) {
  if (slot == nullptr) return;
  std::lock_guard lock(mutex_);
  slot->listener.store(0, std::memory_order_release);
  free_.push_back(slot);
}

std::vector<CallSlot*> Ledger::take_left(std::uint64_t listener) {
  std::lock_guard lock(mutex_);
  std::vector<CallSlot*> out;
  std::erase_if(left_, [&](CallSlot* slot) {
    if (slot->listener.load(std::memory_order_relaxed) != listener) return false;
    if (slot->notification.read()) {
      out.push_back(slot);
    } else {
      slot->listener.store(0, std::memory_order_release);
      free_.push_back(slot);
    }
    return true;
  });
  return out;
}

void Ledger::forget_left() {
  std::lock_guard lock(mutex_);
  for (CallSlot* slot : left_) {
    slot->listener.store(0, std::memory_order_release);
    free_.push_back(slot);
  }
  left_.clear();
}

std::uint64_t Ledger::next_context() {
  return head().last_context.fetch_add(1, std::memory_order_relaxed) + 1;
}
std::uint64_t Ledger::next_listener() {
  return head().last_listener.fetch_add(1, std::memory_order_relaxed) + 1;
}

void Ledger::given(std::uint64_t context, std::uint64_t listener) {
  if (head().last_context.load() < context) head().last_context.store(context);
  if (head().last_listener.load() < listener) head().last_listener.store(listener);
}

}  // namespace qmasq::vbond
