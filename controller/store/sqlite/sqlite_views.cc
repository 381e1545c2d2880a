// SPDX-License-Identifier: Apache-2.0
#include "controller/store/sqlite/sqlite_views.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "controller/store/sqlite/rows.h"

namespace qmasq::controller::sqlite {
namespace {

std::int64_t column(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}

std::int64_t limit_column(std::size_t limit) {
  constexpr auto kMost = static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max());
  return static_cast<std::int64_t>(std::min(limit, kMost));
}

// The object of a select that gives one row or none.
template <typename T>
Result<std::shared_ptr<const T>> only(Result<std::vector<std::shared_ptr<const T>>> rows) {
  if (!rows) return tl::unexpected(std::move(rows).error());
  if (rows->empty()) return std::shared_ptr<const T>();
  return std::move(rows->front());
}

}  // namespace

Result<Revision> SqliteView::revision() {
  QMASQ_ASSIGN(auto number, connection_.number("SELECT revision FROM store WHERE one = 1"));
  return Revision{static_cast<std::uint64_t>(number)};
}

Result<VpcPtr> SqliteView::find_vpc(std::string_view id) {
  QMASQ_ASSIGN(Query query, connection_.query(QMASQ_VPC_COLUMNS "WHERE id = ?1"));
  query.bind(id);
  return only<Vpc>(read_vpcs(connection_, std::move(query)));
}

Result<VpcPtr> SqliteView::get_vpc(VpcUid uid) {
  QMASQ_ASSIGN(Query query, connection_.query(QMASQ_VPC_COLUMNS "WHERE uid = ?1"));
  query.bind(column(uid.value));
  return only<Vpc>(read_vpcs(connection_, std::move(query)));
}

Result<VpcPtr> SqliteView::vni_owner(Vni vni) {
  QMASQ_ASSIGN(Query query, connection_.query(QMASQ_VPC_COLUMNS "WHERE vni = ?1"));
  query.bind(column(vni.value));
  return only<Vpc>(read_vpcs(connection_, std::move(query)));
}

Result<std::vector<VpcPtr>> SqliteView::list_vpcs(const ListQuery& list) {
  QMASQ_ASSIGN(Query query,
               connection_.query(QMASQ_VPC_COLUMNS "WHERE id > ?1 ORDER BY id LIMIT ?2"));
  query.bind(list.after).bind(limit_column(list.limit));
  return read_vpcs(connection_, std::move(query));
}

Result<EndpointPtr> SqliteView::find_endpoint(VpcUid vpc, std::string_view id) {
  QMASQ_ASSIGN(Query query,
               connection_.query(QMASQ_ENDPOINT_COLUMNS "WHERE e.vpc_uid = ?1 AND e.id = ?2"));
  query.bind(column(vpc.value)).bind(id);
  return only<Endpoint>(read_endpoints(connection_, std::move(query)));
}

Result<EndpointPtr> SqliteView::get_endpoint(EndpointUid uid) {
  QMASQ_ASSIGN(Query query, connection_.query(QMASQ_ENDPOINT_COLUMNS "WHERE e.uid = ?1"));
  query.bind(column(uid.value));
  return only<Endpoint>(read_endpoints(connection_, std::move(query)));
}

Result<EndpointPtr> SqliteView::address_owner(VpcUid vpc, const IpAddress& address) {
  QMASQ_ASSIGN(auto use, first_address(vpc, address, address));
  return use ? use->endpoint : nullptr;
}

Result<EndpointPtr> SqliteView::mac_owner(VpcUid vpc, const Mac& mac) {
  QMASQ_ASSIGN(Query query,
               connection_.query(QMASQ_ENDPOINT_COLUMNS "WHERE e.vpc_uid = ?1 AND e.mac = ?2"));
  query.bind(column(vpc.value)).bind(mac.bytes);
  return only<Endpoint>(read_endpoints(connection_, std::move(query)));
}

Result<std::optional<AddressUse>> SqliteView::first_address(VpcUid vpc, const IpAddress& first,
                                                            const IpAddress& last) {
  AddressUse use;
  EndpointUid owner;
  {
    QMASQ_ASSIGN(Query query,
                 connection_.query("SELECT address, endpoint_uid FROM endpoint_addresses WHERE "
                                   "vpc_uid = ?1 AND address BETWEEN ?2 AND ?3 ORDER BY address "
                                   "LIMIT 1"));
    query.bind(column(vpc.value)).bind(first.bytes).bind(last.bytes);
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return std::nullopt;
    QMASQ_TRY(query.copy(0, use.address.bytes));
    owner.value = static_cast<std::uint64_t>(query.number(1));
  }
  QMASQ_ASSIGN(use.endpoint, get_endpoint(owner));
  if (!use.endpoint) return fail(Code::kInternal, "the database has an address without endpoint");
  return use;
}

