// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "common/result.h"

// Names of resources, as schema/proto spells them: "vpcs/{vpc}", "vpcs/{vpc}/endpoints/{endpoint}",
// "vpcs/{vpc}/securityGroups/{group}", "qosPolicies/{policy}", "hosts/{host}", "accesses/{access}".
// The last part is the id. Pure, any thread; every failure is kInvalidArgument, says what was
// expected and quotes at most a line of what came.
namespace qmasq {

// 1 to 63 of a-z, 0-9 and '-', starts with a letter, does not end in '-'.
[[nodiscard]] Status check_vpc_id(std::string_view id);
[[nodiscard]] Status check_endpoint_id(std::string_view id);
[[nodiscard]] Status check_security_group_id(std::string_view id);
[[nodiscard]] Status check_rule_id(std::string_view id);
[[nodiscard]] Status check_qos_policy_id(std::string_view id);
[[nodiscard]] Status check_access_id(std::string_view id);
// 1 to 63 of A-Z, a-z, 0-9, '-' and '.', starts with a letter or digit.
[[nodiscard]] Status check_host_id(std::string_view id);

struct EndpointName {
  std::string vpc;
  std::string endpoint;
  bool operator==(const EndpointName&) const = default;
};

struct SecurityGroupName {
  std::string vpc;
  std::string group;
  bool operator==(const SecurityGroupName&) const = default;
};

// Ids are not checked here: a name comes from ids that were.
[[nodiscard]] std::string vpc_name(std::string_view vpc);
[[nodiscard]] std::string endpoint_name(std::string_view vpc, std::string_view endpoint);
[[nodiscard]] std::string endpoint_name(const EndpointName& name);
[[nodiscard]] std::string security_group_name(std::string_view vpc, std::string_view group);
[[nodiscard]] std::string qos_policy_name(std::string_view policy);
[[nodiscard]] std::string host_name(std::string_view host);
[[nodiscard]] std::string access_name(std::string_view access);

// Full name to id(s).
[[nodiscard]] Result<std::string> parse_vpc_name(std::string_view name);
[[nodiscard]] Result<EndpointName> parse_endpoint_name(std::string_view name);
[[nodiscard]] Result<SecurityGroupName> parse_security_group_name(std::string_view name);
[[nodiscard]] Result<std::string> parse_qos_policy_name(std::string_view name);
[[nodiscard]] Result<std::string> parse_host_name(std::string_view name);
[[nodiscard]] Result<std::string> parse_access_name(std::string_view name);

// What a person may type: the full name, or the ids alone ("blue", "blue/a", "hostA"). For an
// endpoint or a group also "a" alone: `vpc` is then empty, and the caller finds out which one is
// meant.
[[nodiscard]] Result<std::string> parse_vpc_reference(std::string_view text);
[[nodiscard]] Result<EndpointName> parse_endpoint_reference(std::string_view text);
[[nodiscard]] Result<SecurityGroupName> parse_security_group_reference(std::string_view text);
[[nodiscard]] Result<std::string> parse_qos_policy_reference(std::string_view text);
[[nodiscard]] Result<std::string> parse_host_reference(std::string_view text);
[[nodiscard]] Result<std::string> parse_access_reference(std::string_view text);

}  // namespace qmasq
