// SPDX-License-Identifier: Apache-2.0
#include "controller/model/group_rules.h"

#include <fmt/format.h>

#include <unordered_set>
#include <utility>

#include "common/resource_name.h"

namespace qmasq::controller {

std::vector<SecurityGroupRule> default_rules(SecurityGroupUid self) {
  constexpr std::uint16_t kPriority = 1000;
  SecurityGroupRule in;
  in.rule.id = "self-in";
  in.rule.priority = kPriority;
  in.rule.remote.kind = conntrack::Remote::Kind::kGroup;
  in.rule.remote.group = self;
  in.rule.remote.group_id = kDefaultGroup;
  SecurityGroupRule out = in;
  out.rule.id = "self-out";
  out.rule.direction = conntrack::Direction::kEgress;
  return {std::move(in), std::move(out)};
}

Status settle_rule_ids(std::vector<SecurityGroupRule>& rules, std::string_view field) {
  std::unordered_set<std::string> taken;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const std::string& id = rules[i].rule.id;
    if (id.empty()) continue;
    if (auto status = check_rule_id(id); !status) {
      return fail(Code::kInvalidArgument, status.error().message,
                  fmt::format("{}[{}].id", field, i));
    }
    if (!taken.insert(id).second) {
      return fail(Code::kInvalidArgument, fmt::format("there are two rules '{}'", id),
                  fmt::format("{}[{}].id", field, i));
    }
  }
  std::size_t next = 1;
  for (SecurityGroupRule& rule : rules) {
    while (rule.rule.id.empty()) {
      std::string id = fmt::format("r{}", next++);
      if (taken.insert(id).second) rule.rule.id = std::move(id);
    }
  }
  return {};
}

}  // namespace qmasq::controller
