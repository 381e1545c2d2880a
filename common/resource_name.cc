// SPDX-License-Identifier: Apache-2.0
#include "common/resource_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace qmasq {
namespace {

constexpr std::size_t kMaxId = 63;

bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Names come from outside and end in logs and terminals.
std::string quoted(std::string_view text) {
  constexpr std::size_t kMost = 80;
  std::string out = "'";
  for (char c : text.substr(0, kMost))
    out += c >= ' ' && c <= '~' ? c : '?';
  out += text.size() > kMost ? "...'" : "'";
  return out;
}

tl::unexpected<Error> refuse(std::string message) {
  return fail(Code::kInvalidArgument, std::move(message));
}

Status check_tenant_id(std::string_view id, std::string_view what) {
  if (id.empty()) return refuse(fmt::format("the {} id is missing", what));
  bool chars = std::all_of(id.begin(), id.end(),
                           [](char c) { return is_lower(c) || is_digit(c) || c == '-'; });
  if (id.size() > kMaxId || !chars || !is_lower(id.front()) || id.back() == '-') {
    return refuse(
        fmt::format("{} is not a valid {} id: 1 to 63 of a-z, 0-9 and '-', starting "
                    "with a letter and not ending in '-'",
                    quoted(id), what));
  }
  return {};
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  // No name has more parts than four; a fifth says that it is none.
  while (parts.size() < 5) {
    auto slash = text.find('/');
    parts.push_back(text.substr(0, slash));
    if (slash == std::string_view::npos) break;
    text.remove_prefix(slash + 1);
  }
  return parts;
}

tl::unexpected<Error> not_a(std::string_view what, std::string_view form, std::string_view name) {
  if (name.empty()) return refuse(fmt::format("the name is missing: write it as {}", form));
  return refuse(fmt::format("{} is not the name of {}: write it as {}", quoted(name), what, form));
}

Result<EndpointName> checked(std::string_view vpc, std::string_view endpoint) {
  QMASQ_TRY(check_vpc_id(vpc));
  QMASQ_TRY(check_endpoint_id(endpoint));
  return EndpointName{std::string(vpc), std::string(endpoint)};
}

Result<SecurityGroupName> checked_group(std::string_view vpc, std::string_view group) {
  QMASQ_TRY(check_vpc_id(vpc));
  QMASQ_TRY(check_security_group_id(group));
  return SecurityGroupName{std::string(vpc), std::string(group)};
}

}  // namespace

Status check_vpc_id(std::string_view id) {
  return check_tenant_id(id, "VPC");
}

Status check_endpoint_id(std::string_view id) {
  return check_tenant_id(id, "endpoint");
}

Status check_security_group_id(std::string_view id) {
  return check_tenant_id(id, "security group");
}

Status check_rule_id(std::string_view id) {
  return check_tenant_id(id, "rule");
}

Status check_qos_policy_id(std::string_view id) {
  return check_tenant_id(id, "QoS policy");
}

Status check_access_id(std::string_view id) {
  return check_tenant_id(id, "access");
}

Status check_host_id(std::string_view id) {
  if (id.empty()) return refuse("the host id is missing");
  bool chars = std::all_of(id.begin(), id.end(), [](char c) {
    return is_lower(c) || is_upper(c) || is_digit(c) || c == '-' || c == '.';
  });
  if (id.size() > kMaxId || !chars || id.front() == '-' || id.front() == '.') {
    return refuse(
        fmt::format("{} is not a valid host id: 1 to 63 of A-Z, a-z, 0-9, '-' and '.', "
                    "starting with a letter or digit",
                    quoted(id)));
  }
  return {};
}

std::string vpc_name(std::string_view vpc) {
  return fmt::format("vpcs/{}", vpc);
}

std::string endpoint_name(std::string_view vpc, std::string_view endpoint) {
  return fmt::format("vpcs/{}/endpoints/{}", vpc, endpoint);
}

std::string endpoint_name(const EndpointName& name) {
  return endpoint_name(name.vpc, name.endpoint);
}

std::string security_group_name(std::string_view vpc, std::string_view group) {
  return fmt::format("vpcs/{}/securityGroups/{}", vpc, group);
}

std::string qos_policy_name(std::string_view policy) {
  return fmt::format("qosPolicies/{}", policy);
}

