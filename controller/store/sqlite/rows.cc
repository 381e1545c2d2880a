// SPDX-License-Identifier: Apache-2.0
#include "controller/store/sqlite/rows.h"

namespace qmasq::controller::sqlite {
namespace {

std::int64_t column(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}
std::uint64_t unsigned_column(const Query& query, int index) {
  return static_cast<std::uint64_t>(query.number(index));
}
std::uint32_t small_column(const Query& query, int index) {
  return static_cast<std::uint32_t>(query.number(index));
}

Status read_ranges(Connection& connection, Vpc& vpc) {
  QMASQ_ASSIGN(Query query,
               connection.query("SELECT address, length FROM vpc_ranges WHERE vpc_uid = ?1 "
                                "ORDER BY position"));
  query.bind(column(vpc.uid.value));
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return {};
    IpPrefix range;
    QMASQ_TRY(query.copy(0, range.address.bytes));
    range.length = static_cast<std::uint8_t>(query.number(1));
    vpc.ranges.push_back(range);
  }
}

Status read_addresses(Connection& connection, Endpoint& endpoint) {
  QMASQ_ASSIGN(Query query,
               connection.query("SELECT address FROM endpoint_addresses WHERE endpoint_uid = ?1 "
                                "ORDER BY position"));
  query.bind(column(endpoint.uid.value));
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return {};
    IpAddress address;
    QMASQ_TRY(query.copy(0, address.bytes));
    endpoint.addresses.push_back(address);
  }
}

Status read_endpoint_groups(Connection& connection, Endpoint& endpoint) {
  QMASQ_ASSIGN(Query query,
               connection.query("SELECT g.uid, g.id FROM endpoint_security_groups e JOIN "
                                "security_groups g ON g.uid = e.group_uid WHERE "
                                "e.endpoint_uid = ?1 ORDER BY e.position"));
  query.bind(column(endpoint.uid.value));
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return {};
    endpoint.groups.push_back({SecurityGroupUid{unsigned_column(query, 0)}, query.text(1)});
  }
}

Status write_endpoint_groups(Connection& connection, const Endpoint& endpoint) {
  {
    QMASQ_ASSIGN(Query drop,
                 connection.query("DELETE FROM endpoint_security_groups WHERE endpoint_uid = ?1"));
    QMASQ_TRY(drop.bind(column(endpoint.uid.value)).run());
  }
  for (std::size_t i = 0; i < endpoint.groups.size(); ++i) {
    QMASQ_ASSIGN(Query insert,
                 connection.query("INSERT INTO endpoint_security_groups (endpoint_uid, position, "
                                  "group_uid) VALUES (?1, ?2, ?3)"));
    insert.bind(column(endpoint.uid.value)).bind(column(i));
    QMASQ_TRY(insert.bind(column(endpoint.groups[i].uid.value)).run());
  }
  return {};
}

Status read_users(Connection& connection, Endpoint& endpoint) {
  QMASQ_ASSIGN(Query query,
               connection.query("SELECT kind, number FROM endpoint_users WHERE endpoint_uid = ?1 "
                                "ORDER BY kind, number"));
  query.bind(column(endpoint.uid.value));
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return {};
    auto& numbers = query.number(0) == 0 ? endpoint.user_ids : endpoint.group_ids;
    numbers.push_back(small_column(query, 1));
  }
}

Status write_users(Connection& connection, const Endpoint& endpoint) {
  {
    QMASQ_ASSIGN(Query drop,
                 connection.query("DELETE FROM endpoint_users WHERE endpoint_uid = ?1"));
    QMASQ_TRY(drop.bind(column(endpoint.uid.value)).run());
  }
  auto insert = [&](std::int64_t kind, const std::vector<std::uint32_t>& numbers) -> Status {
    for (std::uint32_t number : numbers) {
      QMASQ_ASSIGN(Query query,
                   connection.query("INSERT INTO endpoint_users (endpoint_uid, kind, number) "
                                    "VALUES (?1, ?2, ?3)"));
      QMASQ_TRY(query.bind(column(endpoint.uid.value)).bind(kind).bind(column(number)).run());
    }
    return {};
  };
  QMASQ_TRY(insert(0, endpoint.user_ids));
  return insert(1, endpoint.group_ids);
}

