// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "controller/model/types.h"
#include "controller/watch/world.h"

namespace qmasq::controller {

// One consistent step for a host: what it must take over to be at `revision`.
struct Cut {
  Revision revision;
  bool snapshot = false;
  std::vector<VpcPtr> vpcs;
  std::vector<EndpointPtr> endpoints;
  std::vector<HostPtr> hosts;
  std::vector<VpcUid> removed_vpcs;
  std::vector<EndpointUid> removed_endpoints;
  std::vector<HostUid> removed_hosts;
  std::vector<SecurityGroupPtr> groups;
  std::vector<SecurityGroupUid> removed_groups;
  std::vector<QosPolicyPtr> policies;
  std::vector<QosPolicyUid> removed_policies;
  // Nothing to tell (a snapshot always says something: that all else is gone).
  [[nodiscard]] bool empty() const;
};

// What one host still has to hear. A host's scope: the VPCs that have an endpoint on it, all
// endpoints and security groups of these, the hosts of those endpoints, and all QoS policies
// whether somebody there has them or not. Remembers which uids changed, never values, so it is
// bounded by the scope however slow the host is; values are taken from the World at the cut.
//
// It may tell more than was missed (a value that the host already has, the removal of what it never
// had): both are harmless to a host. It never tells less. Pure, not thread-safe.
class ScopeTracker {
 public:
  // A host that holds nothing of use: the first cut is a snapshot.
  explicit ScopeTracker(HostUid host) : host_(host) {}
  // A host that holds these VPCs as they were at the revision behind which `missed` starts.
  ScopeTracker(HostUid host, const World& world, std::span<const std::uint64_t> held_vpcs,
               std::span<const LogEntry> missed);

  // Every commit, also when the host has no endpoint in the VPC just then: it may still hold the
  // VPC, and get an endpoint back before the next cut.
  void note(const Commit& commit);
  // The host kept what it had when it was given the last cut; start over.
  void restart();
  // Something was noted since the last cut.
  [[nodiscard]] bool dirty() const { return dirty_; }
  [[nodiscard]] Cut cut(const World& world);

 private:
  void mark(Kind kind, std::uint64_t uid, VpcUid vpc);
  Cut snapshot(const World& world);
  void cut_vpcs(const World& world, Cut& cut);
  void cut_endpoints(const World& world, Cut& cut);
  void cut_groups(const World& world, Cut& cut);
  void cut_hosts(const World& world, Cut& cut);
  void cut_policies(const World& world, Cut& cut);

  HostUid host_;
  bool dirty_ = true;
  bool snapshot_due_ = true;
  std::set<VpcUid> held_vpcs_;
  std::set<HostUid> held_hosts_;
  std::unordered_set<VpcUid> dirty_vpcs_;
  std::unordered_map<EndpointUid, VpcUid> dirty_endpoints_;
  std::unordered_map<SecurityGroupUid, VpcUid> dirty_groups_;
  std::unordered_set<HostUid> dirty_hosts_;
  std::unordered_set<QosPolicyUid> dirty_policies_;
};

// The hosts whose scope these changes touch: those with an endpoint in a touched VPC as things
// stand now, and those that an endpoint came from or went to. A policy touches the hosts of
// endpoints that have it or whose VPC has it, although all agents are told of it.
[[nodiscard]] std::set<HostUid> concerned_hosts(const World& world,
                                                std::span<const LogEntry> entries);

}  // namespace qmasq::controller
