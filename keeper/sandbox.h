// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "common/result.h"

// What the process takes away from itself. It holds descriptors that are worth more than its own
// rights, so it keeps none of those.
namespace qmasq::keeper {

// Gives how many descriptors this process may have, after asking for `wanted`.
[[nodiscard]] std::size_t raise_descriptor_limit(std::size_t wanted);

// All capabilities and the right to gain any, for good; no core files (what is held would not be in
// them, tags would).
[[nodiscard]] Status drop_privileges();

// From here on all system calls but the few of the loop fail with EPERM. They do not kill: what a
// later libc may call must not cost what is held.
[[nodiscard]] Status filter_system_calls();

}  // namespace qmasq::keeper
