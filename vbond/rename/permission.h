// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "conntrack/types.h"
#include "vbond/uverbs/abi.h"

namespace qmasq::vbond {

// What rules call the type of a QP. A type that is not known (0: made before the agent could see
// it) counts as RC: UD, the one that other rules hold for, has no address vector to be asked about.
[[nodiscard]] conntrack::Transport transport_of(uverbs::QpType type);

// Of qp_access_flags what the operations leave; flags that let nobody else in stay. SEND has no
// flag.
[[nodiscard]] std::uint32_t permitted_access(std::uint32_t asked, conntrack::Operations operations);

}  // namespace qmasq::vbond
