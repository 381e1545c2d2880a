// SPDX-License-Identifier: Apache-2.0
// Callers: accesses, certificates, join tokens, the audit log.
#include <algorithm>
#include <cstdint>
#include <iterator>

#include "controller/store/sqlite/rows.h"
#include "controller/store/sqlite/sqlite_views.h"

namespace qmasq::controller::sqlite {
namespace {

// A certificate's row outlives it, so that its holder hears that it expired and not that nobody
// knows it.
constexpr std::chrono::hours kAfterExpiry{24 * 30};
constexpr std::int64_t kNever = 0;

#define QMASQ_ACCESS_COLUMNS                                                                 \
  "SELECT id, role, coalesce(user_id, -1), coalesce(group_id, -1), create_time, "            \
  "coalesce(revoke_time, 0), coalesce((SELECT max(c.expire_time) FROM certificates c WHERE " \
  "c.holder = 'accesses/' || accesses.id), 0) FROM accesses "
#define QMASQ_AUDIT_COLUMNS                                                                \
  "SELECT sequence, time, refused, caller, role, peer, serial, method, resource, vpc_id, " \
  "status, message, before, after, revision FROM audit "

std::optional<TimePoint> optional_time(std::int64_t micros) {
  if (micros == kNever) return std::nullopt;
  return from_micros(micros);
}

std::int64_t column(const std::optional<TimePoint>& time) {
  return time ? to_micros(*time) : kNever;
}

std::int64_t column(const std::optional<std::uint32_t>& number) {
  return number ? std::int64_t{*number} : std::int64_t{-1};
}

std::optional<std::uint32_t> optional_number(std::int64_t value) {
  if (value < 0) return std::nullopt;
  return static_cast<std::uint32_t>(value);
}

Status read_access_vpcs(Connection& connection, Access& access) {
  QMASQ_ASSIGN(Query query, connection.query("SELECT vpc_id FROM access_vpcs WHERE "
                                             "access_id = ?1 ORDER BY vpc_id"));
  query.bind(access.id);
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return {};
    access.vpcs.push_back(query.text(0));
  }
}

Result<std::vector<AccessPtr>> read_accesses(Connection& connection, Query query) {
  std::vector<AccessPtr> out;
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return out;
    auto access = std::make_shared<Access>();
    access->id = query.text(0);
    access->role = static_cast<Role>(query.number(1));
    access->user_id = optional_number(query.number(2));
    access->group_id = optional_number(query.number(3));
    access->create_time = from_micros(query.number(4));
    access->revoke_time = optional_time(query.number(5));
    access->expire_time = optional_time(query.number(6));
    QMASQ_TRY(read_access_vpcs(connection, *access));
    out.push_back(std::move(access));
  }
}

CertificateRecord read_certificate_row(const Query& query) {
  return {query.text(0), query.text(1), from_micros(query.number(2)), from_micros(query.number(3)),
          optional_time(query.number(4))};
}

AuditRecord read_audit_row(const Query& query) {
  AuditRecord out;
  out.sequence = static_cast<std::uint64_t>(query.number(0));
  out.time = from_micros(query.number(1));
  out.refused = query.number(2) != 0;
  out.caller = query.text(3);
  out.role = static_cast<Role>(query.number(4));
  out.peer = query.text(5);
  out.certificate_serial = query.text(6);
  out.method = query.text(7);
  out.resource = query.text(8);
  out.vpc_id = query.text(9);
  out.status = query.text(10);
  out.message = query.text(11);
  out.before = query.text(12);
  out.after = query.text(13);
  out.revision = static_cast<std::uint64_t>(query.number(14));
  return out;
}

}  // namespace

Result<std::vector<QosPolicyUid>> SqliteView::endpoint_policies(VpcUid vpc) {
  QMASQ_ASSIGN(Query query, connection_.query("SELECT DISTINCT qos_policy_uid FROM endpoints WHERE "
                                              "vpc_uid = ?1 AND qos_policy_uid IS NOT NULL"));
  query.bind(static_cast<std::int64_t>(vpc.value));
  std::vector<QosPolicyUid> out;
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return out;
    out.push_back(QosPolicyUid{static_cast<std::uint64_t>(query.number(0))});
  }
}

Result<AccessPtr> SqliteView::find_access(std::string_view id) {
  QMASQ_ASSIGN(Query query, connection_.query(QMASQ_ACCESS_COLUMNS "WHERE id = ?1"));
  query.bind(id);
  QMASQ_ASSIGN(auto rows, read_accesses(connection_, std::move(query)));
  return rows.empty() ? nullptr : std::move(rows.front());
}

Result<std::vector<AccessPtr>> SqliteView::list_accesses(const ListQuery& list) {
  QMASQ_ASSIGN(Query query,
               connection_.query(QMASQ_ACCESS_COLUMNS "WHERE id > ?1 ORDER BY id LIMIT ?2"));
  query.bind(list.after).bind(static_cast<std::int64_t>(list.limit));
  return read_accesses(connection_, std::move(query));
}

