// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/doctor/finding.h"
#include "cli/shell.h"

namespace qmasq::cli {

// This host's agent: its sockets, what it says of itself, whether it keeps up with the controller.
// Then the controller itself, if its socket is here or an address was given.
[[nodiscard]] Findings check_services(const Shell& shell);

}  // namespace qmasq::cli