Status read_gids(Connection& connection, HostUid host, std::int64_t position, Nic& nic) {
  QMASQ_ASSIGN(Query query,
               connection.query("SELECT gid_index, gid, gid_type FROM host_gids WHERE "
                                "host_uid = ?1 AND nic_position = ?2 ORDER BY gid_index"));
  query.bind(column(host.value)).bind(position);
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return {};
    PhysicalGid gid;
    gid.index = small_column(query, 0);
    QMASQ_TRY(query.copy(1, gid.gid.raw));
    gid.type = static_cast<GidType>(query.number(2));
    nic.gids.push_back(gid);
  }
}

Status read_nics(Connection& connection, Host& host) {
  QMASQ_ASSIGN(Query query, connection.query("SELECT device, port, netdev, driver, active, "
                                             "active_mtu, rate_bps, primary_gid, vpc_gid_prefix, "
                                             "position FROM "
                                             "host_nics WHERE host_uid = ?1 ORDER BY position"));
  query.bind(column(host.uid.value));
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return {};
    Nic nic;
    nic.device = query.text(0);
    nic.port = small_column(query, 1);
    nic.netdev = query.text(2);
    nic.driver = query.text(3);
    nic.active = query.number(4) != 0;
    nic.active_mtu = small_column(query, 5);
    nic.rate_bps = unsigned_column(query, 6);
    QMASQ_TRY(query.copy(7, nic.primary_gid.raw));
    QMASQ_TRY(query.copy(8, nic.vpc_gid_prefix.raw));
    QMASQ_TRY(read_gids(connection, host.uid, query.number(9), nic));
    host.nics.push_back(std::move(nic));
  }
}

Status write_nics(Connection& connection, const Host& host) {
  {
    QMASQ_ASSIGN(Query drop, connection.query("DELETE FROM host_nics WHERE host_uid = ?1"));
    QMASQ_TRY(drop.bind(column(host.uid.value)).run());
  }
  for (std::size_t i = 0; i < host.nics.size(); ++i) {
    const Nic& nic = host.nics[i];
    {
      QMASQ_ASSIGN(Query insert,
                   connection.query("INSERT INTO host_nics (host_uid, position, device, port, "
                                    "netdev, driver, active, active_mtu, rate_bps, primary_gid, "
                                    "vpc_gid_prefix) "
                                    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"));
      insert.bind(column(host.uid.value)).bind(column(i)).bind(nic.device).bind(column(nic.port));
      insert.bind(nic.netdev).bind(nic.driver).bind(std::int64_t{nic.active});
      insert.bind(column(nic.active_mtu)).bind(column(nic.rate_bps)).bind(nic.primary_gid.raw);
      insert.bind(nic.vpc_gid_prefix.raw);
      QMASQ_TRY(insert.run());
    }
    for (const auto& gid : nic.gids) {
      QMASQ_ASSIGN(Query insert,
                   connection.query("INSERT INTO host_gids (host_uid, nic_position, gid_index, "
                                    "gid, gid_type) VALUES (?1, ?2, ?3, ?4, ?5)"));
      insert.bind(column(host.uid.value)).bind(column(i)).bind(column(gid.index));
      insert.bind(gid.gid.raw).bind(static_cast<std::int64_t>(gid.type));
      QMASQ_TRY(insert.run());
    }
  }
  return {};
}

Status read_nic_rates(Connection& connection, Host& host) {
  QMASQ_ASSIGN(Query query,
               connection.query("SELECT device, rate_bps FROM host_nic_rates WHERE host_uid = ?1 "
                                "ORDER BY position"));
  query.bind(column(host.uid.value));
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return {};
    host.nic_rates.push_back({query.text(0), unsigned_column(query, 1)});
  }
}

Status write_nic_rates(Connection& connection, const Host& host) {
  {
    QMASQ_ASSIGN(Query drop, connection.query("DELETE FROM host_nic_rates WHERE host_uid = ?1"));
    QMASQ_TRY(drop.bind(column(host.uid.value)).run());
  }
  for (std::size_t i = 0; i < host.nic_rates.size(); ++i) {
    QMASQ_ASSIGN(Query insert,
                 connection.query("INSERT INTO host_nic_rates (host_uid, position, device, "
                                  "rate_bps) VALUES (?1, ?2, ?3, ?4)"));
    insert.bind(column(host.uid.value)).bind(column(i)).bind(host.nic_rates[i].device);
    QMASQ_TRY(insert.bind(column(host.nic_rates[i].rate_bps)).run());
  }
  return {};
}

}  // namespace

