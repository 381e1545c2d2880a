// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "conntrack/tracker.h"

// Short ways to write groups and endpoints down.
namespace qmasq::conntrack::test {

inline IpAddress ip(const std::string& text) {
  return parse_ip(text).value();
}

inline Remote any() {
  return {};
}
inline Remote cidr(const std::string& text) {
  Remote out;
  out.kind = Remote::Kind::kCidr;
  out.cidr = parse_prefix(text).value();
  return out;
}
inline Remote sg(std::uint64_t uid) {
  Remote out;
  out.kind = Remote::Kind::kGroup;
  out.group = SecurityGroupUid{uid};
  out.group_id = "g" + std::to_string(uid);
  return out;
}

inline Rule rule(const std::string& id, Direction direction, Action action, Remote remote,
                 std::uint16_t priority = 100) {
  Rule out;
  out.id = id;
  out.direction = direction;
  out.action = action;
  out.remote = std::move(remote);
  out.priority = priority;
  return out;
}
inline Rule allow_in(const std::string& id, Remote remote, std::uint16_t priority = 100) {
  return rule(id, Direction::kIngress, Action::kAllow, std::move(remote), priority);
}
inline Rule deny_in(const std::string& id, Remote remote, std::uint16_t priority = 100) {
  return rule(id, Direction::kIngress, Action::kDeny, std::move(remote), priority);
}
inline Rule allow_out(const std::string& id, Remote remote, std::uint16_t priority = 100) {
  return rule(id, Direction::kEgress, Action::kAllow, std::move(remote), priority);
}
inline Rule deny_out(const std::string& id, Remote remote, std::uint16_t priority = 100) {
  return rule(id, Direction::kEgress, Action::kDeny, std::move(remote), priority);
}

inline Group group(std::uint64_t uid, std::vector<Rule> rules) {
  Group out;
  out.uid = SecurityGroupUid{uid};
  out.vpc = VpcUid{1};
  out.name = "vpcs/blue/securityGroups/g" + std::to_string(uid);
  out.rules = std::move(rules);
  return out;
}

inline GroupSetPtr set_of(const std::vector<Group>& groups) {
  std::vector<SecurityGroupUid> uids;
  std::vector<ProgramPtr> programs;
  for (const Group& each : groups) {
    uids.push_back(each.uid);
    programs.push_back(Program::compile(each));
  }
  return make_group_set(std::move(uids), programs);
}

// Endpoints as a test says they are.
class TableDirectory final : public Directory {
 public:
  struct Member {
    VpcUid vpc;
    HostUid host;
    std::vector<IpAddress> addresses;
    std::vector<SecurityGroupUid> groups;
    SetId set = 0;
  };
  explicit TableDirectory(GroupSets& sets) : sets_(sets) {}

  void put(EndpointUid uid, Member member) {
    member.set = sets_.acquire(member.groups);
    remove(uid);
    members_[uid.value] = std::move(member);
  }
  void remove(EndpointUid uid) {
    auto it = members_.find(uid.value);
    if (it == members_.end()) return;
    sets_.release(it->second.set);
    members_.erase(it);
  }
  [[nodiscard]] std::optional<Standing> look(EndpointUid endpoint,
                                             const IpAddress& address) const override {
    auto it = members_.find(endpoint.value);
    if (it == members_.end()) return std::nullopt;
    for (const IpAddress& own : it->second.addresses) {
      if (own == address) return Standing{it->second.vpc, it->second.host, it->second.set};
    }
    return std::nullopt;
  }
  [[nodiscard]] const std::map<std::uint64_t, Member>& members() const { return members_; }

 private:
  GroupSets& sets_;
  std::map<std::uint64_t, Member> members_;
};

}  // namespace qmasq::conntrack::test
