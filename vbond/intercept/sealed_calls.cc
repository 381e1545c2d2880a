// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/sealed_calls.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "common/backoff.h"
#include "vbond/attach/protocol.h"
#include "vbond/intercept/checks.h"
#include "vbond/intercept/turn.h"
#include "vbond/sealed/trampoline.h"

namespace qmasq::vbond {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
// Not the agent's clock: these are waits of this very thread.
using Stopwatch = std::chrono::steady_clock;

constexpr microseconds kLongestPause{1000};
// A thread that was sent comes at once, unless a signal's handler, a stop or an end comes between.
// If it comes after its slot was given away, it starts over.
constexpr milliseconds kComesWithin{1000};
// A task whose call was received is asleep, or about to be.
constexpr milliseconds kSleepsWithin{5000};
// Threads that wait for a slot, each with its patience. Those that were killed leave theirs behind.
constexpr std::size_t kMostWaiting = 1024;
// Of calls that are made again; likewise.
constexpr std::size_t kMostPaid = 1024;
// A call that was let run has read its arguments, where nobody can say whether it has come back.
constexpr std::chrono::seconds kSurelyOver{20};

bool is_sealed(std::uint64_t address) {
  return address >= sealed::kBase && address < sealed::kEnd;
}

}  // namespace

SealedCalls::SealedCalls(std::unique_ptr<sealed::SealedMemory> memory, Tickets tickets,
                         Redirector& redirector, bool inherited)
    : memory_(std::move(memory)), tickets_(std::move(tickets)), redirector_(redirector) {
  if (!inherited) return;
  for (unsigned i = 0; i < slots_.size(); ++i) {
    const auto note = memory_->note(i);
    if (note.tid == 0) continue;
    slots_[i].state = State::kInherited;
    slots_[i].tid = note.tid;
    slots_[i].header = note.header;
    slots_[i].since = Stopwatch::now();
  }
}

std::optional<unsigned> SealedCalls::claim(const Notification& call) {
  const auto slot = sealed::slot_of(call.args[2]);
  if (!slot) return std::nullopt;
  std::lock_guard lock(mutex_);
  Slot& has = slots_[*slot];
  if (has.state != State::kSent || has.tid != call.tid || has.header != call.args[2])
    return std::nullopt;
  has.state = State::kTaken;
  return slot;
}

void SealedCalls::landed(pid_t tid) {
  std::lock_guard lock(mutex_);
  for (Slot& slot : slots_) {
    if (slot.tid == tid && slot.state != State::kFree && slot.state != State::kTaken) slot = {};
  }
}

// The kernel wakes a task when its call is received, for it to sleep on where only a kill gets
// through; until it does, it runs.
ErrnoOr<Redirector::Position> SealedCalls::position_of(NotificationPort& port,
                                                       const Notification& call) const {
  const auto begun = Stopwatch::now();
  Backoff backoff(kLongestPause);
  for (;;) {
    auto at = redirector_.position(call.tid);
    if (at || at.error() != EAGAIN || Stopwatch::now() - begun >= kSleepsWithin ||
        !port.alive(call.id))
      return at;
    backoff.wait();
  }
}

std::optional<Notification> SealedCalls::as_made(TenantMemory& memory, NotificationPort& port,
                                                 const Notification& call) const {
  if (!is_sealed(call.args[2])) return call;
  const auto at = position_of(port, call);
  if (!at || at->program != trampoline().after) return std::nullopt;
  Notification out = call;
  TenantMemory::In own{at->stack, std::as_writable_bytes(std::span(&out.args[2], 1))};
  if (memory.read(call.tid, std::span(&own, 1)) != 0 || is_sealed(out.args[2])) return std::nullopt;
  return out;
}

// What the guard says of a task that runs: in the call, or behind it. Without one it may be either.
bool SealedCalls::in_flight(Trap& trap, const Slot& slot) {
  auto has_call = [&](const Context& context) {
    if (context.slot == 0) return true;
    const Guard::State state = trap.services.guard().state(context.slot);
    return state.flight != Guard::Flight::kNone && state.tid == slot.tid;
  };
  if (slot.context) return has_call(*slot.context);
  const auto contexts = trap.attachment.contexts().all();
  return std::any_of(contexts.begin(), contexts.end(),
                     [&](const auto& each) { return has_call(*each); });
}

// REQUIRES: mutex_.
bool SealedCalls::is_over(Trap& trap, const Slot& slot) const {
  switch (slot.state) {
    case State::kFree:
      return true;
    case State::kTaken:
      return false;
    case State::kSent:
      return Stopwatch::now() - slot.since >= kComesWithin;
    case State::kRunning:
    case State::kInherited: {
      // Where it waits now: in that call, or in another.
      const auto at = redirector_.position(slot.tid);
      if (at) return at->third_argument != slot.header;
      if (at.error() != EAGAIN) return true;
      return !in_flight(trap, slot) || Stopwatch::now() - slot.since >= kSurelyOver;
    }
  }
  return false;
}

