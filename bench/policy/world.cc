// SPDX-License-Identifier: Apache-2.0
#include "bench/policy/world.h"

#include <fmt/format.h>

#include <algorithm>

namespace qmasq::bench {
namespace {

using conntrack::Action;
using conntrack::Direction;
using conntrack::Group;
using conntrack::Remote;
using conntrack::Rule;

constexpr std::uint32_t kSeed = 1;
constexpr std::size_t kCombinations = 5000;      // of groups, that endpoints carry
constexpr std::uint32_t kNetwork = 0x0a000000U;  // 10.0.0.0/8

Rule random_rule(std::size_t number, std::size_t groups, std::mt19937& random) {
  Rule rule;
  rule.id = fmt::format("r{}", number);
  rule.direction = random() % 4 == 0 ? Direction::kEgress : Direction::kIngress;
  rule.action = random() % 5 == 0 ? Action::kDeny : Action::kAllow;
  rule.priority = static_cast<std::uint16_t>(100 * (random() % 10));
  const std::uint32_t kind = random() % 10;
  if (kind < 6) {
    rule.remote.kind = Remote::Kind::kGroup;
    rule.remote.group = SecurityGroupUid{1 + random() % groups};
  } else if (kind < 9) {
    rule.remote.kind = Remote::Kind::kCidr;
    const auto length = static_cast<std::uint8_t>(12 + random() % 21);
    const std::uint32_t mask = length == 0 ? 0 : ~std::uint32_t{0} << (32U - length);
    rule.remote.cidr = {IpAddress::from_v4((kNetwork | (random() & 0xffffffU)) & mask), length};
  }
  return rule;
}

class Compiled final : public Rules {
 public:
  [[nodiscard]] std::string name() const override { return "conntrack (ours)"; }
  [[nodiscard]] std::uint32_t decide(const Question& question) const override {
    std::uint32_t order = conntrack::Match::kNoOrder;
    for (const conntrack::ProgramPtr& program : question.own->programs) {
      order = std::min(order, program
                                  ->find(question.direction, conntrack::Transport::kRc,
                                         question.peer->groups, question.peer_address)
                                  .order);
    }
    return order;
  }
};

}  // namespace

World::World(std::size_t group_count, std::size_t rules, std::size_t endpoint_count) {
  std::mt19937 random(kSeed);
  groups.reserve(group_count);
  for (std::size_t i = 0; i < group_count; ++i) {
    Group group;
    group.uid = SecurityGroupUid{i + 1};
    group.vpc = VpcUid{1};
    group.name = fmt::format("vpcs/bench/securityGroups/g{}", i + 1);
    for (std::size_t rule = 0; rule < rules / group_count; ++rule)
      group.rules.push_back(random_rule(rule, group_count, random));
    (void)sets.put(conntrack::Program::compile(group));
    groups.push_back(std::move(group));
  }
  std::vector<std::vector<SecurityGroupUid>> combinations(kCombinations);
  for (auto& carried : combinations) {
    for (std::uint32_t each = 0, count = 1 + random() % 3; each < count; ++each)
      carried.push_back(SecurityGroupUid{1 + random() % group_count});
  }
  endpoints.reserve(endpoint_count);
  for (std::size_t i = 0; i < endpoint_count; ++i) {
    endpoints.push_back({IpAddress::from_v4(kNetwork + static_cast<std::uint32_t>(i)),
                         sets.acquire(combinations[random() % kCombinations])});
  }
}

std::unique_ptr<Rules> compiled_rules() {
  return std::make_unique<Compiled>();
}

}  // namespace qmasq::bench
