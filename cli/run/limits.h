// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

namespace qmasq::cli {

// Lets the program pin as much memory as the host allows: no limit if we may, else the hard limit.
// Never lowers anything.
[[nodiscard]] Status raise_memlock();

// Makes descriptor numbers below `end` possible. kResourceExhausted if the hard limit forbids it.
[[nodiscard]] Status allow_descriptors_below(unsigned end);

}  // namespace qmasq::cli