Result<std::vector<CertificateRecord>> SqliteView::list_certificates() {
  QMASQ_ASSIGN(Query query, connection_.query("SELECT serial, holder, create_time, expire_time, "
                                              "coalesce(revoke_time, 0) FROM certificates WHERE "
                                              "expire_time > ?1"));
  query.bind(to_micros(now_ - kAfterExpiry));
  std::vector<CertificateRecord> out;
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return out;
    out.push_back(read_certificate_row(query));
  }
}

Result<std::optional<JoinTokenRecord>> SqliteView::find_join_token(std::string_view hash) {
  QMASQ_ASSIGN(Query query,
               connection_.query("SELECT hash, host_id, create_time, expire_time, "
                                 "coalesce(use_time, 0) FROM join_tokens WHERE hash = ?1"));
  query.bind(hash);
  QMASQ_ASSIGN(bool row, query.step());
  if (!row) return std::nullopt;
  return JoinTokenRecord{query.text(0), query.text(1), from_micros(query.number(2)),
                         from_micros(query.number(3)), optional_time(query.number(4))};
}

Result<std::vector<AuditRecord>> SqliteView::list_audit(const AuditQuery& list) {
  std::vector<AuditRecord> out;
  const std::int64_t before = list.before == 0 ? INT64_MAX : static_cast<std::int64_t>(list.before);
  auto read = [&](Query query) -> Status {
    while (out.size() < list.limit) {
      QMASQ_ASSIGN(bool row, query.step());
      if (!row) break;
      out.push_back(read_audit_row(query));
    }
    return {};
  };
  if (!list.vpcs) {
    QMASQ_ASSIGN(Query query,
                 connection_.query(QMASQ_AUDIT_COLUMNS
                                   "WHERE sequence < ?1 ORDER BY sequence DESC LIMIT ?2"));
    query.bind(before).bind(static_cast<std::int64_t>(list.limit));
    QMASQ_TRY(read(std::move(query)));
    return out;
  }
  // The newest of each VPC, then the newest of all of these.
  std::vector<AuditRecord> all;
  for (const auto& vpc : *list.vpcs) {
    QMASQ_ASSIGN(Query query,
                 connection_.query(QMASQ_AUDIT_COLUMNS "WHERE vpc_id = ?1 AND sequence < ?2 "
                                                       "ORDER BY sequence DESC LIMIT ?3"));
    query.bind(vpc).bind(before).bind(static_cast<std::int64_t>(list.limit));
    out.clear();
    QMASQ_TRY(read(std::move(query)));
    all.insert(all.end(), std::make_move_iterator(out.begin()), std::make_move_iterator(out.end()));
  }
  std::sort(all.begin(), all.end(),
            [](const auto& a, const auto& b) { return a.sequence > b.sequence; });
  if (all.size() > list.limit) all.resize(list.limit);
  return all;
}

Status SqliteView::put(const Access& access) {
  changed_ = true;
  {
    QMASQ_ASSIGN(Query query,
                 connection_.query("INSERT INTO accesses (id, role, user_id, group_id, "
                                   "create_time, revoke_time) VALUES (?1, ?2, nullif(?3, -1), "
                                   "nullif(?4, -1), ?5, nullif(?6, 0)) ON CONFLICT (id) DO UPDATE "
                                   "SET revoke_time = excluded.revoke_time"));
    query.bind(access.id).bind(static_cast<std::int64_t>(access.role));
    query.bind(column(access.user_id)).bind(column(access.group_id));
    QMASQ_TRY(query.bind(to_micros(access.create_time)).bind(column(access.revoke_time)).run());
  }
  for (const auto& vpc : access.vpcs) {
    QMASQ_ASSIGN(Query insert,
                 connection_.query("INSERT OR IGNORE INTO access_vpcs (access_id, vpc_id) "
                                   "VALUES (?1, ?2)"));
    QMASQ_TRY(insert.bind(access.id).bind(vpc).run());
  }
  commit_.accesses.push_back(std::make_shared<const Access>(access));
  return {};
}

Status SqliteView::put(const CertificateRecord& certificate) {
  changed_ = true;
  {
    QMASQ_ASSIGN(Query sweep, connection_.query("DELETE FROM certificates WHERE serial IN (SELECT "
                                                "serial FROM certificates WHERE expire_time <= ?1 "
                                                "LIMIT 10)"));
    QMASQ_TRY(sweep.bind(to_micros(now_ - kAfterExpiry)).run());
  }
  QMASQ_ASSIGN(Query query,
               connection_.query("INSERT INTO certificates (serial, holder, create_time, "
                                 "expire_time, revoke_time) VALUES (?1, ?2, ?3, ?4, "
                                 "nullif(?5, 0))"));
  query.bind(certificate.serial).bind(certificate.holder).bind(to_micros(certificate.create_time));
  query.bind(to_micros(certificate.expire_time));
  QMASQ_TRY(query.bind(column(certificate.revoke_time)).run());
  commit_.certificates.push_back(certificate);
  return {};
}

