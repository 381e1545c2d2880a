// SPDX-License-Identifier: Apache-2.0
// The part of the views that is about QoS policies. The recursive selects step from one value of an
// index to the next: they cost what they give, however many endpoints share a value.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "common/resource_name.h"
#include "controller/store/sqlite/rows.h"
#include "controller/store/sqlite/sqlite_views.h"

namespace qmasq::controller::sqlite {
namespace {

std::int64_t column(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}
std::uint64_t unsigned_column(const Query& query, int index) {
  return static_cast<std::uint64_t>(query.number(index));
}

std::int64_t limit_column(std::size_t limit) {
  constexpr auto kMost = static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max());
  return static_cast<std::int64_t>(std::min(limit, kMost));
}

Result<QosPolicyPtr> only(Result<std::vector<QosPolicyPtr>> rows) {
  if (!rows) return tl::unexpected(std::move(rows).error());
  if (rows->empty()) return QosPolicyPtr();
  return std::move(rows->front());
}

Result<std::vector<HostReference>> read_references(Query query) {
  std::vector<HostReference> out;
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return out;
    out.push_back({HostUid{unsigned_column(query, 0)}, query.text(1)});
  }
}

}  // namespace

Result<QosPolicyPtr> SqliteView::find_policy(std::string_view id) {
  QMASQ_ASSIGN(Query query, connection_.query(QMASQ_POLICY_COLUMNS "WHERE id = ?1"));
  query.bind(id);
  return only(read_policies(std::move(query)));
}

Result<QosPolicyPtr> SqliteView::get_policy(QosPolicyUid uid) {
  QMASQ_ASSIGN(Query query, connection_.query(QMASQ_POLICY_COLUMNS "WHERE uid = ?1"));
  query.bind(column(uid.value));
  return only(read_policies(std::move(query)));
}

Result<std::vector<QosPolicyPtr>> SqliteView::list_policies(const ListQuery& list) {
  QMASQ_ASSIGN(Query query,
               connection_.query(QMASQ_POLICY_COLUMNS "WHERE id > ?1 ORDER BY id LIMIT ?2"));
  query.bind(list.after).bind(limit_column(list.limit));
  return read_policies(std::move(query));
}

Result<std::size_t> SqliteView::count(const char* sql, std::uint64_t uid) {
  QMASQ_ASSIGN(Query query, connection_.query(sql));
  query.bind(column(uid));
  QMASQ_ASSIGN(bool row, query.step());
  return row ? static_cast<std::size_t>(query.number(0)) : 0;
}

Result<std::size_t> SqliteView::count_policies() {
  return count("SELECT count(*) FROM qos_policies WHERE uid > ?1", 0);
}

Result<std::size_t> SqliteView::count_policy_vpcs(QosPolicyUid policy) {
  return count("SELECT count(*) FROM vpcs WHERE qos_policy_uid = ?1", policy.value);
}

Result<std::size_t> SqliteView::count_policy_endpoints(QosPolicyUid policy) {
  return count("SELECT count(*) FROM endpoints WHERE qos_policy_uid = ?1", policy.value);
}

Result<std::vector<std::string>> SqliteView::policy_vpcs(QosPolicyUid policy, std::size_t limit) {
  QMASQ_ASSIGN(Query query,
               connection_.query("SELECT id FROM vpcs WHERE qos_policy_uid = ?1 LIMIT ?2"));
  query.bind(column(policy.value)).bind(limit_column(limit));
  std::vector<std::string> out;
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return out;
    out.push_back(vpc_name(query.text(0)));
  }
}

Result<std::vector<std::string>> SqliteView::policy_endpoints(QosPolicyUid policy,
                                                              std::size_t limit) {
  QMASQ_ASSIGN(Query query, connection_.query("SELECT v.id, e.id FROM endpoints e JOIN vpcs v ON "
                                              "v.uid = e.vpc_uid WHERE e.qos_policy_uid = ?1 "
                                              "LIMIT ?2"));
  query.bind(column(policy.value)).bind(limit_column(limit));
  std::vector<std::string> out;
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return out;
    out.push_back(endpoint_name(query.text(0), query.text(1)));
  }
}

Result<std::vector<PolicedEndpoint>> SqliteView::policed_endpoints(HostUid host) {
  QMASQ_ASSIGN(Query query,
               connection_.query("SELECT uid, vpc_uid, qos_policy_uid FROM endpoints INDEXED BY "
                                 "endpoints_with_qos_policy WHERE host_uid = ?1 AND "
                                 "qos_policy_uid IS NOT NULL ORDER BY vpc_uid"));
  query.bind(column(host.value));
  std::vector<PolicedEndpoint> out;
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return out;
    out.push_back({EndpointUid{unsigned_column(query, 0)}, VpcUid{unsigned_column(query, 1)},
                   QosPolicyUid{unsigned_column(query, 2)}});
  }
}

