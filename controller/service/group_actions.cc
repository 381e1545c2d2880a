// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "common/resource_name.h"
#include "conntrack/types.h"
#include "controller/model/group_rules.h"
#include "controller/model/request_rules.h"
#include "controller/service/actions.h"

namespace qmasq::controller {
namespace {

using conntrack::Operations;
using conntrack::Remote;
using Message = v1::SecurityGroupRule;

constexpr std::size_t kMostNamed = 5;  // in an error message

std::vector<std::string> strings(const google::protobuf::RepeatedPtrField<std::string>& field) {
  return {field.begin(), field.end()};
}

tl::unexpected<Error> wrong(std::string text, const std::string& field) {
  return fail(Code::kInvalidArgument, std::move(text), field);
}

// Reads rules: groups they name are looked up once each.
class RuleReader {
 public:
  RuleReader(ReadView& view, const SecurityGroup& self) : view_(view), self_(self) {}

  Result<SecurityGroupRule> read(const Message& message, const std::string& field) {
    SecurityGroupRule out;
    conntrack::Rule& rule = out.rule;
    rule.id = message.id();
    if (message.direction() != Message::INGRESS && message.direction() != Message::EGRESS) {
      return wrong("say INGRESS or EGRESS", field + ".direction");
    }
    rule.direction = message.direction() == Message::INGRESS ? conntrack::Direction::kIngress
                                                             : conntrack::Direction::kEgress;
    if (message.priority() > 65535) {
      return wrong(fmt::format("{} is not one of 0 to 65535", message.priority()),
                   field + ".priority");
    }
    rule.priority = static_cast<std::uint16_t>(message.priority());
    if (!Message::Action_IsValid(message.action())) {
      return wrong("say ALLOW or DENY", field + ".action");
    }
    rule.action =
        message.action() == Message::DENY ? conntrack::Action::kDeny : conntrack::Action::kAllow;
    if (!Message::Transport_IsValid(message.transport())) {
      return wrong("say RC, UC, UD, XRC or TRANSPORT_ANY", field + ".transport");
    }
    if (message.transport() != Message::TRANSPORT_ANY) {
      // RC is 1 there and 0 here, and so on.
      rule.transport = static_cast<conntrack::Transport>(message.transport() - 1);
    }
    QMASQ_ASSIGN(rule.remote, remote(message, field));
    QMASQ_ASSIGN(rule.operations, operations(message, field + ".operations"));
    rule.log = message.log();
    rule.shadow = message.shadow();
    if (message.description().size() > kMaxRuleDescription) {
      return wrong(fmt::format("longer than {} bytes", kMaxRuleDescription),
                   field + ".description");
    }
    out.description = message.description();
    return out;
  }

 private:
  Result<Remote> remote(const Message& message, const std::string& field) {
    Remote out;
    switch (message.remote_case()) {
      case Message::kAny:
        if (!message.any()) return wrong("false says nothing: name a remote", field + ".any");
        return out;
      case Message::kCidr: {
        out.kind = Remote::Kind::kCidr;
        auto prefix = parse_prefix(std::string_view(message.cidr()).substr(0, 100));
        if (!prefix) return wrong(prefix.error().message, field + ".cidr");
        out.cidr = *prefix;
        return out;
      }
      case Message::kSecurityGroup: {
        out.kind = Remote::Kind::kGroup;
        QMASQ_ASSIGN(auto found, group(message.security_group(), field + ".security_group"));
        out.group = found.uid;
        out.group_id = found.id;
        return out;
      }
      case Message::REMOTE_NOT_SET:
        break;
    }
    return wrong("name the other side: any, cidr or security_group", field);
  }

  Result<GroupReference> group(const std::string& name, const std::string& field) {
    if (auto known = known_.find(name); known != known_.end()) return known->second;
    QMASQ_ASSIGN(auto parsed, in_field(parse_security_group_name(name), field));
    if (parsed.vpc != self_.vpc_id) {
      return wrong(fmt::format("{} is of another VPC than {}", name,
                               security_group_name(self_.vpc_id, self_.id)),
                   field);
    }
    GroupReference out{self_.uid, self_.id};
    if (parsed.group != self_.id) {
      QMASQ_ASSIGN(auto found, view_.find_group(self_.vpc, parsed.group));
      if (!found) return fail(Code::kNotFound, fmt::format("there is no {}", name), field);
      out = {found->uid, found->id};
    }
    known_[name] = out;
    return out;
  }