std::optional<unsigned> SealedCalls::find_free(Trap& trap) {
  for (unsigned i = 0; i < slots_.size(); ++i) {
    if (slots_[i].state == State::kFree) return i;
  }
  for (unsigned i = 0; i < slots_.size(); ++i) {
    if (is_over(trap, slots_[i])) return i;
  }
  return std::nullopt;
}

// A call that waits for a slot may be in the way of the one that it waits for, which has yet to be
// received.
std::optional<Answer> SealedCalls::stand_back(Trap& trap) {
  if (!trap.attachment.port().pending()) return std::nullopt;
  const auto done = redirector_.repeat(trap.attachment.port(), trap.received);
  if (done.done == Redirector::Done::kTraced)
    return trap.refuse("SEALED", EBUSY, "a debugger traces the thread");
  return comes_again(trap);
}

Answer SealedCalls::comes_again(Trap& trap) {
  trap.row = kNotCounted;
  if (!trap.attachment.tenancy->rated()) return Answer::sent();
  std::lock_guard lock(mutex_);
  if (paid_.size() >= kMostPaid) paid_.clear();
  paid_.insert(trap.tid());
  return Answer::sent();
}

bool SealedCalls::is_paid(pid_t tid) {
  std::lock_guard lock(mutex_);
  return paid_.erase(tid) != 0;
}

tl::expected<unsigned, Answer> SealedCalls::take(Trap& trap) {
  auto begun = Stopwatch::now();
  {
    std::lock_guard lock(mutex_);
    if (auto since = waiting_.find(trap.tid()); since != waiting_.end()) begun = since->second;
  }
  Backoff backoff(kLongestPause);
  for (;;) {
    {
      std::lock_guard lock(mutex_);
      if (auto slot = find_free(trap)) {
        memory_->note(*slot, {});
        slots_[*slot] = {};
        slots_[*slot].state = State::kTaken;
        slots_[*slot].tid = trap.tid();
        waiting_.erase(trap.tid());
        return *slot;
      }
    }
    if (trap.attachment.stopping()) return tl::unexpected(Answer::gone());
    if (trap.attachment.revoked()) return tl::unexpected(Answer::fails(ENODEV, Outcome::kRefused));
    if (Stopwatch::now() - begun >= trap.services.options.turn) {
      std::lock_guard lock(mutex_);
      waiting_.erase(trap.tid());
      return tl::unexpected(
          trap.refuse("SEALED", EBUSY, "the calls of this program that run do not end"));
    }
    const bool for_long = backoff.at_longest();
    backoff.wait();
    if (for_long) {
      {
        std::lock_guard lock(mutex_);
        if (waiting_.size() >= kMostWaiting) waiting_.clear();
        waiting_.emplace(trap.tid(), begun);
      }
      if (auto answer = stand_back(trap)) return tl::unexpected(*answer);
    }
  }
}

void SealedCalls::free(unsigned slot) {
  std::lock_guard lock(mutex_);
  slots_[slot] = {};
}

Redirector::Trampoline SealedCalls::trampoline() const {
  return {sealed::kBase, sealed::kBase + sealed::trampoline_again(),
          sealed::kBase + sealed::trampoline_after()};
}

std::optional<Answer> SealedCalls::prepare(Trap& trap) {
  const auto& file = memory_->identity();
  const sealed::Range code = sealed::range(0);
  if (redirector_.has(trap.tid(), code.address, code.address + code.size, file.device, file.inode))
    return std::nullopt;
  auto refused = [&](int err, std::string why) {
    return trap.refuse("SEALED", err, "the lowest addresses of the program: " + std::move(why));
  };
  std::array<Redirector::Mapped, sealed::kRanges> there;
  const auto found = redirector_.look(trap.tid(), sealed::kEnd, there);
  const auto heap = redirector_.heap(trap.tid());
  if (!found || !heap || !trap.alive()) return Answer::gone();
  if (*heap < kKeptBelow) return refused(EPERM, "its heap begins there");
  auto lent = trap.attachment.port().place_lowest(trap.call.id, memory_->readable());
  if (!lent) {
    if (lent.error() == ENOENT) return Answer::gone();
    return refused(lent.error(), "no descriptor to map sealed memory from");
  }
  std::vector<Redirector::Mapping> missing;
  // The code last: where that is mapped, all is.
  for (std::size_t i = sealed::kRanges; i-- > 0;) {
    const sealed::Range range = sealed::range(i);
    // Mapped before a signal came between.
    const bool is_there = std::any_of(
        there.begin(), there.begin() + static_cast<std::ptrdiff_t>(*found),
        [&](const Redirector::Mapped& each) {
          return each.begin == range.address && each.end == range.address + range.size &&
                 each.shared == range.sealed && each.write != range.sealed;
        });
    if (is_there) continue;
    missing.push_back({range.address, range.size, range.sealed ? *lent : -1,
                       range.sealed ? range.address - sealed::kBase : 0, range.code});
  }
  const auto done = redirector_.map(trap.attachment.port(), trap.received, missing, *lent);
  switch (done.done) {
    case Redirector::Done::kTraced:
      return refused(EBUSY, "a debugger traces it");
    case Redirector::Done::kFailed:
      (void)refused(done.err, "errno " + std::to_string(done.err) + " from mmap()");
      break;
    default:
      break;
  }
  trap.row = kNotCounted;
  return Answer::sent();
}

