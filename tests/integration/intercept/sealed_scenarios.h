// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

namespace qmasq::test {

// Scenarios of calls that run in the tenant (tenant_scenarios.h). The device in these tests is none
// that knows verbs: a call that was let run fails with ENOTTY, and that is how it should end.
[[nodiscard]] const std::map<std::string, int (*)()>& sealed_scenarios();

}  // namespace qmasq::test
