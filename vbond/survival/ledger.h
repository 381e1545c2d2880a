// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "common/result.h"
#include "vbond/kernel/notification_port.h"
#include "vbond/survival/shared_memory.h"
#include "vbond/uverbs/call_builder.h"

namespace qmasq::vbond {

// How far a call had come when whoever served it died.
enum class CallStage : std::uint32_t {
  kReceived,   // nothing that cannot be done again
  kPlacing,    // a descriptor is being given to the task: `handle` is its number, `context` which
  kExecuting,  // `call` is with the kernel
  kExecuted,   // the kernel has answered: `err`, or `value` and `call`
};

// A call on its way, one for each thread that receives calls. Lives in memory that outlives the
// agent; the kernel itself writes the notification, and the answers of an executed verb, into it.
struct CallSlot {
  // --- what every version of the agent can read ---
  std::atomic<std::uint64_t> listener{0};  // whose call; 0: nobody has the slot
  NotificationSpace notification;
  // --- of this version ---
  std::atomic<CallStage> stage{CallStage::kReceived};
  std::int32_t err = 0;
  std::int64_t value = 0;
  std::uint64_t context = 0;
  std::uint32_t handle = 0;       // what is changed or destroyed
  std::uint32_t number = 0;       // the agent's own, of an address handle that is made
  std::uint32_t type = 0;         // of a QP that is made
  std::uint32_t driver_id = 0;    // as the call has it
  std::uint8_t state_before = 0;  // of a QP that is changed (uverbs::QpState)
  bool existed = false;           // what is destroyed was known before
  uverbs::CallBuilder::Image call;
};

// The calls that are on their way, for whoever comes after this process.
//
// A call that was received and whose receiver died cannot be received again, and its task waits for
// as long as the listener is open anywhere. It can be answered by its id. So a receiver lets the
// kernel write each call into its slot here, and notes there what it does before it does it; the
// next agent goes through the slots and finishes what still waits (NotificationPort::alive): see
// docs/adr/0021. A slot needs no end of a call: an id that was answered is never valid again.
//
// Also the numbers that must not be given twice by agents that follow one another. Thread-safe.
class Ledger {
 public:
  static constexpr std::size_t kSlots = 8192;

  // Points that tests stop at; at each of them the process may die.
  enum class Point { kReceived, kCopied, kCalled, kNoted, kCopiedBack, kPlaced, kAnswered };

  [[nodiscard]] static Result<std::unique_ptr<Ledger>> create();
  // The one of an agent before this. Slots of one that had another layout are carried over into a
  // new one as calls that were just received. kInvalidArgument: not a ledger.
  [[nodiscard]] static Result<std::unique_ptr<Ledger>> adopt(UniqueFd memory);

  // To be put into the keeper.
  [[nodiscard]] int descriptor() const { return memory_.descriptor(); }
  // The memory is not the one that adopt() was given.
  [[nodiscard]] bool renewed() const { return renewed_; }

  // A slot for a thread that receives calls of this listener. Null: none is left.
  [[nodiscard]] CallSlot* claim(std::uint64_t listener);
  void release(CallSlot* slot);

  // Slots of the agent before with a call in them, by listener; each once. They are the caller's.
  [[nodiscard]] std::vector<CallSlot*> take_left(std::uint64_t listener);
  // Those that nobody took.
  void forget_left();

  [[nodiscard]] std::uint64_t next_context();
  [[nodiscard]] std::uint64_t next_listener();
  // These numbers were given.
  void given(std::uint64_t context, std::uint64_t listener);

  void pass(Point point) const {
    if (observer_) observer_(point);
  }
  // For tests; before the first call is received.
  void observe(std::function<void(Point)> observer) { observer_ = std::move(observer); }

 private:
  struct Head;
  explicit Ledger(SharedMemory memory) : memory_(std::move(memory)) {}
  [[nodiscard]] Head& head() const;
  [[nodiscard]] CallSlot* slots() const;
  void carry_over(const Ledger& old);

  SharedMemory memory_;
  bool renewed_ = false;
  std::function<void(Point)> observer_;
  std::mutex mutex_;  // guards all below
  std::vector<CallSlot*> free_;
  std::vector<CallSlot*> left_;
};

}  // namespace qmasq::vbond