Answer SealedCalls::send(Trap& trap, Context& context, const uverbs::Call& call,
                         const uverbs::Verb& verb) {
  if (int err = uverbs::check_attrs(call, verb, uverbs::UnknownAttrs::kRefuse); err != 0)
    return Answer::fails(err);
  if (auto answer = prepare(trap))
    return answer->how == Answer::How::kSent ? comes_again(trap) : *answer;
  auto slot = take(trap);
  if (!slot) return slot.error();
  auto give_up = [&](Answer answer) {
    free(*slot);
    return answer;
  };
  auto laid = sealed::lay_out(call, verb, *slot, trap.call.args[2]);
  if (!laid) {
    if (laid.error() != E2BIG) return give_up(Answer::fails(laid.error()));
    return give_up(trap.refuse(verb.name, E2BIG, "its arguments are too long to be sealed"));
  }
  std::vector<TenantMemory::In> pieces;
  for (const auto& payload : laid->payloads())
    pieces.push_back({payload.from, payload.bytes});
  if (int err = trap.fetch(pieces); err != 0)
    return give_up(err == ESRCH ? Answer::gone() : Answer::fails(err));
  if (!trap.alive()) return give_up(Answer::gone());
  auto copy = uverbs::decode_call(laid->call());
  if (!copy) return give_up(Answer::fails(copy.error()));
  // From here on the call is what lies in the copy, pointers into it included.
  trap.keep(sealed::slot_page(*slot), laid->page());
  Answer answer = check_and_run(trap, context, *copy, verb);
  if (answer.how != Answer::How::kRun) return give_up(answer);

  const TenantMemory::Out tail{sealed::tail_page(*slot), laid->tail()};
  if (int err = trap.write(std::span(&tail, 1)); err != 0)
    return give_up(err == ENOENT || err == ESRCH ? Answer::gone() : Answer::fails(err));
  memory_->write(*laid);
  {
    std::lock_guard lock(mutex_);
    Slot& has = slots_[*slot];
    has.state = State::kSent;
    has.since = Stopwatch::now();
    has.header = laid->header();
    has.context = context.shared_from_this();
    has.row = trap.row;
    has.permit = call_of(trap, *copy);
    has.expectation = trap.expectation;
  }
  const auto done =
      redirector_.send(trap.attachment.port(), trap.received, trampoline(), laid->header());
  switch (done.done) {
    case Redirector::Done::kSent:
      trap.row = kNotCounted;  // it is counted when it comes
      return Answer::sent();
    case Redirector::Done::kTraced:
      return give_up(trap.refuse(verb.name, EBUSY, "a debugger traces the thread"));
    case Redirector::Done::kRepeats:
      (void)comes_again(trap);
      return give_up(Answer::gone());
    case Redirector::Done::kGone:
    case Redirector::Done::kFailed:
      break;
  }
  return give_up(Answer::gone());
}

bool SealedCalls::is_mapped(pid_t tid, unsigned slot) {
  const sealed::Range range = sealed::range_of_slot(slot);
  std::array<Redirector::Mapped, sealed::kRanges> there;
  const auto found = redirector_.look(tid, sealed::kEnd, there);
  if (!found) return false;
  const auto& file = memory_->identity();
  return std::any_of(there.begin(), there.begin() + static_cast<std::ptrdiff_t>(*found),
                     [&](const Redirector::Mapped& each) {
                       return each.begin == range.address &&
                              each.end == range.address + range.size && each.read && !each.write &&
                              each.shared && each.offset == range.address - sealed::kBase &&
                              each.device == file.device && each.inode == file.inode;
                     });
}

Answer SealedCalls::land(Trap& trap, Context& context, unsigned slot) {
  // Taken: nobody else has it.
  Guard::Call permit;
  bool same = false;
  {
    std::lock_guard lock(mutex_);
    const Slot& has = slots_[slot];
    trap.row = has.row;
    trap.expectation = has.expectation;
    permit = has.permit;
    same = has.context.get() == &context;
  }
  auto give_up = [&](Answer answer) {
    free(slot);
    return answer;
  };
  // Not read by anybody before it runs: it has to be where the agent has put it.
  const bool mapped = same && is_mapped(trap.tid(), slot);
  if (!trap.alive()) return give_up(Answer::gone());
  if (!mapped) {
    return give_up(trap.refuse("SEALED", EPERM,
                               same ? "its sealed memory is not as the agent has mapped it"
                                    : "another device than the call was checked for"));
  }
  if (trap.attachment.revoked()) return give_up(Answer::fails(ENODEV, Outcome::kRefused));
  memory_->note(slot, {trap.tid(), trap.call.args[2]});
  Answer answer = let_run(trap, context, permit, Answer::run());
  if (answer.how != Answer::How::kRun) return give_up(answer);
  std::lock_guard lock(mutex_);
  slots_[slot].state = State::kRunning;
  slots_[slot].since = Stopwatch::now();
  return answer;
}

}  // namespace qmasq::vbond
