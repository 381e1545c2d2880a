// SPDX-License-Identifier: Apache-2.0
// Security groups to rows and back.
#include "controller/store/sqlite/rows.h"

namespace qmasq::controller::sqlite {
namespace {

using conntrack::Remote;
using conntrack::Rule;

std::int64_t column(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}
std::uint64_t unsigned_column(const Query& query, int index) {
  return static_cast<std::uint64_t>(query.number(index));
}

Status read_rules(Connection& connection, SecurityGroup& group) {
  QMASQ_ASSIGN(Query query,
               connection.query("SELECT r.id, r.direction, r.priority, r.action, r.transport, "
                                "r.remote_kind, r.remote_range, r.remote_length, r.remote_group, "
                                "g.id, r.operations, r.log, r.shadow, r.description FROM "
                                "security_group_rules r LEFT JOIN security_groups g ON "
                                "g.uid = r.remote_group WHERE r.group_uid = ?1 "
                                "ORDER BY r.position"));
  query.bind(column(group.uid.value));
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return {};
    SecurityGroupRule out;
    Rule& rule = out.rule;
    rule.id = query.text(0);
    rule.direction = static_cast<conntrack::Direction>(query.number(1));
    rule.priority = static_cast<std::uint16_t>(query.number(2));
    rule.action = static_cast<conntrack::Action>(query.number(3));
    if (query.number(4) >= 0) {
      rule.transport = static_cast<conntrack::Transport>(query.number(4));
    }
    rule.remote.kind = static_cast<Remote::Kind>(query.number(5));
    if (rule.remote.kind == Remote::Kind::kCidr) {
      QMASQ_TRY(query.copy(6, rule.remote.cidr.address.bytes));
      rule.remote.cidr.length = static_cast<std::uint8_t>(query.number(7));
    }
    if (rule.remote.kind == Remote::Kind::kGroup) {
      rule.remote.group = SecurityGroupUid{unsigned_column(query, 8)};
      rule.remote.group_id = query.text(9);
    }
    rule.operations.bits = static_cast<std::uint8_t>(query.number(10));
    rule.log = query.number(11) != 0;
    rule.shadow = query.number(12) != 0;
    out.description = query.text(13);
    group.rules.push_back(std::move(out));
  }
}

Status write_rules(Connection& connection, const SecurityGroup& group) {
  {
    QMASQ_ASSIGN(Query drop,
                 connection.query("DELETE FROM security_group_rules WHERE group_uid = ?1"));
    QMASQ_TRY(drop.bind(column(group.uid.value)).run());
  }
  for (std::size_t i = 0; i < group.rules.size(); ++i) {
    const Rule& rule = group.rules[i].rule;
    const bool to_group = rule.remote.kind == Remote::Kind::kGroup;
    QMASQ_ASSIGN(Query insert,
                 connection.query("INSERT INTO security_group_rules (group_uid, position, id, "
                                  "direction, priority, action, transport, remote_kind, "
                                  "remote_range, remote_length, remote_group, operations, log, "
                                  "shadow, description) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, "
                                  "?9, ?10, nullif(?11, 0), ?12, ?13, ?14, ?15)"));
    insert.bind(column(group.uid.value)).bind(column(i)).bind(rule.id);
    insert.bind(static_cast<std::int64_t>(rule.direction)).bind(std::int64_t{rule.priority});
    insert.bind(static_cast<std::int64_t>(rule.action));
    insert.bind(rule.transport ? static_cast<std::int64_t>(*rule.transport) : std::int64_t{-1});
    insert.bind(static_cast<std::int64_t>(rule.remote.kind)).bind(rule.remote.cidr.address.bytes);
    insert.bind(std::int64_t{rule.remote.cidr.length});
    insert.bind(to_group ? column(rule.remote.group.value) : std::int64_t{0});
    insert.bind(std::int64_t{rule.operations.bits}).bind(std::int64_t{rule.log});
    QMASQ_TRY(insert.bind(std::int64_t{rule.shadow}).bind(group.rules[i].description).run());
  }
  return {};
}

}  // namespace

Result<std::vector<SecurityGroupPtr>> read_groups(Connection& connection, Query query) {
  std::vector<SecurityGroupPtr> out;
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return out;
    auto group = std::make_shared<SecurityGroup>();
    group->uid = SecurityGroupUid{unsigned_column(query, 0)};
    group->vpc = VpcUid{unsigned_column(query, 1)};
    group->vpc_id = query.text(2);
    group->id = query.text(3);
    group->description = query.text(4);
    group->version = unsigned_column(query, 5);
    group->revision = Revision{unsigned_column(query, 6)};
    group->create_time = from_micros(query.number(7));
    group->update_time = from_micros(query.number(8));
    QMASQ_TRY(read_rules(connection, *group));
    out.push_back(std::move(group));
  }
}

Status write_group(Connection& connection, const SecurityGroup& group,
                   const SecurityGroup* before) {
  const char* sql =
      before != nullptr
          ? "UPDATE security_groups SET vpc_uid = ?2, id = ?3, description = ?4, version = ?5, "
            "revision = ?6, create_time = ?7, update_time = ?8 WHERE uid = ?1"
          : "INSERT INTO security_groups (uid, vpc_uid, id, description, version, revision, "
            "create_time, update_time) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
  {
    QMASQ_ASSIGN(Query query, connection.query(sql));
    query.bind(column(group.uid.value)).bind(column(group.vpc.value)).bind(group.id);
    query.bind(group.description).bind(column(group.version));
    query.bind(column(group.revision.value)).bind(to_micros(group.create_time));
    QMASQ_TRY(query.bind(to_micros(group.update_time)).run());
  }
  if (before != nullptr && before->rules == group.rules) return {};
  return write_rules(connection, group);
}

}  // namespace qmasq::controller::sqlite