Status SqliteView::put(const JoinTokenRecord& token) {
  changed_ = true;
  {
    // Expired ones are kept a day, so that who tries one hears that it expired.
    QMASQ_ASSIGN(Query sweep, connection_.query("DELETE FROM join_tokens WHERE hash IN (SELECT "
                                                "hash FROM join_tokens WHERE expire_time <= ?1 "
                                                "LIMIT 10)"));
    QMASQ_TRY(sweep.bind(to_micros(now_ - std::chrono::hours(24))).run());
  }
  QMASQ_ASSIGN(Query query,
               connection_.query("INSERT INTO join_tokens (hash, host_id, create_time, "
                                 "expire_time, use_time) VALUES (?1, ?2, ?3, ?4, nullif(?5, 0)) "
                                 "ON CONFLICT (hash) DO UPDATE SET use_time = excluded.use_time"));
  query.bind(token.hash).bind(token.host_id).bind(to_micros(token.create_time));
  return query.bind(to_micros(token.expire_time)).bind(column(token.use_time)).run();
}

Result<std::size_t> SqliteView::revoke_certificates(std::string_view holder) {
  std::vector<CertificateRecord> revoked;
  {
    QMASQ_ASSIGN(Query query,
                 connection_.query("UPDATE certificates SET revoke_time = ?2 WHERE holder = ?1 AND "
                                   "revoke_time IS NULL RETURNING serial, holder, create_time, "
                                   "expire_time, revoke_time"));
    query.bind(holder).bind(to_micros(now_));
    for (;;) {
      QMASQ_ASSIGN(bool row, query.step());
      if (!row) break;
      revoked.push_back(read_certificate_row(query));
    }
  }
  if (!revoked.empty()) changed_ = true;
  commit_.certificates.insert(commit_.certificates.end(), revoked.begin(), revoked.end());
  return revoked.size();
}

Result<std::size_t> SqliteView::revoke_join_tokens(std::string_view host_id) {
  QMASQ_ASSIGN(Query query, connection_.query("UPDATE join_tokens SET use_time = ?2 WHERE "
                                              "host_id = ?1 AND use_time IS NULL"));
  QMASQ_TRY(query.bind(host_id).bind(to_micros(now_)).run());
  const auto count = static_cast<std::size_t>(connection_.changed());
  if (count > 0) changed_ = true;
  return count;
}

Status SqliteView::append(AuditRecord record, const AuditRetention& retention) {
  changed_ = true;
  std::uint64_t sequence = 0;
  {
    QMASQ_ASSIGN(Query query,
                 connection_.query("INSERT INTO audit (time, refused, caller, role, peer, serial, "
                                   "method, resource, vpc_id, status, message, before, after, "
                                   "revision) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, "
                                   "?11, ?12, ?13, ?14) RETURNING sequence"));
    query.bind(to_micros(now_)).bind(std::int64_t{record.refused}).bind(record.caller);
    query.bind(static_cast<std::int64_t>(record.role)).bind(record.peer);
    query.bind(record.certificate_serial).bind(record.method).bind(record.resource);
    query.bind(record.vpc_id).bind(record.status).bind(record.message).bind(record.before);
    query.bind(record.after).bind(static_cast<std::int64_t>(record.revision));
    QMASQ_ASSIGN(bool row, query.step());
    if (row) sequence = static_cast<std::uint64_t>(query.number(0));
  }
  // Not each time: finding the oldest that stays costs as much as there are.
  constexpr std::uint64_t kSweepEvery = 256;
  if (sequence % kSweepEvery != 0) return {};
  QMASQ_TRY(sweep_audit(0, retention.mutations));
  return sweep_audit(1, retention.refusals);
}

Status SqliteView::sweep_audit(std::int64_t refused, std::uint64_t keep) {
  QMASQ_ASSIGN(Query sweep,
               connection_.query("DELETE FROM audit WHERE sequence IN (SELECT sequence FROM audit "
                                 "WHERE refused = ?1 AND sequence <= coalesce((SELECT sequence "
                                 "FROM audit WHERE refused = ?1 ORDER BY sequence DESC LIMIT 1 "
                                 "OFFSET ?2), 0) ORDER BY sequence LIMIT 1024) AND sequence <= "
                                 "(SELECT max(sequence) FROM audit) - 1000"));
  return sweep.bind(refused).bind(static_cast<std::int64_t>(keep)).run();
}

}  // namespace qmasq::controller::sqlite
