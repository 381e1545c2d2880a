// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "controller/model/types.h"
#include "controller/store/sqlite/connection.h"

// Objects to rows and back. Selects end in the condition they are given; a row that does not read
// back is kInternal: the file is damaged.
namespace qmasq::controller::sqlite {

#define QMASQ_VPC_COLUMNS                                                                \
  "SELECT uid, id, vni, mtu, description, version, revision, create_time, update_time, " \
  "coalesce(qos_policy_uid, 0), coalesce((SELECT p.id FROM qos_policies p WHERE "        \
  "p.uid = vpcs.qos_policy_uid), '') FROM vpcs "
#define QMASQ_ENDPOINT_COLUMNS                                                               \
  "SELECT e.uid, e.vpc_uid, v.id, e.id, e.host_uid, h.id, e.mac, e.description, e.version, " \
  "e.revision, e.create_time, e.update_time, coalesce(e.qos_policy_uid, 0), "                \
  "coalesce((SELECT p.id FROM qos_policies p WHERE p.uid = e.qos_policy_uid), '') "          \
  "FROM endpoints e JOIN vpcs v ON v.uid = e.vpc_uid "                                       \
  "JOIN hosts h ON h.uid = e.host_uid "
#define QMASQ_HOST_COLUMNS                                                                  \
  "SELECT uid, id, description, underlay, joined, agent_version, kernel_release, version, " \
  "revision, create_time, update_time FROM hosts "

#define QMASQ_GROUP_COLUMNS                                                                    \
  "SELECT g.uid, g.vpc_uid, v.id, g.id, g.description, g.version, g.revision, g.create_time, " \
  "g.update_time FROM security_groups g JOIN vpcs v ON v.uid = g.vpc_uid "

#define QMASQ_POLICY_COLUMNS                                                                   \
  "SELECT uid, id, description, version, revision, create_time, update_time, guaranteed_bps, " \
  "maximum_bps, burst_bytes, weight, coalesce(dscp, -1), quota_queue_pairs, "                  \
  "quota_completion_queues, quota_memory_regions, quota_shared_receive_queues, "               \
  "quota_pinned_bytes, rate_contexts, burst_contexts, rate_queue_pairs, burst_queue_pairs, "   \
  "rate_connects, burst_connects, rate_verbs, burst_verbs FROM qos_policies "

// All rows of a bound select that starts with the columns above, with what hangs on them.
[[nodiscard]] Result<std::vector<VpcPtr>> read_vpcs(Connection& connection, Query query);
[[nodiscard]] Result<std::vector<EndpointPtr>> read_endpoints(Connection& connection, Query query);
[[nodiscard]] Result<std::vector<HostPtr>> read_hosts(Connection& connection, Query query);
[[nodiscard]] Result<std::vector<SecurityGroupPtr>> read_groups(Connection& connection,
                                                                Query query);
[[nodiscard]] Result<std::vector<QosPolicyPtr>> read_policies(Query query);
[[nodiscard]] Result<std::vector<LogEntry>> read_log(Query query);

[[nodiscard]] Status write_vpc(Connection& connection, const Vpc& vpc, const Vpc* before);
[[nodiscard]] Status write_endpoint(Connection& connection, const Endpoint& endpoint,
                                    const Endpoint* before);
[[nodiscard]] Status write_host(Connection& connection, const Host& host, const Host* before);
[[nodiscard]] Status write_group(Connection& connection, const SecurityGroup& group,
                                 const SecurityGroup* before);
[[nodiscard]] Status write_policy(Connection& connection, const QosPolicy& policy,
                                  const QosPolicy* before);
[[nodiscard]] Status write_log(Connection& connection, const LogEntry& entry, int sequence,
                               TimePoint time);

[[nodiscard]] std::int64_t to_micros(TimePoint time);
[[nodiscard]] TimePoint from_micros(std::int64_t micros);

}  // namespace qmasq::controller::sqlite
