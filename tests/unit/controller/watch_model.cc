// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/controller/watch_model.h"

#include <fmt/format.h>

#include <algorithm>

namespace qmasq::controller::testing {

void RandomCloud::add_host() {
  Host host;
  host.uid = HostUid{next_uid_++};
  host.id = fmt::format("h{}", host.uid.value);
  host.joined = true;
  host.revision = revision_ = Revision{revision_.value + 1};
  hosts_[host.uid] = std::make_shared<const Host>(host);
}

Commit RandomCloud::all() const {
  Commit commit;
  commit.revision = revision_;
  for (const auto& [uid, vpc] : vpcs_)
    commit.vpcs.push_back({nullptr, vpc});
  for (const auto& [uid, host] : hosts_)
    commit.hosts.push_back({nullptr, host});
  for (const auto& [uid, endpoint] : endpoints_)
    commit.endpoints.push_back({nullptr, endpoint});
  for (const auto& [uid, group] : groups_)
    commit.groups.push_back({nullptr, group});
  for (const auto& [uid, policy] : policies_)
    commit.policies.push_back({nullptr, policy});
  return commit;
}

Commit RandomCloud::change() {
  Commit commit;
  commit.revision = revision_ = Revision{revision_.value + 1};
  unsigned steps = random(6) == 0 ? 3 : 1;
  for (unsigned i = 0; i < steps; ++i)
    step(commit);
  return commit;
}

void RandomCloud::step(Commit& commit) {
  unsigned dice = random(14);
  if (vpcs_.empty() || dice == 0) return step_vpc(commit);
  if (dice == 1) return step_host(commit);
  if (dice < 4) return step_group(commit);
  if (dice < 6) return step_policy(commit);
  step_endpoint(commit);
}

void RandomCloud::step_vpc(Commit& commit) {
  // One object once in a commit, as transactions have it nearly always.
  if (!commit.vpcs.empty() || !commit.endpoints.empty() || !commit.groups.empty()) return;
  if (vpcs_.size() < max_vpcs_) {
    Vpc vpc;
    vpc.uid = VpcUid{next_uid_++};
    vpc.id = fmt::format("v{}", vpc.uid.value);
    vpc.revision = revision_;
    vpcs_[vpc.uid] = std::make_shared<const Vpc>(vpc);
    commit.vpcs.push_back({nullptr, vpcs_[vpc.uid]});
    return;
  }
  auto it = vpcs_.begin();
  std::advance(it, random(static_cast<unsigned>(vpcs_.size())));
  auto before = it->second;
  bool used = std::any_of(endpoints_.begin(), endpoints_.end(),
                          [&](const auto& e) { return e.second->vpc == before->uid; });
  if (!used) {
    // Its groups go with it.
    for (auto group = groups_.begin(); group != groups_.end();) {
      if (group->second->vpc != before->uid) {
        ++group;
        continue;
      }
      commit.groups.push_back({group->second, nullptr});
      group = groups_.erase(group);
    }
    vpcs_.erase(it);
    commit.vpcs.push_back({before, nullptr});
    return;
  }
  Vpc vpc = *before;
  vpc.qos_policy = some_policy();
  vpc.revision = revision_;
  it->second = std::make_shared<const Vpc>(vpc);
  commit.vpcs.push_back({before, it->second});
}

void RandomCloud::step_endpoint(Commit& commit) {
  if (endpoints_.size() < max_endpoints_ && random(2) == 0) {
    auto vpc = vpcs_.begin();
    std::advance(vpc, random(static_cast<unsigned>(vpcs_.size())));
    Endpoint endpoint;
    endpoint.uid = EndpointUid{next_uid_++};
    endpoint.vpc = vpc->first;
    endpoint.vpc_id = vpc->second->id;
    endpoint.id = fmt::format("e{}", endpoint.uid.value);
    endpoint.host = host(random(100));
    endpoint.qos_policy = some_policy();
    endpoint.revision = revision_;
    endpoints_[endpoint.uid] = std::make_shared<const Endpoint>(endpoint);
    commit.endpoints.push_back({nullptr, endpoints_[endpoint.uid]});
    return;
  }
  if (endpoints_.empty()) return;
  auto it = endpoints_.begin();
  std::advance(it, random(static_cast<unsigned>(endpoints_.size())));
  auto before = it->second;
  if (before->revision == revision_) return;
  if (random(2) == 0) {
    endpoints_.erase(it);
    commit.endpoints.push_back({before, nullptr});
    return;
  }
  Endpoint endpoint = *before;
  if (random(2) == 0) endpoint.host = host(random(100));
  if (random(2) == 0) endpoint.qos_policy = some_policy();
  endpoint.revision = revision_;
  it->second = std::make_shared<const Endpoint>(endpoint);
  commit.endpoints.push_back({before, it->second});
}

void RandomCloud::step_host(Commit& commit) {
  if (!commit.hosts.empty()) return;
  auto it = hosts_.begin();
  std::advance(it, random(static_cast<unsigned>(hosts_.size())));
  auto before = it->second;
  Host host = *before;
  // A quiet change keeps the revision.
  if (random(3) != 0) host.revision = revision_;
  ++host.version;
  it->second = std::make_shared<const Host>(host);
  commit.hosts.push_back({before, it->second});
}

void RandomCloud::step_group(Commit& commit) {
  if (!commit.vpcs.empty()) return;
  if (groups_.size() < max_groups_ && random(2) == 0) {
    auto vpc = vpcs_.begin();
    std::advance(vpc, random(static_cast<unsigned>(vpcs_.size())));
    SecurityGroup group;
    group.uid = SecurityGroupUid{next_uid_++};
    group.vpc = vpc->first;
    group.vpc_id = vpc->second->id;
    group.id = fmt::format("g{}", group.uid.value);
    group.revision = revision_;
    groups_[group.uid] = std::make_shared<const SecurityGroup>(group);
    commit.groups.push_back({nullptr, groups_[group.uid]});
    return;
  }
  if (groups_.empty()) return;
  auto it = groups_.begin();
  std::advance(it, random(static_cast<unsigned>(groups_.size())));
  auto before = it->second;
  if (before->revision == revision_) return;
  if (random(3) == 0) {
    groups_.erase(it);
    commit.groups.push_back({before, nullptr});
    return;
  }
  SecurityGroup group = *before;
  group.revision = revision_;
  SecurityGroupRule rule;
  rule.rule.id = fmt::format("r{}", revision_.value);
  group.rules.push_back(rule);
  it->second = std::make_shared<const SecurityGroup>(group);
  commit.groups.push_back({before, it->second});
}

PolicyReference RandomCloud::some_policy() {
  const unsigned index = random(static_cast<unsigned>(policies_.size()) + 1);
  if (index == policies_.size()) return {};
  auto it = policies_.begin();
  std::advance(it, index);
  return {it->first, it->second->policy.id};
}

void RandomCloud::step_policy(Commit& commit) {
  constexpr std::size_t kMost = 4;
  if (!commit.policies.empty() || !commit.vpcs.empty() || !commit.endpoints.empty()) return;
  if (policies_.size() < kMost && random(2) == 0) {
    QosPolicy policy;
    policy.policy.uid = QosPolicyUid{next_uid_++};
    policy.policy.id = fmt::format("q{}", policy.policy.uid.value);
    policy.revision = revision_;
    policies_[policy.policy.uid] = std::make_shared<const QosPolicy>(policy);
    commit.policies.push_back({nullptr, policies_[policy.policy.uid]});
    return;
  }
  if (policies_.empty()) return;
  auto it = policies_.begin();
  std::advance(it, random(static_cast<unsigned>(policies_.size())));
  auto before = it->second;
  auto has = [&](const auto& entry) { return entry.second->qos_policy.uid == before->policy.uid; };
  const bool used = std::any_of(vpcs_.begin(), vpcs_.end(), has) ||
                    std::any_of(endpoints_.begin(), endpoints_.end(), has);
  if (!used && random(2) == 0) {
    policies_.erase(it);
    commit.policies.push_back({before, nullptr});
    return;
  }
  QosPolicy policy = *before;
  policy.policy.bandwidth.maximum = BitsPerSecond{8000 + random(1000)};
  policy.revision = revision_;
  it->second = std::make_shared<const QosPolicy>(policy);
  commit.policies.push_back({before, it->second});
}

Held scope_of(const World& world, HostUid host) {
  Held held;
  // Whatever is on the host.
  for (const auto& [uid, policy] : world.policies())
    held.policies[uid.value] = policy->revision.value;
  for (const auto& [vpc, count] : world.vpcs_of(host)) {
    held.vpcs[vpc] = world.vpc(VpcUid{vpc})->revision.value;
    for (auto uid : world.endpoints_of(VpcUid{vpc})) {
      auto endpoint = world.endpoint(uid);
      held.endpoints[uid.value] = endpoint->revision.value;
      held.hosts[endpoint->host.value] = world.host(endpoint->host)->revision.value;
    }
    for (auto uid : world.groups_of(VpcUid{vpc}))
      held.groups[uid.value] = world.group(uid)->revision.value;
  }
  return held;
}

void AgentModel::take(const v1::Batch& part) {
  parts_.push_back(part);
  if (part.more()) return;
  Held next = part.snapshot() ? Held{} : held_;
  if (part.snapshot()) vpc_of_.clear();
  for (const auto& p : parts_) {
    for (auto uid : p.removed_vpc_uids()) {
      next.vpcs.erase(uid);
      std::erase_if(next.endpoints, [&](const auto& e) { return vpc_of_[e.first] == uid; });
      std::erase_if(next.groups, [&](const auto& g) { return vpc_of_[g.first] == uid; });
    }
    for (auto uid : p.removed_security_group_uids())
      next.groups.erase(uid);
    for (auto uid : p.removed_qos_policy_uids())
      next.policies.erase(uid);
    for (auto uid : p.removed_endpoint_uids())
      next.endpoints.erase(uid);
    for (auto uid : p.removed_host_uids())
      next.hosts.erase(uid);
  }
  for (const auto& p : parts_) {
    for (const auto& vpc : p.vpcs())
      next.vpcs[vpc.uid()] = vpc.revision();
    for (const auto& policy : p.qos_policies())
      next.policies[policy.uid()] = policy.revision();
    for (const auto& host : p.hosts())
      next.hosts[host.uid()] = host.revision();
    for (const auto& endpoint : p.endpoints()) {
      next.endpoints[endpoint.uid()] = endpoint.revision();
      vpc_of_[endpoint.uid()] = endpoint.vpc_uid();
    }
    for (const auto& group : p.security_groups()) {
      next.groups[group.uid()] = group.revision();
      vpc_of_[group.uid()] = group.vpc_uid();
    }
  }
  held_ = std::move(next);
  revision_ = Revision{part.revision()};
  parts_.clear();
}

v1::Hello AgentModel::hello(const std::string& store_id, const std::string& host) const {
  v1::Hello hello;
  hello.set_protocol_version(3);
  hello.set_host(host);
  if (revision_.value == 0) return hello;
  hello.set_store_id(store_id);
  hello.set_held_revision(revision_.value);
  for (const auto& [uid, revision] : held_.vpcs)
    hello.add_held_vpc_uids(uid);
  return hello;
}

}  // namespace qmasq::controller::testing