Result<std::vector<EndpointPtr>> SqliteView::endpoints_in(VpcUid vpc, const std::string& after,
                                                          std::size_t limit) {
  QMASQ_ASSIGN(Query query,
               connection_.query(QMASQ_ENDPOINT_COLUMNS
                                 "WHERE e.vpc_uid = ?1 AND e.id > ?2 ORDER BY e.id LIMIT ?3"));
  query.bind(column(vpc.value)).bind(after).bind(limit_column(limit));
  return read_endpoints(connection_, std::move(query));
}

Result<std::vector<EndpointPtr>> SqliteView::list_endpoints(const EndpointQuery& list) {
  if (list.host) {
    QMASQ_ASSIGN(Query query,
                 connection_.query(QMASQ_ENDPOINT_COLUMNS
                                   "WHERE e.host_uid = ?1 AND (?2 = 0 OR e.vpc_uid = ?2) AND "
                                   "(v.id > ?3 OR (v.id = ?3 AND e.id > ?4)) "
                                   "ORDER BY v.id, e.id LIMIT ?5"));
    query.bind(column(list.host->value)).bind(list.vpc ? column(list.vpc->value) : 0);
    query.bind(list.after_vpc).bind(list.after_endpoint).bind(limit_column(list.limit));
    return read_endpoints(connection_, std::move(query));
  }
  if (list.vpc) return endpoints_in(*list.vpc, list.after_endpoint, list.limit);
  // All: VPC by VPC, so that every step starts inside an index.
  std::vector<EndpointPtr> out;
  auto append = [&](VpcUid vpc, const std::string& after) -> Status {
    QMASQ_ASSIGN(auto more, endpoints_in(vpc, after, list.limit - out.size()));
    out.insert(out.end(), std::make_move_iterator(more.begin()),
               std::make_move_iterator(more.end()));
    return {};
  };
  ListQuery vpcs{list.after_vpc, 100};
  if (!list.after_vpc.empty()) {
    QMASQ_ASSIGN(VpcPtr vpc, find_vpc(list.after_vpc));
    if (vpc) QMASQ_TRY(append(vpc->uid, list.after_endpoint));
  }
  while (out.size() < list.limit) {
    QMASQ_ASSIGN(auto page, list_vpcs(vpcs));
    if (page.empty()) break;
    for (const auto& vpc : page) {
      if (out.size() < list.limit) QMASQ_TRY(append(vpc->uid, {}));
    }
    vpcs.after = page.back()->id;
  }
  return out;
}

Result<HostPtr> SqliteView::find_host(std::string_view id) {
  QMASQ_ASSIGN(Query query, connection_.query(QMASQ_HOST_COLUMNS "WHERE id = ?1"));
  query.bind(id);
  return only<Host>(read_hosts(connection_, std::move(query)));
}

Result<HostPtr> SqliteView::get_host(HostUid uid) {
  QMASQ_ASSIGN(Query query, connection_.query(QMASQ_HOST_COLUMNS "WHERE uid = ?1"));
  query.bind(column(uid.value));
  return only<Host>(read_hosts(connection_, std::move(query)));
}

Result<std::vector<HostPtr>> SqliteView::list_hosts(const ListQuery& list) {
  QMASQ_ASSIGN(Query query,
               connection_.query(QMASQ_HOST_COLUMNS "WHERE id > ?1 ORDER BY id LIMIT ?2"));
  query.bind(list.after).bind(limit_column(list.limit));
  return read_hosts(connection_, std::move(query));
}

Result<SecurityGroupPtr> SqliteView::find_group(VpcUid vpc, std::string_view id) {
  QMASQ_ASSIGN(Query query,
               connection_.query(QMASQ_GROUP_COLUMNS "WHERE g.vpc_uid = ?1 AND g.id = ?2"));
  query.bind(column(vpc.value)).bind(id);
  return only<SecurityGroup>(read_groups(connection_, std::move(query)));
}

Result<SecurityGroupPtr> SqliteView::get_group(SecurityGroupUid uid) {
  QMASQ_ASSIGN(Query query, connection_.query(QMASQ_GROUP_COLUMNS "WHERE g.uid = ?1"));
  query.bind(column(uid.value));
  return only<SecurityGroup>(read_groups(connection_, std::move(query)));
}

Result<std::vector<SecurityGroupPtr>> SqliteView::list_groups(const GroupQuery& list) {
  QMASQ_ASSIGN(Query query,
               connection_.query(QMASQ_GROUP_COLUMNS
                                 "WHERE (?1 = 0 OR g.vpc_uid = ?1) AND (v.id > ?2 OR (v.id = ?2 "
                                 "AND g.id > ?3)) ORDER BY v.id, g.id LIMIT ?4"));
  query.bind(list.vpc ? column(list.vpc->value) : 0).bind(list.after_vpc).bind(list.after_group);
  query.bind(limit_column(list.limit));
  return read_groups(connection_, std::move(query));
}

