// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "vbond/intercept/trap.h"
#include "vbond/uverbs/call_builder.h"

// Verbs that the agent executes, such that an agent after it can tell whether they were, and finish
// them: docs/adr/0021.
namespace qmasq::vbond {

// What of a verb is not in its call.
struct CallNote {
  std::uint32_t handle = 0;     // what is changed or destroyed
  std::uint32_t number = 0;     // the agent's own, of an address handle that is made
  std::uint32_t type = 0;       // of a QP that is made
  std::uint32_t driver_id = 0;  // as the call has it
  uverbs::QpState state_before = uverbs::QpState::kReset;  // of a QP that is changed
  bool existed = false;                                    // what is destroyed was known before
};

// The ioctl, noted in the trap's slot before and after. Payloads that are too large for the slot
// are executed all the same, and done again by the next agent if this one dies there: no verb that
// makes anything has such in honest programs. REQUIRES: context.mutex held, not closed.
[[nodiscard]] ErrnoOr<std::int64_t> call_noted(Trap& trap, Context& context,
                                               uverbs::CallBuilder& builder, const CallNote& note);

// Finishes a call that an agent before this one was executing: whether the kernel has done it is
// asked of the kernel. Nothing: it was not, and is to be served as if it came only now.
[[nodiscard]] std::optional<Answer> finish_noted(Trap& trap);

}  // namespace qmasq::vbond
