// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "controller/model/types.h"

// What a security group may look like. Pure.
namespace qmasq::controller {

inline constexpr std::size_t kMaxRuleDescription = 256;  // bytes

// What every VPC begins with: members of the group admit each other.
[[nodiscard]] std::vector<SecurityGroupRule> default_rules(SecurityGroupUid self);

// Gives ids to rules that have none: the lowest free of r1, r2, ... An id that is wrong or there
// twice is kInvalidArgument with the field.
[[nodiscard]] Status settle_rule_ids(std::vector<SecurityGroupRule>& rules, std::string_view field);

}  // namespace qmasq::controller
