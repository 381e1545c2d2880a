// SPDX-License-Identifier: Apache-2.0
#include "controller/watch/world.h"

#include <algorithm>

namespace qmasq::controller {
namespace {

template <typename Map, typename Key>
auto find_or_null(const Map& map, Key key) -> typename Map::mapped_type {
  auto found = map.find(key);
  return found == map.end() ? nullptr : found->second;
}

template <typename Map, typename Key>
void count_down(Map& map, Key key, std::uint64_t uid) {
  auto counts = map.find(key);
  if (counts == map.end()) return;
  auto count = counts->second.find(uid);
  if (count != counts->second.end() && --count->second == 0) counts->second.erase(count);
  if (counts->second.empty()) map.erase(counts);
}

}  // namespace

VpcPtr World::vpc(VpcUid uid) const {
  return find_or_null(vpcs_, uid);
}
EndpointPtr World::endpoint(EndpointUid uid) const {
  return find_or_null(endpoints_, uid);
}
HostPtr World::host(HostUid uid) const {
  return find_or_null(hosts_, uid);
}

const std::unordered_set<EndpointUid>& World::endpoints_of(VpcUid vpc) const {
  static const std::unordered_set<EndpointUid> none;
  auto found = endpoints_of_.find(vpc);
  return found == endpoints_of_.end() ? none : found->second;
}

SecurityGroupPtr World::group(SecurityGroupUid uid) const {
  return find_or_null(groups_, uid);
}

const std::unordered_set<SecurityGroupUid>& World::groups_of(VpcUid vpc) const {
  static const std::unordered_set<SecurityGroupUid> none;
  auto found = groups_of_.find(vpc);
  return found == groups_of_.end() ? none : found->second;
}

QosPolicyPtr World::policy(QosPolicyUid uid) const {
  return find_or_null(policies_, uid);
}

const World::Counts& World::hosts_of(QosPolicyUid policy) const {
  static const Counts none;
  auto found = hosts_of_policy_.find(policy);
  return found == hosts_of_policy_.end() ? none : found->second;
}

const std::unordered_set<VpcUid>& World::vpcs_of(QosPolicyUid policy) const {
  static const std::unordered_set<VpcUid> none;
  auto found = vpcs_of_policy_.find(policy);
  return found == vpcs_of_policy_.end() ? none : found->second;
}

const World::Counts& World::hosts_of(VpcUid vpc) const {
  static const Counts none;
  auto found = hosts_of_.find(vpc);
  return found == hosts_of_.end() ? none : found->second;
}

const World::Counts& World::vpcs_of(HostUid host) const {
  static const Counts none;
  auto found = vpcs_of_.find(host);
  return found == vpcs_of_.end() ? none : found->second;
}

// The policies, and who has one.
void World::apply_policies(const Commit& commit) {
  for (const auto& [before, after] : commit.policies) {
    if (after) {
      policies_[after->policy.uid] = after;
    } else {
      policies_.erase(before->policy.uid);
    }
  }
  for (const auto& [before, after] : commit.vpcs) {
    const QosPolicyUid was = before ? before->qos_policy.uid : QosPolicyUid{};
    const QosPolicyUid is = after ? after->qos_policy.uid : QosPolicyUid{};
    if (was == is) continue;
    if (is.value != 0) vpcs_of_policy_[is].insert(after->uid);
    if (was.value == 0) continue;
    auto vpcs = vpcs_of_policy_.find(was);
    vpcs->second.erase(before->uid);
    if (vpcs->second.empty()) vpcs_of_policy_.erase(vpcs);
  }
  for (const auto& [before, after] : commit.endpoints) {
    if (after && after->qos_policy.uid.value != 0) {
      ++hosts_of_policy_[after->qos_policy.uid][after->host.value];
    }
    if (before && before->qos_policy.uid.value != 0) {
      count_down(hosts_of_policy_, before->qos_policy.uid, before->host.value);
    }
  }
}

void World::apply_objects(const Commit& commit) {
  apply_policies(commit);
  for (const auto& [before, after] : commit.vpcs) {
    if (after) {
      vpcs_[after->uid] = after;
    } else {
      vpcs_.erase(before->uid);
    }
  }
  for (const auto& [before, after] : commit.hosts) {
    if (after) {
      hosts_[after->uid] = after;
    } else {
      hosts_.erase(before->uid);
    }
  }
  for (const auto& [before, after] : commit.groups) {
    if (after) {
      groups_[after->uid] = after;
      groups_of_[after->vpc].insert(after->uid);
      continue;
    }
    groups_.erase(before->uid);
    auto groups = groups_of_.find(before->vpc);
    groups->second.erase(before->uid);
    if (groups->second.empty()) groups_of_.erase(groups);
  }
  for (const auto& [before, after] : commit.endpoints) {
    if (after) {
      endpoints_[after->uid] = after;
      endpoints_of_[after->vpc].insert(after->uid);
      ++hosts_of_[after->vpc][after->host.value];
      ++vpcs_of_[after->host][after->vpc.value];
    }
    if (before) {
      count_down(hosts_of_, before->vpc, before->host.value);
      count_down(vpcs_of_, before->host, before->vpc.value);
    }
    if (!after) {
      endpoints_.erase(before->uid);
      auto members = endpoints_of_.find(before->vpc);
      members->second.erase(before->uid);
      if (members->second.empty()) endpoints_of_.erase(members);
    }
  }
}

void World::append_log(const Commit& commit) {
  auto op = [](const auto& changed) {
    if (!changed.before) return Op::kCreate;
    return changed.after ? Op::kUpdate : Op::kDelete;
  };
  for (const auto& changed : commit.vpcs) {
    VpcUid uid = (changed.after ? changed.after : changed.before)->uid;
    log_.push_back({commit.revision, Kind::kVpc, op(changed), uid.value, uid, {}, {}});
  }
  for (const auto& changed : commit.groups) {
    const auto& value = changed.after ? changed.after : changed.before;
    log_.push_back(
        {commit.revision, Kind::kSecurityGroup, op(changed), value->uid.value, value->vpc, {}, {}});
  }
  for (const auto& changed : commit.policies) {
    QosPolicyUid uid = (changed.after ? changed.after : changed.before)->policy.uid;
    log_.push_back({commit.revision, Kind::kQosPolicy, op(changed), uid.value, {}, {}, {}});
  }
  for (const auto& changed : commit.endpoints) {
    const auto& value = changed.after ? changed.after : changed.before;
    log_.push_back({commit.revision, Kind::kEndpoint, op(changed), value->uid.value, value->vpc,
                    changed.after ? changed.after->host : HostUid{},
                    changed.before ? changed.before->host : HostUid{}});
  }
  for (const auto& changed : commit.hosts) {
    // A quiet change has no place in the log.
    if (changed.before && changed.after && changed.before->revision == changed.after->revision) {
      continue;
    }
    HostUid uid = (changed.after ? changed.after : changed.before)->uid;
    log_.push_back({commit.revision, Kind::kHost, op(changed), uid.value, {}, uid, {}});
  }
}

void World::trim_log() {
  while (log_.size() > log_size_) {
    // Whole revisions only.
    log_from_ = log_.front().revision;
    while (!log_.empty() && log_.front().revision == log_from_)
      log_.pop_front();
  }
}

void World::load(const Commit& all, Revision log_from, std::span<const LogEntry> log) {
  apply_objects(all);
  revision_ = all.revision;
  log_from_ = log_from;
  log_.assign(log.begin(), log.end());
  trim_log();
}

void World::apply(const Commit& commit) {
  apply_objects(commit);
  append_log(commit);
  trim_log();
  revision_ = std::max(revision_, commit.revision);
}

std::optional<std::vector<LogEntry>> World::log_since(Revision after) const {
  if (after < log_from_) return std::nullopt;
  auto first = std::partition_point(log_.begin(), log_.end(),
                                    [&](const LogEntry& e) { return e.revision <= after; });
  return std::vector<LogEntry>(first, log_.end());
}

std::optional<std::vector<LogEntry>> World::log_at(Revision revision) const {
  if (revision <= log_from_) return std::nullopt;
  auto less = [](const LogEntry& a, const LogEntry& b) { return a.revision < b.revision; };
  LogEntry key;
  key.revision = revision;
  auto [first, last] = std::equal_range(log_.begin(), log_.end(), key, less);
  return std::vector<LogEntry>(first, last);
}

}  // namespace qmasq::controller