std::string host_name(std::string_view host) {
  return fmt::format("hosts/{}", host);
}

std::string access_name(std::string_view access) {
  return fmt::format("accesses/{}", access);
}

Result<std::string> parse_vpc_name(std::string_view name) {
  auto parts = split(name);
  if (parts.size() != 2 || parts[0] != "vpcs") return not_a("a VPC", "vpcs/VPC", name);
  QMASQ_TRY(check_vpc_id(parts[1]));
  return std::string(parts[1]);
}

Result<EndpointName> parse_endpoint_name(std::string_view name) {
  auto parts = split(name);
  if (parts.size() != 4 || parts[0] != "vpcs" || parts[2] != "endpoints") {
    return not_a("an endpoint", "vpcs/VPC/endpoints/ENDPOINT", name);
  }
  return checked(parts[1], parts[3]);
}

Result<SecurityGroupName> parse_security_group_name(std::string_view name) {
  auto parts = split(name);
  if (parts.size() != 4 || parts[0] != "vpcs" || parts[2] != "securityGroups") {
    return not_a("a security group", "vpcs/VPC/securityGroups/GROUP", name);
  }
  return checked_group(parts[1], parts[3]);
}

Result<std::string> parse_qos_policy_name(std::string_view name) {
  auto parts = split(name);
  if (parts.size() != 2 || parts[0] != "qosPolicies") {
    return not_a("a QoS policy", "qosPolicies/POLICY", name);
  }
  QMASQ_TRY(check_qos_policy_id(parts[1]));
  return std::string(parts[1]);
}

Result<std::string> parse_host_name(std::string_view name) {
  auto parts = split(name);
  if (parts.size() != 2 || parts[0] != "hosts") return not_a("a host", "hosts/HOST", name);
  QMASQ_TRY(check_host_id(parts[1]));
  return std::string(parts[1]);
}

Result<std::string> parse_access_name(std::string_view name) {
  auto parts = split(name);
  if (parts.size() != 2 || parts[0] != "accesses") {
    return not_a("an access", "accesses/ACCESS", name);
  }
  QMASQ_TRY(check_access_id(parts[1]));
  return std::string(parts[1]);
}

Result<std::string> parse_vpc_reference(std::string_view text) {
  if (text.find('/') != std::string_view::npos) return parse_vpc_name(text);
  QMASQ_TRY(check_vpc_id(text));
  return std::string(text);
}

Result<EndpointName> parse_endpoint_reference(std::string_view text) {
  auto parts = split(text);
  if (parts.size() == 1) {
    QMASQ_TRY(check_endpoint_id(text));
    return EndpointName{{}, std::string(text)};
  }
  if (parts.size() == 2) return checked(parts[0], parts[1]);
  if (parts.size() != 4 || parts[0] != "vpcs" || parts[2] != "endpoints") {
    return not_a("an endpoint", "VPC/ENDPOINT or vpcs/VPC/endpoints/ENDPOINT", text);
  }
  return checked(parts[1], parts[3]);
}

Result<SecurityGroupName> parse_security_group_reference(std::string_view text) {
  auto parts = split(text);
  if (parts.size() == 1) {
    QMASQ_TRY(check_security_group_id(text));
    return SecurityGroupName{{}, std::string(text)};
  }
  if (parts.size() == 2) return checked_group(parts[0], parts[1]);
  if (parts.size() != 4 || parts[0] != "vpcs" || parts[2] != "securityGroups") {
    return not_a("a security group", "VPC/GROUP or vpcs/VPC/securityGroups/GROUP", text);
  }
  return checked_group(parts[1], parts[3]);
}

Result<std::string> parse_qos_policy_reference(std::string_view text) {
  if (text.find('/') != std::string_view::npos) return parse_qos_policy_name(text);
  QMASQ_TRY(check_qos_policy_id(text));
  return std::string(text);
}

Result<std::string> parse_host_reference(std::string_view text) {
  if (text.find('/') != std::string_view::npos) return parse_host_name(text);
  QMASQ_TRY(check_host_id(text));
  return std::string(text);
}

Result<std::string> parse_access_reference(std::string_view text) {
  if (text.find('/') != std::string_view::npos) return parse_access_name(text);
  QMASQ_TRY(check_access_id(text));
  return std::string(text);
}

}  // namespace qmasq
