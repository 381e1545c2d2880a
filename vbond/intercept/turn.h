// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>

#include <tl/expected.hpp>

#include "vbond/guard/guard.h"
#include "vbond/intercept/trap.h"
#include "vbond/uverbs/call.h"

// One call of a context at a time, as far as it changes something: the agent executes none while
// one that was let run is in the kernel, and lets none run before the last has come back and was
// seen to be what it had been let run as. So a program that has the kernel run something else gets
// exactly one such call; no second one follows it, neither its own nor the agent's. Without a guard
// nothing is known of what runs in a tenant, and nothing waits.
//
// A tenant that holds up a call of its own (memory that does not come) keeps that one context busy:
// what else it asks of it waits, and fails with EBUSY after options.turn. What the agent does by
// itself (a cut) waits for nobody.
namespace qmasq::vbond {

// The context's mutex, held, with none of its calls in flight, not closed and not condemned; or
// what the caller gets instead. REQUIRES: context.mutex not held.
[[nodiscard]] tl::expected<std::unique_lock<std::mutex>, Answer> take_turn(Trap& trap,
                                                                           Context& context);

// If the answer is that the call runs: takes the turn and tells the guard which call that is. The
// answer, or what has come in the way.
[[nodiscard]] Answer let_run(Trap& trap, Context& context, const Guard::Call& call,
                             const Answer& answer);
// How the guard names it.
[[nodiscard]] Guard::Call call_of(const Trap& trap, const uverbs::Call& call);

}  // namespace qmasq::vbond