Result<std::vector<PolicedVpc>> SqliteView::policed_vpcs(HostUid host) {
  QMASQ_ASSIGN(
      Query query,
      connection_.query("WITH RECURSIVE found(vpc) AS (SELECT min(vpc_uid) FROM endpoints WHERE "
                        "host_uid = ?1 UNION ALL SELECT (SELECT min(vpc_uid) FROM endpoints WHERE "
                        "host_uid = ?1 AND vpc_uid > found.vpc) FROM found WHERE found.vpc IS NOT "
                        "NULL) SELECT v.uid, v.qos_policy_uid FROM found JOIN vpcs v ON "
                        "v.uid = found.vpc WHERE v.qos_policy_uid IS NOT NULL ORDER BY v.uid"));
  query.bind(column(host.value));
  std::vector<PolicedVpc> out;
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return out;
    out.push_back({VpcUid{unsigned_column(query, 0)}, QosPolicyUid{unsigned_column(query, 1)}});
  }
}

Result<std::vector<NicRate>> SqliteView::shared_rates(HostUid host) {
  QMASQ_ASSIGN(Query query,
               connection_.query("SELECT device, rate_bps FROM host_nic_rates WHERE host_uid = ?1 "
                                 "UNION ALL SELECT device, rate_bps FROM host_nics n WHERE "
                                 "host_uid = ?1 AND rate_bps > 0 AND NOT EXISTS (SELECT 1 FROM "
                                 "host_nic_rates r WHERE r.host_uid = ?1 AND r.device = n.device) "
                                 "ORDER BY 1"));
  query.bind(column(host.value));
  std::vector<NicRate> out;
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return out;
    out.push_back({query.text(0), unsigned_column(query, 1)});
  }
}

Result<std::vector<HostReference>> SqliteView::used_hosts() {
  QMASQ_ASSIGN(Query query, connection_.query("SELECT uid, id FROM hosts h WHERE EXISTS (SELECT 1 "
                                              "FROM endpoints e WHERE e.host_uid = h.uid) "
                                              "ORDER BY id"));
  return read_references(std::move(query));
}

Result<std::vector<HostReference>> SqliteView::hosts_of(VpcUid vpc) {
  QMASQ_ASSIGN(
      Query query,
      connection_.query("WITH RECURSIVE found(host) AS (SELECT min(host_uid) FROM endpoints WHERE "
                        "vpc_uid = ?1 UNION ALL SELECT (SELECT min(host_uid) FROM endpoints WHERE "
                        "vpc_uid = ?1 AND host_uid > found.host) FROM found WHERE found.host IS "
                        "NOT NULL) SELECT h.uid, h.id FROM found JOIN hosts h ON "
                        "h.uid = found.host ORDER BY h.id"));
  query.bind(column(vpc.value));
  return read_references(std::move(query));
}

Result<std::vector<HostReference>> SqliteView::hosts_of(QosPolicyUid policy) {
  QMASQ_ASSIGN(
      Query query,
      connection_.query(
          "WITH RECURSIVE own(host) AS (SELECT min(host_uid) FROM endpoints INDEXED BY "
          "endpoints_by_qos_policy WHERE qos_policy_uid = ?1 UNION ALL SELECT (SELECT "
          "min(host_uid) FROM endpoints INDEXED BY endpoints_by_qos_policy WHERE "
          "qos_policy_uid = ?1 AND host_uid > own.host) FROM own WHERE own.host IS NOT NULL), "
          "theirs(vpc, host) AS (SELECT v.uid, (SELECT min(host_uid) FROM endpoints WHERE "
          "vpc_uid = v.uid) FROM vpcs v WHERE v.qos_policy_uid = ?1 UNION ALL SELECT vpc, (SELECT "
          "min(host_uid) FROM endpoints WHERE vpc_uid = theirs.vpc AND host_uid > theirs.host) "
          "FROM theirs WHERE theirs.host IS NOT NULL) SELECT uid, id FROM hosts WHERE uid IN "
          "(SELECT host FROM own UNION SELECT host FROM theirs) ORDER BY id"));
  query.bind(column(policy.value));
  return read_references(std::move(query));
}

Result<QosPolicyPtr> SqliteView::put(QosPolicy policy) {
  QMASQ_ASSIGN(QosPolicyPtr before, get_policy(policy.policy.uid));
  policy.version = before ? before->version + 1 : 1;
  policy.create_time = before ? before->create_time : now_;
  policy.update_time = now_;
  policy.revision = next();
  QMASQ_TRY(write_policy(connection_, policy, before.get()));
  QMASQ_TRY(log_change({{},
                        Kind::kQosPolicy,
                        before ? Op::kUpdate : Op::kCreate,
                        policy.policy.uid.value,
                        {},
                        {},
                        {}}));
  auto after = std::make_shared<const QosPolicy>(std::move(policy));
  commit_.policies.push_back({std::move(before), after});
  return after;
}

Status SqliteView::remove(const QosPolicyPtr& policy) {
  const std::uint64_t uid = policy->policy.uid.value;
  QMASQ_TRY(delete_row("DELETE FROM qos_policies WHERE uid = ?1", uid, "QoS policy"));
  commit_.policies.push_back({policy, nullptr});
  return log_change({{}, Kind::kQosPolicy, Op::kDelete, uid, {}, {}, {}});
}

}  // namespace qmasq::controller::sqlite
