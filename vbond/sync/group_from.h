// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "conntrack/types.h"

namespace qmasq::v1 {
class SecurityGroup;
}

namespace qmasq::vbond {

// A security group as the controller says it, checked like any other input. A rule that is not
// understood is an error: left out, it would open what it was to close.
[[nodiscard]] Result<conntrack::Group> group_from(const v1::SecurityGroup& group);

}  // namespace qmasq::vbond
