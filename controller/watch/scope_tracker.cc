// SPDX-License-Identifier: Apache-2.0
#include "controller/watch/scope_tracker.h"

namespace qmasq::controller {
namespace {

void add_hosts(const World& world, VpcUid vpc, std::set<HostUid>& out) {
  for (const auto& [host, count] : world.hosts_of(vpc))
    out.insert(HostUid{host});
}

// Hosts of all endpoints in the host's scope.
std::set<HostUid> hosts_in_scope(const World& world, HostUid host) {
  std::set<HostUid> out;
  for (const auto& [vpc, count] : world.vpcs_of(host))
    add_hosts(world, VpcUid{vpc}, out);
  return out;
}

// What a host that gets a VPC anew must hear of it.
void add_members(const World& world, VpcUid vpc, Cut& cut) {
  for (auto uid : world.groups_of(vpc))
    cut.groups.push_back(world.group(uid));
  for (auto uid : world.endpoints_of(vpc))
    cut.endpoints.push_back(world.endpoint(uid));
}

}  // namespace

bool Cut::empty() const {
  return !snapshot && vpcs.empty() && endpoints.empty() && hosts.empty() && removed_vpcs.empty() &&
         removed_endpoints.empty() && removed_hosts.empty() && groups.empty() &&
         removed_groups.empty() && policies.empty() && removed_policies.empty();
}

ScopeTracker::ScopeTracker(HostUid host, const World& world,
                           std::span<const std::uint64_t> held_vpcs,
                           std::span<const LogEntry> missed)
    : host_(host), dirty_(false), snapshot_due_(false) {
  // The host does not say which hosts it holds. Each it can hold is a host of a held VPC now, or
  // was one and then the log tells of the endpoint that left it.
  for (auto uid : held_vpcs) {
    held_vpcs_.insert(VpcUid{uid});
    add_hosts(world, VpcUid{uid}, held_hosts_);
  }
  for (const auto& entry : missed) {
    if (entry.kind == Kind::kHost || entry.kind == Kind::kQosPolicy) {
      mark(entry.kind, entry.uid, {});
      continue;
    }
    if (!held_vpcs_.contains(entry.vpc)) continue;
    mark(entry.kind, entry.uid, entry.vpc);
    for (HostUid touched : {entry.host, entry.previous_host}) {
      if (touched.value == 0) continue;
      held_hosts_.insert(touched);
      // It may have come with that very change: then the host does not hold it yet.
      dirty_hosts_.insert(touched);
    }
  }
  const auto& now = world.vpcs_of(host_);
  dirty_ = dirty_ || now.size() != held_vpcs_.size();
  for (const auto& [vpc, count] : now)
    dirty_ = dirty_ || !held_vpcs_.contains(VpcUid{vpc});
}

void ScopeTracker::mark(Kind kind, std::uint64_t uid, VpcUid vpc) {
  dirty_ = true;
  switch (kind) {
    case Kind::kVpc:
      dirty_vpcs_.insert(VpcUid{uid});
      break;
    case Kind::kEndpoint:
      dirty_endpoints_[EndpointUid{uid}] = vpc;
      break;
    case Kind::kHost:
      dirty_hosts_.insert(HostUid{uid});
      break;
    case Kind::kSecurityGroup:
      dirty_groups_[SecurityGroupUid{uid}] = vpc;
      break;
    case Kind::kQosPolicy:
      dirty_policies_.insert(QosPolicyUid{uid});
      break;
  }
}

void ScopeTracker::note(const Commit& commit) {
  if (snapshot_due_) {
    dirty_ = true;
    return;
  }
  for (const auto& [before, after] : commit.vpcs) {
    VpcUid uid = (after ? after : before)->uid;
    if (held_vpcs_.contains(uid)) mark(Kind::kVpc, uid.value, uid);
  }
  for (const auto& [before, after] : commit.endpoints) {
    const auto& value = after ? after : before;
    if (held_vpcs_.contains(value->vpc)) {
      mark(Kind::kEndpoint, value->uid.value, value->vpc);
    } else if (after && after->host == host_) {
      dirty_ = true;  // a VPC that is new here: the cut finds it
    }
  }
  for (const auto& [before, after] : commit.groups) {
    const auto& value = after ? after : before;
    if (held_vpcs_.contains(value->vpc)) {
      mark(Kind::kSecurityGroup, value->uid.value, value->vpc);
    }
  }
  for (const auto& [before, after] : commit.policies)
    mark(Kind::kQosPolicy, (after ? after : before)->policy.uid.value, {});
  for (const auto& [before, after] : commit.hosts) {
    HostUid uid = (after ? after : before)->uid;
    if (held_hosts_.contains(uid)) mark(Kind::kHost, uid.value, {});
  }
}

void ScopeTracker::restart() {
  snapshot_due_ = true;
  dirty_ = true;
  dirty_vpcs_.clear();
  dirty_endpoints_.clear();
  dirty_groups_.clear();
  dirty_hosts_.clear();
  dirty_policies_.clear();
}

Cut ScopeTracker::snapshot(const World& world) {
  Cut cut;
  cut.snapshot = true;
  held_vpcs_.clear();
  for (const auto& [uid, count] : world.vpcs_of(host_)) {
    held_vpcs_.insert(VpcUid{uid});
    cut.vpcs.push_back(world.vpc(VpcUid{uid}));
    add_members(world, VpcUid{uid}, cut);
  }
  held_hosts_ = hosts_in_scope(world, host_);
  for (auto uid : held_hosts_)
    cut.hosts.push_back(world.host(uid));
  for (const auto& [uid, policy] : world.policies())
    cut.policies.push_back(policy);
  return cut;
}

void ScopeTracker::cut_vpcs(const World& world, Cut& cut) {
  const auto& now = world.vpcs_of(host_);
  for (auto held = held_vpcs_.begin(); held != held_vpcs_.end();) {
    if (now.contains(held->value)) {
      if (dirty_vpcs_.contains(*held)) cut.vpcs.push_back(world.vpc(*held));
      ++held;
      continue;
    }
    cut.removed_vpcs.push_back(*held);
    held = held_vpcs_.erase(held);
  }
}

void ScopeTracker::cut_endpoints(const World& world, Cut& cut) {
  for (const auto& [uid, vpc] : dirty_endpoints_) {
    // Those of a VPC that just went went with it.
    if (!held_vpcs_.contains(vpc)) continue;
    if (auto endpoint = world.endpoint(uid)) {
      cut.endpoints.push_back(std::move(endpoint));
    } else {
      cut.removed_endpoints.push_back(uid);
    }
  }
  for (const auto& [uid, count] : world.vpcs_of(host_)) {
    if (!held_vpcs_.insert(VpcUid{uid}).second) continue;
    cut.vpcs.push_back(world.vpc(VpcUid{uid}));
    add_members(world, VpcUid{uid}, cut);
  }
}

// Before cut_endpoints(): that takes VPCs in which are new here, with all of their groups.
void ScopeTracker::cut_groups(const World& world, Cut& cut) {
  for (const auto& [uid, vpc] : dirty_groups_) {
    if (!held_vpcs_.contains(vpc)) continue;
    if (auto group = world.group(uid)) {
      cut.groups.push_back(std::move(group));
    } else {
      cut.removed_groups.push_back(uid);
    }
  }
}

void ScopeTracker::cut_hosts(const World& world, Cut& cut) {
  auto now = hosts_in_scope(world, host_);
  for (auto uid : held_hosts_) {
    if (!now.contains(uid)) cut.removed_hosts.push_back(uid);
  }
  for (auto uid : now) {
    if (!held_hosts_.contains(uid) || dirty_hosts_.contains(uid)) {
      cut.hosts.push_back(world.host(uid));
    }
  }
  held_hosts_ = std::move(now);
}

void ScopeTracker::cut_policies(const World& world, Cut& cut) {
  for (auto uid : dirty_policies_) {
    if (auto policy = world.policy(uid)) {
      cut.policies.push_back(std::move(policy));
    } else {
      cut.removed_policies.push_back(uid);
    }
  }
}

Cut ScopeTracker::cut(const World& world) {
  Cut cut;
  if (snapshot_due_) {
    cut = snapshot(world);
  } else {
    cut_vpcs(world, cut);
    cut_groups(world, cut);
    cut_endpoints(world, cut);
    cut_hosts(world, cut);
    cut_policies(world, cut);
  }
  cut.revision = world.revision();
  snapshot_due_ = false;
  dirty_ = false;
  dirty_vpcs_.clear();
  dirty_endpoints_.clear();
  dirty_groups_.clear();
  dirty_hosts_.clear();
  dirty_policies_.clear();
  return cut;
}

std::set<HostUid> concerned_hosts(const World& world, std::span<const LogEntry> entries) {
  std::set<HostUid> out;
  for (const auto& entry : entries) {
    if (entry.kind == Kind::kHost) {
      for (const auto& [vpc, count] : world.vpcs_of(entry.host)) {
        add_hosts(world, VpcUid{vpc}, out);
      }
      continue;
    }
    if (entry.kind == Kind::kQosPolicy) {
      const QosPolicyUid policy{entry.uid};
      for (const auto& [host, count] : world.hosts_of(policy))
        out.insert(HostUid{host});
      for (auto vpc : world.vpcs_of(policy))
        add_hosts(world, vpc, out);
      continue;
    }
    add_hosts(world, entry.vpc, out);
    if (entry.host.value != 0) out.insert(entry.host);
    if (entry.previous_host.value != 0) out.insert(entry.previous_host);
  }
  return out;
}

}  // namespace qmasq::controller
