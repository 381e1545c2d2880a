// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "controller/model/types.h"

namespace qmasq::controller {

// The newest state in memory, indexed by what the watches ask for, and the tail of the revision
// log. Follows the store's commits in order. Pure, not thread-safe: belongs to the watch thread.
class World {
 public:
  using Counts = std::map<std::uint64_t, std::uint32_t>;  // uid -> endpoints

  // So many log entries are kept: an agent that missed more gets a snapshot.
  explicit World(std::size_t log_size = 100'000) : log_size_(log_size) {}

  // What the store holds at start, then its log, oldest first, complete from `log_from` on.
  void load(const Commit& all, Revision log_from, std::span<const LogEntry> log);
  void apply(const Commit& commit);

  [[nodiscard]] Revision revision() const { return revision_; }
  // Null: there is none.
  [[nodiscard]] VpcPtr vpc(VpcUid uid) const;
  [[nodiscard]] EndpointPtr endpoint(EndpointUid uid) const;
  [[nodiscard]] HostPtr host(HostUid uid) const;
  [[nodiscard]] SecurityGroupPtr group(SecurityGroupUid uid) const;
  [[nodiscard]] const std::unordered_set<SecurityGroupUid>& groups_of(VpcUid vpc) const;
  [[nodiscard]] QosPolicyPtr policy(QosPolicyUid uid) const;
  [[nodiscard]] const std::unordered_map<QosPolicyUid, QosPolicyPtr>& policies() const {
    return policies_;
  }
  // Hosts of endpoints that have a policy, and VPCs that have it.
  [[nodiscard]] const Counts& hosts_of(QosPolicyUid policy) const;
  [[nodiscard]] const std::unordered_set<VpcUid>& vpcs_of(QosPolicyUid policy) const;
  [[nodiscard]] const std::unordered_map<HostUid, HostPtr>& hosts() const { return hosts_; }
  [[nodiscard]] const std::unordered_set<EndpointUid>& endpoints_of(VpcUid vpc) const;
  // Hosts with endpoints in a VPC, and VPCs with endpoints on a host.
  [[nodiscard]] const Counts& hosts_of(VpcUid vpc) const;
  [[nodiscard]] const Counts& vpcs_of(HostUid host) const;
  [[nodiscard]] std::size_t vpc_count() const { return vpcs_.size(); }
  [[nodiscard]] std::size_t endpoint_count() const { return endpoints_.size(); }
  [[nodiscard]] std::size_t group_count() const { return groups_.size(); }

  // Log entries behind `after`, oldest first; nothing when the log no longer reaches back so far.
  [[nodiscard]] std::optional<std::vector<LogEntry>> log_since(Revision after) const;
  // Those of one revision; nothing when the log no longer reaches back so far.
  [[nodiscard]] std::optional<std::vector<LogEntry>> log_at(Revision revision) const;

 private:
  void apply_objects(const Commit& commit);
  void apply_policies(const Commit& commit);
  void append_log(const Commit& commit);
  void trim_log();

  const std::size_t log_size_;
  Revision revision_;
  std::unordered_map<VpcUid, VpcPtr> vpcs_;
  std::unordered_map<EndpointUid, EndpointPtr> endpoints_;
  std::unordered_map<HostUid, HostPtr> hosts_;
  std::unordered_map<SecurityGroupUid, SecurityGroupPtr> groups_;
  std::unordered_map<QosPolicyUid, QosPolicyPtr> policies_;
  std::unordered_map<VpcUid, std::unordered_set<EndpointUid>> endpoints_of_;
  std::unordered_map<VpcUid, std::unordered_set<SecurityGroupUid>> groups_of_;
  std::unordered_map<VpcUid, Counts> hosts_of_;
  std::unordered_map<HostUid, Counts> vpcs_of_;
  std::unordered_map<QosPolicyUid, Counts> hosts_of_policy_;
  std::unordered_map<QosPolicyUid, std::unordered_set<VpcUid>> vpcs_of_policy_;
  std::deque<LogEntry> log_;
  Revision log_from_;  // log_ is complete behind this revision
};

}  // namespace qmasq::controller
