// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "vbond/guard/guard.h"
#include "vbond/intercept/trap.h"
#include "vbond/kernel/redirector.h"
#include "vbond/sealed/sealed_memory.h"
#include "vbond/survival/custody.h"
#include "vbond/uverbs/call.h"
#include "vbond/uverbs/verb.h"

namespace qmasq::vbond {

// What runs in a tenant is read by the kernel from memory that nobody there can change
// (docs/adr/0029):
//
//   1. A call comes whose arguments lie in the program's memory. They are copied, laid out as they
//      are to lie in a slot, and judged there: what is judged is what will run. Then they are
//      written into the slot, and the thread is sent to make its call once more, with that pointer.
//   2. A call comes whose arguments are sealed: if it is the one that this thread was sent to make,
//      and the slot is mapped where it should be, it runs. Nothing is read any more.
//
// A sealed pointer that nobody was sent with (the agent was started again; a signal's handler made
// a call in between) starts over from the program's own pointer, which the trampoline has left on
// the stack.
//
// A slot belongs to its call until that has come back: another call's bytes in it would be read by
// the first. It has, when the guard says so, or its task has made another trapped call or is gone.
class SealedCalls {
 public:
  // Both null: nothing survives the agent.
  struct Tickets {
    Custody::Ticket writable;
    Custody::Ticket readable;
  };

  // `inherited`: there may be calls in the slots that an agent before this one let run.
  SealedCalls(std::unique_ptr<sealed::SealedMemory> memory, Tickets tickets, Redirector& redirector,
              bool inherited);

  // The slot of this call, if it is the one that its thread was sent to make; the caller's until
  // land() or free(). Nothing: it is any other.
  [[nodiscard]] std::optional<unsigned> claim(const Notification& call);
  void free(unsigned slot);
  // The task has made another call: it will not make the one it was sent to make.
  void landed(pid_t tid);
  // Whether the task's last call was sent back to be made again: then this one is paid for (verb
  // rates). Once for each.
  [[nodiscard]] bool is_paid(pid_t tid);
  // The call as the program made it, where it comes from the trampoline. Nothing: it makes no
  // sense, and is refused.
  [[nodiscard]] std::optional<Notification> as_made(TenantMemory& memory, NotificationPort& port,
                                                    const Notification& call) const;

  // Step 1. What the caller gets instead when it is not sent.
  [[nodiscard]] Answer send(Trap& trap, Context& context, const uverbs::Call& call,
                            const uverbs::Verb& verb);
  // Step 2. `slot`: as claimed; `context`: behind the descriptor that the call is on now.
  [[nodiscard]] Answer land(Trap& trap, Context& context, unsigned slot);
  // Nothing: the sealed pages are mapped in this process. Else what the caller gets; it may be that
  // it makes its call again.
  [[nodiscard]] std::optional<Answer> prepare(Trap& trap);

  [[nodiscard]] const Tickets& tickets() const { return tickets_; }

 private:
  enum class State : std::uint8_t {
    kFree,
    kTaken,      // by a receiver
    kSent,       // its thread is to come
    kRunning,    // it was let run
    kInherited,  // an agent before this one may have let it run
  };
  struct Slot {
    State state = State::kFree;
    pid_t tid = 0;
    std::chrono::steady_clock::time_point since;
    std::uint64_t header = 0;
    std::shared_ptr<Context> context;
    std::size_t row = kNotCounted;
    Guard::Call permit;
    Expectation expectation;
  };

  // Waits for one, as long as options.turn.
  [[nodiscard]] tl::expected<unsigned, Answer> take(Trap& trap);
  // It is paid for, and not counted, since it comes again.
  [[nodiscard]] Answer comes_again(Trap& trap);
  // Lets a call that is waiting to be received go first. Nothing: there is none.
  [[nodiscard]] std::optional<Answer> stand_back(Trap& trap);
  // REQUIRES of these: mutex_.
  [[nodiscard]] std::optional<unsigned> find_free(Trap& trap);
  [[nodiscard]] bool is_over(Trap& trap, const Slot& slot) const;
  [[nodiscard]] static bool in_flight(Trap& trap, const Slot& slot);

  // Of a task whose call is being served.
  [[nodiscard]] ErrnoOr<Redirector::Position> position_of(NotificationPort& port,
                                                          const Notification& call) const;

  [[nodiscard]] Redirector::Trampoline trampoline() const;
  [[nodiscard]] bool is_mapped(pid_t tid, unsigned slot);

  const std::unique_ptr<sealed::SealedMemory> memory_;
  const Tickets tickets_;
  Redirector& redirector_;
  mutable std::mutex mutex_;  // guards all below
  std::array<Slot, sealed::kSlots> slots_;
  std::unordered_map<pid_t, std::chrono::steady_clock::time_point> waiting_;  // since when
  std::unordered_set<pid_t> paid_;
};

}  // namespace qmasq::vbond
