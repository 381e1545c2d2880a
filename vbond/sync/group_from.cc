// SPDX-License-Identifier: Apache-2.0
#include "vbond/sync/group_from.h"

#include <fmt/format.h>
#include <google/protobuf/unknown_field_set.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "common/resource_name.h"
#include "qmasq/v1/endpoint.pb.h"
#include "qmasq/v1/security_group.pb.h"
#include "vbond/sync/refusal.h"

namespace qmasq::vbond {
namespace {

using conntrack::Action;
using conntrack::Direction;
using conntrack::Operations;
using conntrack::Remote;
using conntrack::Rule;
using conntrack::Transport;
using Message = v1::SecurityGroupRule;

tl::unexpected<Error> refuse(std::string problem) {
  return fail(Code::kInvalidArgument, std::move(problem));
}

// "vpcs/blue/securityGroups/web" cut in two.
struct GroupName {
  std::string_view vpc;    // "vpcs/blue"
  std::string_view group;  // "web"
};

Result<GroupName> parse_group_name(std::string_view name) {
  constexpr std::string_view kBetween = "/securityGroups/";
  auto at = name.find(kBetween);
  if (at == std::string_view::npos) {
    return refuse(fmt::format(
        "'{}' is not the name of a security group: vpcs/VPC/securityGroups/GROUP", shown(name)));
  }
  GroupName out{name.substr(0, at), name.substr(at + kBetween.size())};
  // Both ids are spelt alike.
  if (!parse_vpc_name(out.vpc) || !check_vpc_id(out.group)) {
    return refuse(fmt::format(
        "'{}' is not the name of a security group: vpcs/VPC/securityGroups/GROUP", shown(name)));
  }
  return out;
}

bool is_rule_id(std::string_view id) {
  auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  auto usable = [&](char c) { return lower(c) || (c >= '0' && c <= '9') || c == '-'; };
  return !id.empty() && id.size() <= 63 && lower(id.front()) &&
         std::all_of(id.begin(), id.end(), usable);
}

Result<Direction> direction_of(const Message& rule) {
  switch (rule.direction()) {
    case Message::INGRESS:
      return Direction::kIngress;
    case Message::EGRESS:
      return Direction::kEgress;
    default:
      return refuse(fmt::format("direction {} is not known", static_cast<int>(rule.direction())));
  }
}

Result<Action> action_of(const Message& rule) {
  switch (rule.action()) {
    case Message::ALLOW:
      return Action::kAllow;
    case Message::DENY:
      return Action::kDeny;
    default:
      // Unspecified means "allow" only where people write rules: here it may be one that was lost.
      return refuse(fmt::format("action {} is not known", static_cast<int>(rule.action())));
  }
}

Result<std::optional<Transport>> transport_of(const Message& rule) {
  switch (rule.transport()) {
    case Message::TRANSPORT_ANY:
      return std::optional<Transport>();
    case Message::RC:
      return std::optional(Transport::kRc);
    case Message::UC:
      return std::optional(Transport::kUc);
    case Message::UD:
      return std::optional(Transport::kUd);
    case Message::XRC:
      return std::optional(Transport::kXrc);
    default:
      return refuse(fmt::format("transport {} is not known", static_cast<int>(rule.transport())));
  }
}

Result<Remote> remote_of(const Message& rule, std::string_view vpc) {
  Remote out;
  switch (rule.remote_case()) {
    case Message::kAny:
      if (!rule.any()) return refuse("its other side is 'any', and that is false");
      out.kind = Remote::Kind::kAny;
      return out;
    case Message::kCidr: {
      out.kind = Remote::Kind::kCidr;
      QMASQ_ASSIGN(out.cidr, parse_prefix(shown(rule.cidr())));
      return out;
    }
    case Message::kSecurityGroup: {
      out.kind = Remote::Kind::kGroup;
      auto name = parse_group_name(rule.security_group());
      if (!name) return tl::unexpected(std::move(name).error());
      if (name->vpc != vpc) {
        return refuse(fmt::format("{} is of another VPC", shown(rule.security_group())));
      }
      if (rule.security_group_uid() == 0) {
        return refuse(fmt::format("{} is given without its uid", shown(rule.security_group())));
      }
      out.group = SecurityGroupUid{rule.security_group_uid()};
      out.group_id = name->group;
      return out;
    }
    case Message::REMOTE_NOT_SET:
      break;
  }
  return refuse("has no other side, or one of a kind that this agent does not know");
}

Result<Operations> operations_of(const Message& rule, Action action) {
  if (rule.operations().empty()) return Operations::all();
  if (action == Action::kDeny) return refuse("denies, and names operations");
  Operations out;
  for (int operation : rule.operations()) {
    switch (operation) {
      case Message::SEND:
        out.bits |= Operations::kSend;
        break;
      case Message::READ:
        out.bits |= Operations::kRead;
        break;
      case Message::WRITE:
        out.bits |= Operations::kWrite;
        break;
      case Message::ATOMIC:
        out.bits |= Operations::kAtomic;
        break;
      default:
        return refuse(fmt::format("operation {} is not known", operation));
    }
  }
  return out;
}

Result<Rule> rule_from(const Message& message, std::string_view vpc) {
  // A field that a newer controller put in may narrow what the rule allows.
  if (!message.GetReflection()->GetUnknownFields(message).empty()) {
    return refuse("has a field that this agent does not know: is the controller newer?");
  }
  if (message.priority() > std::numeric_limits<std::uint16_t>::max()) {
    return refuse(fmt::format("priority {} is not one of 0 to 65535", message.priority()));
  }
  Rule out;
  out.id = message.id();
  QMASQ_ASSIGN(out.direction, direction_of(message));
  out.priority = static_cast<std::uint16_t>(message.priority());
  QMASQ_ASSIGN(out.action, action_of(message));
  QMASQ_ASSIGN(out.transport, transport_of(message));
  QMASQ_ASSIGN(out.remote, remote_of(message, vpc));
  QMASQ_ASSIGN(out.operations, operations_of(message, out.action));
  out.log = message.log();
  out.shadow = message.shadow();
  return out;
}

}  // namespace

Result<conntrack::Group> group_from(const v1::SecurityGroup& message) {
  auto wrong = [&](std::string_view problem) {
    return bad("security group", message.name(), problem);
  };
  auto name = parse_group_name(message.name());
  if (!name) return wrong(name.error().message);
  if (message.uid() == 0) return wrong("has no uid");
  if (message.vpc_uid() == 0) return wrong("has no VPC");
  if (static_cast<std::size_t>(message.rules_size()) > conntrack::kMostRules) {
    return wrong(fmt::format("has more than {} rules", conntrack::kMostRules));
  }
  conntrack::Group out;
  out.uid = SecurityGroupUid{message.uid()};
  out.vpc = VpcUid{message.vpc_uid()};
  out.name = message.name();
  out.rules.reserve(static_cast<std::size_t>(message.rules_size()));
  std::unordered_set<std::string_view> ids;
  ids.reserve(out.rules.capacity());
  for (const auto& rule : message.rules()) {
    auto wrong_rule = [&](std::string_view problem) {
      return wrong(fmt::format("rule '{}': {}", shown(rule.id()), problem));
    };
    if (!is_rule_id(rule.id())) {
      return wrong_rule("is not an id: 1 to 63 of a-z, 0-9 and '-', starting with a letter");
    }
    if (!ids.insert(rule.id()).second) return wrong_rule("is there twice");
    auto value = rule_from(rule, name->vpc);
    if (!value) return wrong_rule(value.error().message);
    out.rules.push_back(*std::move(value));
  }
  return out;
}

Result<std::vector<SecurityGroupUid>> groups_of(const v1::Endpoint& endpoint) {
  auto wrong = [&](std::string_view problem) { return bad("endpoint", endpoint.name(), problem); };
  const auto& uids = endpoint.security_group_uids();
  if (static_cast<std::size_t>(uids.size()) > conntrack::kMostGroupsOfEndpoint) {
    return wrong(
        fmt::format("carries more than {} security groups", conntrack::kMostGroupsOfEndpoint));
  }
  // A group that lost its uid on the way may be the one that forbids.
  if (uids.size() != endpoint.security_groups_size() && endpoint.security_groups_size() != 0) {
    return wrong(fmt::format("names {} security groups and gives {} uids of them",
                             endpoint.security_groups_size(), uids.size()));
  }
  std::vector<SecurityGroupUid> out;
  out.reserve(static_cast<std::size_t>(uids.size()));
  for (auto uid : uids) {
    if (uid == 0) return wrong("carries a security group without uid");
    if (std::find(out.begin(), out.end(), SecurityGroupUid{uid}) != out.end()) {
      return wrong(fmt::format("carries security group uid {} twice", uid));
    }
    out.push_back(SecurityGroupUid{uid});
  }
  return out;
}

}  // namespace qmasq::vbond
