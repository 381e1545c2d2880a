// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "common/net_types.h"
#include "common/result.h"
#include "conntrack/types.h"

namespace qmasq::v1 {
class Endpoint;
class SecurityGroup;
}  // namespace qmasq::v1

// Security groups out of messages, whether they come with the state or with a question. Strict: a
// rule that is not understood to the last field could be one that forbids, so the whole is refused
// (kInvalidArgument with the object at fault). What only the state can tell is the caller's: that
// VPCs and groups with these uids exist. Pure, any thread.
namespace qmasq::vbond {

// As the controller gives it: action always set, operations only where the rule allows.
[[nodiscard]] Result<conntrack::Group> group_from(const v1::SecurityGroup& message);

// What an endpoint carries, in the controller's order, each once. Empty: it carries none, so
// nothing but the defaults holds for it.
[[nodiscard]] Result<std::vector<SecurityGroupUid>> groups_of(const v1::Endpoint& endpoint);

}  // namespace qmasq::vbond
