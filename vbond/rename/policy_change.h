// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "conntrack/tracker.h"
#include "vbond/state/change.h"

namespace qmasq::vbond {

// What of a step of the state verdicts depend on.
[[nodiscard]] conntrack::PolicyChange policy_change(const Change& change);

}  // namespace qmasq::vbond