TimePoint from_micros(std::int64_t micros) {
  return TimePoint(
      std::chrono::duration_cast<TimePoint::duration>(std::chrono::microseconds(micros)));
}

std::int64_t to_micros(TimePoint time) {
  return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
}

Result<std::vector<VpcPtr>> read_vpcs(Connection& connection, Query query) {
  std::vector<VpcPtr> out;
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return out;
    auto vpc = std::make_shared<Vpc>();
    vpc->uid = VpcUid{unsigned_column(query, 0)};
    vpc->id = query.text(1);
    vpc->vni = Vni{small_column(query, 2)};
    vpc->mtu = small_column(query, 3);
    vpc->description = query.text(4);
    vpc->version = unsigned_column(query, 5);
    vpc->revision = Revision{unsigned_column(query, 6)};
    vpc->create_time = from_micros(query.number(7));
    vpc->update_time = from_micros(query.number(8));
    vpc->qos_policy = {QosPolicyUid{unsigned_column(query, 9)}, query.text(10)};
    QMASQ_TRY(read_ranges(connection, *vpc));
    out.push_back(std::move(vpc));
  }
}

Result<std::vector<EndpointPtr>> read_endpoints(Connection& connection, Query query) {
  std::vector<EndpointPtr> out;
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return out;
    auto endpoint = std::make_shared<Endpoint>();
    endpoint->uid = EndpointUid{unsigned_column(query, 0)};
    endpoint->vpc = VpcUid{unsigned_column(query, 1)};
    endpoint->vpc_id = query.text(2);
    endpoint->id = query.text(3);
    endpoint->host = HostUid{unsigned_column(query, 4)};
    endpoint->host_id = query.text(5);
    QMASQ_TRY(query.copy(6, endpoint->mac.bytes));
    endpoint->description = query.text(7);
    endpoint->version = unsigned_column(query, 8);
    endpoint->revision = Revision{unsigned_column(query, 9)};
    endpoint->create_time = from_micros(query.number(10));
    endpoint->update_time = from_micros(query.number(11));
    endpoint->qos_policy = {QosPolicyUid{unsigned_column(query, 12)}, query.text(13)};
    QMASQ_TRY(read_addresses(connection, *endpoint));
    QMASQ_TRY(read_endpoint_groups(connection, *endpoint));
    QMASQ_TRY(read_users(connection, *endpoint));
    out.push_back(std::move(endpoint));
  }
}

Result<std::vector<HostPtr>> read_hosts(Connection& connection, Query query) {
  std::vector<HostPtr> out;
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return out;
    auto host = std::make_shared<Host>();
    host->uid = HostUid{unsigned_column(query, 0)};
    host->id = query.text(1);
    host->description = query.text(2);
    QMASQ_TRY(query.copy(3, host->underlay.bytes));
    host->joined = query.number(4) != 0;
    host->agent_version = query.text(5);
    host->kernel_release = query.text(6);
    host->version = unsigned_column(query, 7);
    host->revision = Revision{unsigned_column(query, 8)};
    host->create_time = from_micros(query.number(9));
    host->update_time = from_micros(query.number(10));
    QMASQ_TRY(read_nics(connection, *host));
    QMASQ_TRY(read_nic_rates(connection, *host));
    out.push_back(std::move(host));
  }
}

