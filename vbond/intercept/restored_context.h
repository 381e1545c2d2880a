// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vbond/intercept/context.h"
#include "vbond/intercept/inherited.h"
#include "vbond/kernel/errno_or.h"
#include "vbond/uverbs/call_builder.h"
#include "vbond/uverbs/verb.h"

namespace qmasq::vbond {

struct CallSlot;

// All objects of a kind that the context's file has, as far as they fit into one answer. EINVAL:
// the file has no user context yet. REQUIRES: context.mutex held, not closed.
[[nodiscard]] ErrnoOr<std::vector<std::uint32_t>> handles_of(Context& context,
                                                             uverbs::Object object);

// Of a verb that makes or destroys an object: what.
[[nodiscard]] std::optional<uverbs::Object> made_object(const uverbs::Verb& verb);
[[nodiscard]] std::optional<uverbs::Object> destroyed_object(const uverbs::Verb& verb);

// Destroys what the verb made, and forgets it. REQUIRES: context.mutex held, not closed.
void forget_made(Services& services, Context& context, const uverbs::Verb& verb,
                 std::uint32_t handle);

// Fills a context of an agent before this one with what the kernel and the journal say of it, and
// the slots of calls that were on their way. Address handles that nobody can say anything of are
// destroyed, with an event.
void restore_context(Services& services, Context& context, const std::string& endpoint_name,
                     std::span<const JournaledConnection> journaled,
                     std::span<CallSlot* const> slots);

}  // namespace qmasq::vbond