  static Result<Operations> operations(const Message& message, const std::string& field) {
    Operations out;
    if (message.action() == Message::DENY) {
      if (message.operations().empty()) return out;
      return wrong("a rule that denies denies the connection: operations are for rules that allow",
                   field);
    }
    if (message.operations().empty()) return Operations::all();
    for (int operation : message.operations()) {
      if (operation < Message::SEND || operation > Message::ATOMIC) {
        return wrong("say SEND, READ, WRITE or ATOMIC", field);
      }
      const auto bit = static_cast<std::uint8_t>(1U << static_cast<unsigned>(operation - 1));
      if (out.has(bit)) return wrong("an operation is there twice", field);
      out.bits |= bit;
    }
    return out;
  }

  ReadView& view_;
  const SecurityGroup& self_;
  std::map<std::string, GroupReference> known_;
};

Result<std::vector<SecurityGroupRule>> read_rules(ReadView& view, const SecurityGroup& self,
                                                  const v1::SecurityGroup& asked) {
  if (static_cast<std::size_t>(asked.rules_size()) > conntrack::kMostRules) {
    return wrong(fmt::format("{} rules: at most {}", asked.rules_size(), conntrack::kMostRules),
                 "security_group.rules");
  }
  RuleReader reader(view, self);
  std::vector<SecurityGroupRule> out;
  out.reserve(static_cast<std::size_t>(asked.rules_size()));
  for (int i = 0; i < asked.rules_size(); ++i) {
    QMASQ_ASSIGN(auto rule,
                 reader.read(asked.rules(i), fmt::format("security_group.rules[{}]", i)));
    out.push_back(std::move(rule));
  }
  QMASQ_TRY(settle_rule_ids(out, "security_group.rules"));
  return out;
}

// "a, b and 3 more".
std::string listed(const std::vector<std::string>& names, std::size_t all) {
  std::string out = fmt::format("{}", fmt::join(names, ", "));
  if (all > names.size()) out += fmt::format(" and {} more", all - names.size());
  return out;
}

Status check_unused(ReadView& view, const SecurityGroup& group) {
  const std::string name = security_group_name(group.vpc_id, group.id);
  QMASQ_ASSIGN(auto count, view.count_carriers(group.uid));
  if (count > 0) {
    QMASQ_ASSIGN(auto carriers, view.carriers(group.uid, kMostNamed));
    std::vector<std::string> names;
    names.reserve(carriers.size());
    for (const auto& endpoint : carriers)
      names.push_back(endpoint_name(endpoint->vpc_id, endpoint->id));
    return fail(
        Code::kFailedPrecondition,
        fmt::format("{} carry it: {}; give them other groups first", name, listed(names, count)),
        "name");
  }
  constexpr std::size_t kMostCounted = 10'000;
  QMASQ_ASSIGN(auto naming, view.groups_naming(group.uid, kMostCounted));
  if (naming.empty()) return {};
  std::vector<std::string> names;
  for (std::size_t i = 0; i < std::min(naming.size(), kMostNamed); ++i)
    names.push_back(security_group_name(naming[i]->vpc_id, naming[i]->id));
  return fail(Code::kFailedPrecondition,
              fmt::format("rules of these groups name {}: {}; remove the rules first", name,
                          listed(names, naming.size())),
              "name");
}

}  // namespace

Result<SecurityGroupPtr> require_group(ReadView& view, std::string_view name,
                                       std::string_view field) {
  QMASQ_ASSIGN(SecurityGroupName id, in_field(parse_security_group_name(name), field));
  QMASQ_ASSIGN(VpcPtr vpc, require_vpc(view, vpc_name(id.vpc), field));
  QMASQ_ASSIGN(SecurityGroupPtr group, view.find_group(vpc->uid, id.group));
  if (group) return group;
  return fail(Code::kNotFound, fmt::format("there is no {}", security_group_name(id.vpc, id.group)),
              std::string(field));
}

Result<std::vector<GroupReference>> read_groups(
    ReadView& view, const Vpc& vpc, const google::protobuf::RepeatedPtrField<std::string>& names) {
  constexpr auto kField = "endpoint.security_groups";
  std::vector<GroupReference> out;
  if (names.empty()) {
    QMASQ_ASSIGN(auto group, view.find_group(vpc.uid, kDefaultGroup));
    if (!group) return fail(Code::kInternal, "the VPC has no default security group");
    out.push_back({group->uid, group->id});
    return out;
  }
  if (static_cast<std::size_t>(names.size()) > conntrack::kMostGroupsOfEndpoint) {
    return wrong(
        fmt::format("{} groups: at most {}", names.size(), conntrack::kMostGroupsOfEndpoint),
        kField);
  }
  for (int i = 0; i < names.size(); ++i) {
    const std::string field = fmt::format("{}[{}]", kField, i);
    QMASQ_ASSIGN(auto group, require_group(view, names[i], field));
    if (group->vpc != vpc.uid) {
      return wrong(fmt::format("{} is of another VPC than the endpoint", names[i]), field);
    }
    GroupReference reference{group->uid, group->id};
    if (std::find(out.begin(), out.end(), reference) != out.end()) {
      return wrong(fmt::format("{} is in the list twice", names[i]), field);
    }
    out.push_back(std::move(reference));
  }
  return out;
}

Result<SecurityGroupPtr> create_default_group(WriteView& view, const Vpc& vpc) {
  SecurityGroup group;
  QMASQ_ASSIGN(group.uid.value, view.new_uid());
  group.vpc = vpc.uid;
  group.vpc_id = vpc.id;
  group.id = kDefaultGroup;
  group.description = "Members admit each other";
  group.rules = default_rules(group.uid);
  return view.put(std::move(group));
}

Status remove_groups(WriteView& view, const Vpc& vpc) {
  GroupQuery query;
  query.vpc = vpc.uid;
  for (;;) {
    QMASQ_ASSIGN(auto page, view.list_groups(query));
    for (const auto& group : page)
      QMASQ_TRY(view.remove(group));
    if (page.size() < query.limit) return {};
  }
}

Result<SecurityGroupPtr> create_group(WriteView& view,
                                      const v1::CreateSecurityGroupRequest& request) {
  QMASQ_ASSIGN(VpcPtr vpc, require_vpc(view, request.parent(), "parent"));
  QMASQ_TRY(in_field(check_security_group_id(request.security_group_id()), "security_group_id"));
  const auto& asked = request.security_group();
  QMASQ_TRY(check_description(asked.description(), "security_group.description"));
  QMASQ_ASSIGN(auto taken, view.find_group(vpc->uid, request.security_group_id()));
  if (taken) {
    return fail(Code::kAlreadyExists,
                fmt::format("{} exists already", security_group_name(vpc->id, taken->id)),
                "security_group_id");
  }
  SecurityGroup group;
  group.vpc = vpc->uid;
  group.vpc_id = vpc->id;
  group.id = request.security_group_id();
  group.description = asked.description();
  QMASQ_ASSIGN(group.uid.value, view.new_uid());
  QMASQ_ASSIGN(group.rules, read_rules(view, group, asked));
  return view.put(std::move(group));
}

Result<SecurityGroupPtr> update_group(WriteView& view,
                                      const v1::UpdateSecurityGroupRequest& request) {
  const auto& asked = request.security_group();
  QMASQ_ASSIGN(auto before, require_group(view, asked.name(), "security_group.name"));
  QMASQ_TRY(check_etag(asked.etag(), before->uid.value, before->version, asked.name()));
  constexpr std::string_view kFields[] = {"rules", "description"};
  QMASQ_ASSIGN(auto fields, check_mask(strings(request.update_mask().paths()), kFields, kFields));
  SecurityGroup group = *before;
  for (const auto& field : fields) {
    if (field == "rules") {
      QMASQ_ASSIGN(group.rules, read_rules(view, *before, asked));
    } else {
      QMASQ_TRY(check_description(asked.description(), "security_group.description"));
      group.description = asked.description();
    }
  }
  if (group.rules == before->rules && group.description == before->description) return before;
  return view.put(std::move(group));
}

Status delete_group(WriteView& view, const v1::DeleteSecurityGroupRequest& request) {
  QMASQ_ASSIGN(auto group, require_group(view, request.name(), "name"));
  QMASQ_TRY(check_etag(request.etag(), group->uid.value, group->version, request.name()));
  if (group->id == kDefaultGroup) {
    return fail(Code::kFailedPrecondition,
                "the default group goes with its VPC: change its rules instead", "name");
  }
  QMASQ_TRY(check_unused(view, *group));
  return view.remove(group);
}

}  // namespace qmasq::controller