Result<std::vector<LogEntry>> read_log(Query query) {
  std::vector<LogEntry> out;
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return out;
    LogEntry entry;
    entry.revision = Revision{unsigned_column(query, 0)};
    entry.kind = static_cast<Kind>(query.number(1));
    entry.op = static_cast<Op>(query.number(2));
    entry.uid = unsigned_column(query, 3);
    entry.vpc = VpcUid{unsigned_column(query, 4)};
    entry.host = HostUid{unsigned_column(query, 5)};
    entry.previous_host = HostUid{unsigned_column(query, 6)};
    out.push_back(entry);
  }
}

Status write_vpc(Connection& connection, const Vpc& vpc, const Vpc* before) {
  const char* sql =
      before != nullptr
          ? "UPDATE vpcs SET id = ?2, vni = ?3, mtu = ?4, description = ?5, version = ?6, "
            "revision = ?7, create_time = ?8, update_time = ?9, qos_policy_uid = nullif(?10, 0) "
            "WHERE uid = ?1"
          : "INSERT INTO vpcs (uid, id, vni, mtu, description, version, revision, create_time, "
            "update_time, qos_policy_uid) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, "
            "nullif(?10, 0))";
  {
    QMASQ_ASSIGN(Query query, connection.query(sql));
    query.bind(column(vpc.uid.value)).bind(vpc.id).bind(column(vpc.vni.value));
    query.bind(column(vpc.mtu)).bind(vpc.description).bind(column(vpc.version));
    query.bind(column(vpc.revision.value)).bind(to_micros(vpc.create_time));
    query.bind(to_micros(vpc.update_time));
    QMASQ_TRY(query.bind(column(vpc.qos_policy.uid.value)).run());
  }
  if (before != nullptr && before->ranges == vpc.ranges) return {};
  {
    QMASQ_ASSIGN(Query drop, connection.query("DELETE FROM vpc_ranges WHERE vpc_uid = ?1"));
    QMASQ_TRY(drop.bind(column(vpc.uid.value)).run());
  }
  for (std::size_t i = 0; i < vpc.ranges.size(); ++i) {
    QMASQ_ASSIGN(Query insert,
                 connection.query("INSERT INTO vpc_ranges (vpc_uid, position, address, length) "
                                  "VALUES (?1, ?2, ?3, ?4)"));
    insert.bind(column(vpc.uid.value)).bind(column(i)).bind(vpc.ranges[i].address.bytes);
    QMASQ_TRY(insert.bind(std::int64_t{vpc.ranges[i].length}).run());
  }
  return {};
}

