// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace qmasq::test {

// Runs a scenario inside the filter. Returns an exit code: 0 when all was as it should be; what was
// not is on standard error.
int run_scenario(const std::string& name);

}  // namespace qmasq::test
