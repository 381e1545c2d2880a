// SPDX-License-Identifier: Apache-2.0
#include "vbond/sync/group_from.h"

#include <fmt/format.h>

#include <unordered_set>
#include <utility>

#include "common/resource_name.h"
#include "qmasq/v1/security_group.pb.h"

namespace qmasq::vbond {
namespace {

using conntrack::Operations;
using conntrack::Remote;
using conntrack::Rule;
using conntrack::Transport;
using Message = v1::SecurityGroupRule;

tl::unexpected<Error> bad(std::string text) {
  return fail(Code::kInvalidArgument, std::move(text));
}

Result<std::optional<Transport>> transport_from(Message::Transport transport) {
  switch (transport) {
    case Message::TRANSPORT_ANY:
      return std::nullopt;
    case Message::RC:
      return Transport::kRc;
    case Message::UC:
      return Transport::kUc;
    case Message::UD:
      return Transport::kUd;
    case Message::XRC:
      return Transport::kXrc;
    default:
      return bad(fmt::format("transport {} is not known", static_cast<int>(transport)));
  }
}

Result<Operations> operations_from(const Message& rule) {
  if (rule.operations().empty()) return Operations::all();
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
        return bad(fmt::format("operation {} is not known", operation));
    }
  }
  return out;
}

Result<Remote> remote_from(const Message& rule) {
  Remote out;
  switch (rule.remote_case()) {
    case Message::kAny:
      return out;
    case Message::kCidr: {
      out.kind = Remote::Kind::kCidr;
      QMASQ_ASSIGN(out.cidr, parse_prefix(rule.cidr().substr(0, 80)));
      return out;
    }
    case Message::kSecurityGroup: {
      out.kind = Remote::Kind::kGroup;
      QMASQ_ASSIGN(auto name, parse_security_group_name(rule.security_group()));
      if (rule.security_group_uid() == 0) return bad("its security group has no uid");
      out.group = SecurityGroupUid{rule.security_group_uid()};
      out.group_id = std::move(name.group);
      return out;
    }
    case Message::REMOTE_NOT_SET:
      break;
  }
  return bad("names no remote");
}

Result<Rule> rule_from(const Message& message) {
  Rule out;
  QMASQ_TRY(check_rule_id(message.id()));
  out.id = message.id();
  if (message.direction() != Message::INGRESS && message.direction() != Message::EGRESS) {
    return bad(fmt::format("direction {} is not known", static_cast<int>(message.direction())));
  }
  out.direction = message.direction() == Message::INGRESS ? conntrack::Direction::kIngress
                                                          : conntrack::Direction::kEgress;
  if (message.action() != Message::ALLOW && message.action() != Message::DENY) {
    return bad(fmt::format("action {} is not known", static_cast<int>(message.action())));
  }
  out.action =
      message.action() == Message::ALLOW ? conntrack::Action::kAllow : conntrack::Action::kDeny;
  if (message.priority() > 65535) return bad(fmt::format("priority {}", message.priority()));
  out.priority = static_cast<std::uint16_t>(message.priority());
  QMASQ_ASSIGN(out.transport, transport_from(message.transport()));
  QMASQ_ASSIGN(out.remote, remote_from(message));
  QMASQ_ASSIGN(out.operations, operations_from(message));
  out.log = message.log();
  out.shadow = message.shadow();
  return out;
}

}  // namespace

Result<conntrack::Group> group_from(const v1::SecurityGroup& group) {
  if (auto name = parse_security_group_name(group.name()); !name) return bad(name.error().message);
  if (group.uid() == 0) return bad("has no uid");
  if (group.vpc_uid() == 0) return bad("has no VPC");
  if (static_cast<std::size_t>(group.rules_size()) > conntrack::kMostRules) {
    return bad(fmt::format("has more than {} rules", conntrack::kMostRules));
  }
  conntrack::Group out;
  out.uid = SecurityGroupUid{group.uid()};
  out.vpc = VpcUid{group.vpc_uid()};
  out.name = group.name();
  out.rules.reserve(static_cast<std::size_t>(group.rules_size()));
  std::unordered_set<std::string> ids;
  for (const Message& message : group.rules()) {
    auto rule = rule_from(message);
    if (!rule) {
      return bad(fmt::format("rule '{}': {}", message.id().substr(0, 80), rule.error().message));
    }
    if (!ids.insert(rule->id).second) return bad(fmt::format("has two rules '{}'", rule->id));
    out.rules.push_back(std::move(*rule));
  }
  return out;
}

}  // namespace qmasq::vbond