Status write_endpoint(Connection& connection, const Endpoint& endpoint, const Endpoint* before) {
  const char* sql =
      before != nullptr
          ? "UPDATE endpoints SET vpc_uid = ?2, id = ?3, host_uid = ?4, mac = ?5, "
            "description = ?6, version = ?7, revision = ?8, create_time = ?9, update_time = ?10, "
            "qos_policy_uid = nullif(?11, 0) WHERE uid = ?1"
          : "INSERT INTO endpoints (uid, vpc_uid, id, host_uid, mac, description, version, "
            "revision, create_time, update_time, qos_policy_uid) VALUES (?1, ?2, ?3, ?4, ?5, ?6, "
            "?7, ?8, ?9, ?10, nullif(?11, 0))";
  {
    QMASQ_ASSIGN(Query query, connection.query(sql));
    query.bind(column(endpoint.uid.value)).bind(column(endpoint.vpc.value)).bind(endpoint.id);
    query.bind(column(endpoint.host.value)).bind(endpoint.mac.bytes).bind(endpoint.description);
    query.bind(column(endpoint.version)).bind(column(endpoint.revision.value));
    query.bind(to_micros(endpoint.create_time));
    query.bind(to_micros(endpoint.update_time));
    QMASQ_TRY(query.bind(column(endpoint.qos_policy.uid.value)).run());
  }
  if (before == nullptr || before->groups != endpoint.groups) {
    QMASQ_TRY(write_endpoint_groups(connection, endpoint));
  }
  if (before == nullptr || before->user_ids != endpoint.user_ids ||
      before->group_ids != endpoint.group_ids) {
    QMASQ_TRY(write_users(connection, endpoint));
  }
  if (before != nullptr && before->addresses == endpoint.addresses) return {};
  {
    QMASQ_ASSIGN(Query drop,
                 connection.query("DELETE FROM endpoint_addresses WHERE endpoint_uid = ?1"));
    QMASQ_TRY(drop.bind(column(endpoint.uid.value)).run());
  }
  for (std::size_t i = 0; i < endpoint.addresses.size(); ++i) {
    QMASQ_ASSIGN(Query insert,
                 connection.query("INSERT INTO endpoint_addresses (vpc_uid, address, endpoint_uid, "
                                  "position) VALUES (?1, ?2, ?3, ?4)"));
    insert.bind(column(endpoint.vpc.value)).bind(endpoint.addresses[i].bytes);
    QMASQ_TRY(insert.bind(column(endpoint.uid.value)).bind(column(i)).run());
  }
  return {};
}

Status write_host(Connection& connection, const Host& host, const Host* before) {
  const char* sql =
      before != nullptr
          ? "UPDATE hosts SET id = ?2, description = ?3, underlay = ?4, joined = ?5, "
            "agent_version = ?6, kernel_release = ?7, version = ?8, revision = ?9, "
            "create_time = ?10, update_time = ?11 WHERE uid = ?1"
          : "INSERT INTO hosts (uid, id, description, underlay, joined, agent_version, "
            "kernel_release, version, revision, create_time, update_time) VALUES (?1, ?2, ?3, ?4, "
            "?5, ?6, ?7, ?8, ?9, ?10, ?11)";
  {
    QMASQ_ASSIGN(Query query, connection.query(sql));
    query.bind(column(host.uid.value)).bind(host.id).bind(host.description);
    query.bind(host.underlay.bytes).bind(std::int64_t{host.joined}).bind(host.agent_version);
    query.bind(host.kernel_release).bind(column(host.version)).bind(column(host.revision.value));
    query.bind(to_micros(host.create_time));
    QMASQ_TRY(query.bind(to_micros(host.update_time)).run());
  }
  if (before == nullptr || before->nic_rates != host.nic_rates) {
    QMASQ_TRY(write_nic_rates(connection, host));
  }
  if (before != nullptr && before->nics == host.nics) return {};
  return write_nics(connection, host);
}

Status write_log(Connection& connection, const LogEntry& entry, int sequence, TimePoint time) {
  QMASQ_ASSIGN(Query query,
               connection.query("INSERT INTO changes (revision, sequence, kind, op, uid, vpc_uid, "
                                "host_uid, previous_host_uid, time) VALUES (?1, ?2, ?3, ?4, ?5, "
                                "?6, ?7, ?8, ?9)"));
  query.bind(column(entry.revision.value)).bind(std::int64_t{sequence});
  query.bind(static_cast<std::int64_t>(entry.kind)).bind(static_cast<std::int64_t>(entry.op));
  query.bind(column(entry.uid)).bind(column(entry.vpc.value)).bind(column(entry.host.value));
  return query.bind(column(entry.previous_host.value)).bind(to_micros(time)).run();
}

}  // namespace qmasq::controller::sqlite