Result<std::vector<EndpointPtr>> SqliteView::carriers(SecurityGroupUid group, std::size_t limit) {
  QMASQ_ASSIGN(Query query,
               connection_.query(QMASQ_ENDPOINT_COLUMNS
                                 "JOIN endpoint_security_groups s ON s.endpoint_uid = e.uid "
                                 "WHERE s.group_uid = ?1 ORDER BY v.id, e.id LIMIT ?2"));
  query.bind(column(group.value)).bind(limit_column(limit));
  return read_endpoints(connection_, std::move(query));
}

Result<std::size_t> SqliteView::count_carriers(SecurityGroupUid group) {
  QMASQ_ASSIGN(Query query, connection_.query("SELECT count(*) FROM endpoint_security_groups "
                                              "WHERE group_uid = ?1"));
  query.bind(column(group.value));
  QMASQ_ASSIGN(bool row, query.step());
  return row ? static_cast<std::size_t>(query.number(0)) : 0;
}

Result<std::vector<SecurityGroupPtr>> SqliteView::groups_naming(SecurityGroupUid group,
                                                                std::size_t limit) {
  QMASQ_ASSIGN(
      Query query,
      connection_.query(QMASQ_GROUP_COLUMNS "WHERE g.uid <> ?1 AND g.uid IN (SELECT group_uid FROM "
                                            "security_group_rules WHERE remote_group = ?1) "
                                            "ORDER BY v.id, g.id LIMIT ?2"));
  query.bind(column(group.value)).bind(limit_column(limit));
  return read_groups(connection_, std::move(query));
}

Result<std::vector<LogEntry>> SqliteView::log(Revision after, std::size_t limit) {
  QMASQ_ASSIGN(Query query, connection_.query("SELECT revision, kind, op, uid, vpc_uid, host_uid, "
                                              "previous_host_uid FROM changes WHERE revision > ?1 "
                                              "ORDER BY revision, sequence LIMIT ?2"));
  query.bind(column(after.value)).bind(limit_column(limit));
  return read_log(std::move(query));
}

Result<std::uint64_t> SqliteView::new_uid() {
  changed_ = true;
  QMASQ_ASSIGN(auto uid, connection_.number("UPDATE store SET next_uid = next_uid + 1 "
                                            "WHERE one = 1 RETURNING next_uid - 1"));
  return static_cast<std::uint64_t>(uid);
}

Status SqliteView::log_change(LogEntry entry) {
  entry.revision = next();
  changed_ = true;
  return write_log(connection_, entry, logged_++, now_);
}

Result<VpcPtr> SqliteView::put(Vpc vpc) {
  QMASQ_ASSIGN(VpcPtr before, get_vpc(vpc.uid));
  vpc.version = before ? before->version + 1 : 1;
  vpc.create_time = before ? before->create_time : now_;
  vpc.update_time = now_;
  vpc.revision = next();
  QMASQ_TRY(write_vpc(connection_, vpc, before.get()));
  QMASQ_TRY(log_change(
      {{}, Kind::kVpc, before ? Op::kUpdate : Op::kCreate, vpc.uid.value, vpc.uid, {}, {}}));
  auto after = std::make_shared<const Vpc>(std::move(vpc));
  commit_.vpcs.push_back({std::move(before), after});
  return after;
}

Result<EndpointPtr> SqliteView::put(Endpoint endpoint) {
  QMASQ_ASSIGN(EndpointPtr before, get_endpoint(endpoint.uid));
  endpoint.version = before ? before->version + 1 : 1;
  endpoint.create_time = before ? before->create_time : now_;
  endpoint.update_time = now_;
  endpoint.revision = next();
  QMASQ_TRY(write_endpoint(connection_, endpoint, before.get()));
  QMASQ_TRY(log_change({{},
                        Kind::kEndpoint,
                        before ? Op::kUpdate : Op::kCreate,
                        endpoint.uid.value,
                        endpoint.vpc,
                        endpoint.host,
                        before ? before->host : HostUid{}}));
  auto after = std::make_shared<const Endpoint>(std::move(endpoint));
  commit_.endpoints.push_back({std::move(before), after});
  return after;
}

Result<HostPtr> SqliteView::put(Host host, bool logged) {
  QMASQ_ASSIGN(HostPtr before, get_host(host.uid));
  host.version = before ? before->version + 1 : 1;
  host.create_time = before ? before->create_time : now_;
  host.update_time = now_;
  // A new host always makes a revision: its number appears for the first time.
  logged = logged || !before;
  host.revision = logged ? next() : before->revision;
  QMASQ_TRY(write_host(connection_, host, before.get()));
  changed_ = true;
  if (logged) {
    QMASQ_TRY(log_change(
        {{}, Kind::kHost, before ? Op::kUpdate : Op::kCreate, host.uid.value, {}, host.uid, {}}));
  }
  auto after = std::make_shared<const Host>(std::move(host));
  commit_.hosts.push_back({std::move(before), after});
  return after;
}

