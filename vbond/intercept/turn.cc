// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/turn.h"

#include <cerrno>
#include <chrono>

#include "common/backoff.h"
#include "vbond/intercept/context.h"

namespace qmasq::vbond {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
// Not the agent's clock: these are waits of this very thread.
using Stopwatch = std::chrono::steady_clock;

constexpr microseconds kLongestPause{2000};
// Before asking whether the caller is still alive, which costs more than most calls take.
constexpr milliseconds kAskAfter{10};

// A call that was let run and has not begun: will it never? A task is in one call at a time.
bool never_comes(Trap& trap, const Guard::State& state, Stopwatch::duration waited) {
  if (state.flight != Guard::Flight::kPermitted) return false;
  if (state.tid == trap.tid() || waited >= trap.services.options.permit) return true;
  return waited >= kAskAfter && !trap.services.parts.tasks.process_of(state.tid);
}

}  // namespace

tl::expected<std::unique_lock<std::mutex>, Answer> take_turn(Trap& trap, Context& context) {
  Guard& guard = trap.services.guard();
  auto refused = [](int err) { return tl::unexpected(Answer::fails(err, Outcome::kRefused)); };
  auto begun = Stopwatch::time_point{};
  Backoff backoff(kLongestPause);
  for (;;) {
    std::unique_lock lock(context.mutex);
    if (context.closed) return refused(ENODEV);
    const Guard::State state = guard.state(context.slot);
    if (state.condemned) return refused(ENODEV);
    if (state.flight == Guard::Flight::kNone) return lock;
    const auto now = Stopwatch::now();
    if (begun == Stopwatch::time_point{}) begun = now;
    if (never_comes(trap, state, now - begun) && guard.withdraw(context.slot)) return lock;
    lock.unlock();
    if (trap.attachment.stopping()) return tl::unexpected(Answer::gone());
    if (trap.attachment.revoked()) return refused(ENODEV);
    if (now - begun >= trap.services.options.turn) {
      return tl::unexpected(trap.refuse("TURN", EBUSY, "another call on this device does not end"));
    }
    backoff.wait();
  }
}

Guard::Call call_of(const Trap& trap, const uverbs::Call& call) {
  return {trap.tid(), call.object_id(), call.method_id(), call.write_cmd(), trap.qp_type};
}

Answer let_run(Trap& trap, Context& context, const Guard::Call& call, const Answer& answer) {
  if (answer.how != Answer::How::kRun || context.slot == 0) return answer;
  auto turn = take_turn(trap, context);
  if (!turn) return turn.error();
  // Where the call lies now: a sealed call is let run at another place than it was checked at.
  Guard::Call permitted = call;
  permitted.argument = trap.call.args[2];
  trap.services.guard().permit(context.slot, permitted);
  trap.permitted = context.shared_from_this();
  return answer;
}

}  // namespace qmasq::vbond