Result<SecurityGroupPtr> SqliteView::put(SecurityGroup group) {
  QMASQ_ASSIGN(SecurityGroupPtr before, get_group(group.uid));
  group.version = before ? before->version + 1 : 1;
  group.create_time = before ? before->create_time : now_;
  group.update_time = now_;
  group.revision = next();
  QMASQ_TRY(write_group(connection_, group, before.get()));
  QMASQ_TRY(log_change({{},
                        Kind::kSecurityGroup,
                        before ? Op::kUpdate : Op::kCreate,
                        group.uid.value,
                        group.vpc,
                        {},
                        {}}));
  auto after = std::make_shared<const SecurityGroup>(std::move(group));
  commit_.groups.push_back({std::move(before), after});
  return after;
}

Status SqliteView::delete_row(const char* sql, std::uint64_t uid, std::string_view what) {
  QMASQ_ASSIGN(Query query, connection_.query(sql));
  QMASQ_TRY(query.bind(column(uid)).run());
  if (connection_.changed() == 1) return {};
  return fail(Code::kNotFound, fmt::format("{} {} does not exist", what, uid));
}

Status SqliteView::remove(const VpcPtr& vpc) {
  QMASQ_TRY(delete_row("DELETE FROM vpcs WHERE uid = ?1", vpc->uid.value, "VPC"));
  commit_.vpcs.push_back({vpc, nullptr});
  return log_change({{}, Kind::kVpc, Op::kDelete, vpc->uid.value, vpc->uid, {}, {}});
}

Status SqliteView::remove(const EndpointPtr& endpoint) {
  QMASQ_TRY(delete_row("DELETE FROM endpoints WHERE uid = ?1", endpoint->uid.value, "endpoint"));
  commit_.endpoints.push_back({endpoint, nullptr});
  return log_change(
      {{}, Kind::kEndpoint, Op::kDelete, endpoint->uid.value, endpoint->vpc, {}, endpoint->host});
}

Status SqliteView::remove(const HostPtr& host) {
  QMASQ_TRY(delete_row("DELETE FROM hosts WHERE uid = ?1", host->uid.value, "host"));
  commit_.hosts.push_back({host, nullptr});
  return log_change({{}, Kind::kHost, Op::kDelete, host->uid.value, {}, host->uid, {}});
}

Status SqliteView::remove(const SecurityGroupPtr& group) {
  QMASQ_TRY(
      delete_row("DELETE FROM security_groups WHERE uid = ?1", group->uid.value, "security group"));
  commit_.groups.push_back({group, nullptr});
  return log_change({{}, Kind::kSecurityGroup, Op::kDelete, group->uid.value, group->vpc, {}, {}});
}

Result<std::optional<RequestRecord>> SqliteView::find_request(std::string_view id) {
  QMASQ_ASSIGN(Query query,
               connection_.query("SELECT method, request, response FROM requests WHERE "
                                 "request_id = ?1 AND create_time > ?2"));
  query.bind(id).bind(to_micros(now_ - kRequestLife));
  QMASQ_ASSIGN(bool row, query.step());
  if (!row) return std::nullopt;
  return RequestRecord{std::string(id), query.text(0), query.bytes(1), query.bytes(2)};
}

Status SqliteView::put_request(const RequestRecord& record) {
  changed_ = true;
  auto bytes = [](const std::string& text) {
    return std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  };
  {
    // A few at a time: each request that is kept sweeps more than itself, so the table stays small.
    QMASQ_ASSIGN(Query sweep,
                 connection_.query("DELETE FROM requests WHERE request_id IN (SELECT request_id "
                                   "FROM requests WHERE create_time <= ?1 ORDER BY create_time "
                                   "LIMIT 10)"));
    QMASQ_TRY(sweep.bind(to_micros(now_ - kRequestLife)).run());
  }
  QMASQ_ASSIGN(Query query,
               connection_.query("INSERT OR REPLACE INTO requests (request_id, method, request, "
                                 "response, create_time) VALUES (?1, ?2, ?3, ?4, ?5)"));
  query.bind(record.id).bind(record.method).bind(bytes(record.request));
  return query.bind(bytes(record.response)).bind(to_micros(now_)).run();
}

Status SqliteView::finish() {
  commit_.revision = logged_ > 0 ? next() : base_;
  if (logged_ == 0) return {};
  QMASQ_ASSIGN(Query query, connection_.query("UPDATE store SET revision = ?1 WHERE one = 1"));
  return query.bind(column(next().value)).run();
}

}  // namespace qmasq::controller::sqlite
