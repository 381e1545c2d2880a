// SPDX-License-Identifier: Apache-2.0
#include "controller/wire/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>

#include "common/resource_name.h"
#include "controller/model/request_rules.h"

namespace qmasq::controller {
namespace {

constexpr std::size_t kMaxName = 64;

void to_proto(const Nic& nic, v1::Nic* out) {
  out->set_device(nic.device);
  out->set_port(nic.port);
  out->set_netdev(nic.netdev);
  out->set_driver(nic.driver);
  out->set_active(nic.active);
  out->set_active_mtu(nic.active_mtu);
  out->set_rate_bps(nic.rate_bps);
  for (const auto& gid : nic.gids) {
    auto* entry = out->add_gids();
    entry->set_index(gid.index);
    entry->set_gid(to_string(gid.gid));
    entry->set_type(static_cast<v1::GidType>(gid.type));
  }
  if (!nic.primary_gid.is_zero()) out->set_primary_gid(to_string(nic.primary_gid));
  if (!nic.vpc_gid_prefix.is_zero()) out->set_vpc_gid_prefix(to_string(nic.vpc_gid_prefix));
}

void to_proto(const SecurityGroupRule& from, const std::string& vpc_id,
              v1::SecurityGroupRule* out) {
  using Message = v1::SecurityGroupRule;
  using conntrack::Operations;
  const conntrack::Rule& rule = from.rule;
  out->set_id(rule.id);
  out->set_direction(rule.direction == conntrack::Direction::kIngress ? Message::INGRESS
                                                                      : Message::EGRESS);
  out->set_priority(rule.priority);
  out->set_action(rule.action == conntrack::Action::kAllow ? Message::ALLOW : Message::DENY);
  if (rule.transport) {
    constexpr std::array kNames = {Message::RC, Message::UC, Message::UD, Message::XRC};
    out->set_transport(kNames[static_cast<std::size_t>(*rule.transport)]);
  }
  switch (rule.remote.kind) {
    case conntrack::Remote::Kind::kAny:
      out->set_any(true);
      break;
    case conntrack::Remote::Kind::kCidr:
      out->set_cidr(to_string(rule.remote.cidr));
      break;
    case conntrack::Remote::Kind::kGroup:
      out->set_security_group(security_group_name(vpc_id, rule.remote.group_id));
      out->set_security_group_uid(rule.remote.group.value);
      break;
  }
  if (rule.action == conntrack::Action::kAllow) {
    if (rule.operations.has(Operations::kSend)) out->add_operations(Message::SEND);
    if (rule.operations.has(Operations::kRead)) out->add_operations(Message::READ);
    if (rule.operations.has(Operations::kWrite)) out->add_operations(Message::WRITE);
    if (rule.operations.has(Operations::kAtomic)) out->add_operations(Message::ATOMIC);
  }
  out->set_log(rule.log);
  out->set_shadow(rule.shadow);
  out->set_description(from.description);
}

Result<Gid> read_gid(const std::string& text, const std::string& field) {
  auto gid = parse_gid(std::string_view(text).substr(0, kMaxName));
  if (gid) return *gid;
  Error error = std::move(gid).error();
  error.field = field;
  return tl::unexpected<Error>(std::move(error));
}

Result<Nic> read_nic(const v1::Nic& nic, const std::string& field) {
  if (nic.device().empty() || nic.device().size() > kMaxName) {
    return fail(Code::kInvalidArgument, "a device name has 1 to 64 bytes", field + ".device");
  }
  if (nic.netdev().size() > kMaxName || nic.driver().size() > kMaxName) {
    return fail(Code::kInvalidArgument, "interface and driver names have at most 64 bytes", field);
  }
  if (nic.rate_bps() > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
    return fail(Code::kInvalidArgument, "no link is that fast", field + ".rate_bps");
  }
  Nic out{nic.device(),     nic.port(),     nic.netdev(), nic.driver(), nic.active(),
          nic.active_mtu(), nic.rate_bps(), {},           {},           {}};
  std::set<std::uint32_t> indexes;
  for (int i = 0; i < nic.gids_size(); ++i) {
    const auto& gid = nic.gids(i);
    std::string place = fmt::format("{}.gids[{}]", field, i);
    if (!indexes.insert(gid.index()).second) {
      return fail(Code::kInvalidArgument, fmt::format("index {} is in the list twice", gid.index()),
                  place);
    }
    QMASQ_ASSIGN(Gid value, read_gid(gid.gid(), place));
    auto type =
        v1::GidType_IsValid(gid.type()) ? static_cast<GidType>(gid.type()) : GidType::kUnspecified;
    out.gids.push_back({gid.index(), value, type});
  }
  // By index, as the store gives them back: equal tables must compare equal.
  std::sort(out.gids.begin(), out.gids.end(),
            [](const auto& a, const auto& b) { return a.index < b.index; });
  if (!nic.primary_gid().empty()) {
    QMASQ_ASSIGN(out.primary_gid, read_gid(nic.primary_gid(), field + ".primary_gid"));
  }
  if (!nic.vpc_gid_prefix().empty()) {
    QMASQ_ASSIGN(out.vpc_gid_prefix, read_gid(nic.vpc_gid_prefix(), field + ".vpc_gid_prefix"));
    const auto& raw = out.vpc_gid_prefix.raw;
    if (std::any_of(raw.begin() + 12, raw.end(), [](std::uint8_t byte) { return byte != 0; })) {
      return fail(Code::kInvalidArgument, "its last 32 bits are where VNIs go, and must be 0",
                  field + ".vpc_gid_prefix");
    }
  }
  return out;
}

}  // namespace

void to_proto(TimePoint time, google::protobuf::Timestamp* out) {
  auto micros =
      std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
  out->set_seconds(micros / 1'000'000);
  out->set_nanos(static_cast<std::int32_t>(micros % 1'000'000 * 1000));
}

void to_proto(const Vpc& vpc, v1::Vpc* out) {
  out->set_name(vpc_name(vpc.id));
  out->set_uid(vpc.uid.value);
  out->set_vni(vpc.vni.value);
  for (const auto& range : vpc.ranges)
    out->add_ranges(to_string(range));
  out->set_mtu(vpc.mtu);
  if (vpc.qos_policy.uid.value != 0) {
    out->set_qos_policy(qos_policy_name(vpc.qos_policy.id));
    out->set_qos_policy_uid(vpc.qos_policy.uid.value);
  }
  out->set_description(vpc.description);
  out->set_etag(etag(vpc.uid.value, vpc.version));
  to_proto(vpc.create_time, out->mutable_create_time());
  to_proto(vpc.update_time, out->mutable_update_time());
  out->set_revision(vpc.revision.value);
}

void to_proto(const Endpoint& endpoint, v1::Endpoint* out) {
  out->set_name(endpoint_name(endpoint.vpc_id, endpoint.id));
  out->set_uid(endpoint.uid.value);
  out->set_vpc_uid(endpoint.vpc.value);
  out->set_host(host_name(endpoint.host_id));
  for (const auto& address : endpoint.addresses)
    out->add_addresses(to_string(address));
  out->set_mac(to_string(endpoint.mac));
  for (const auto& group : endpoint.groups) {
    out->add_security_groups(security_group_name(endpoint.vpc_id, group.id));
    out->add_security_group_uids(group.uid.value);
  }
  if (endpoint.qos_policy.uid.value != 0) {
    out->set_qos_policy(qos_policy_name(endpoint.qos_policy.id));
    out->set_qos_policy_uid(endpoint.qos_policy.uid.value);
  }
  out->mutable_user_ids()->Add(endpoint.user_ids.begin(), endpoint.user_ids.end());
  out->mutable_group_ids()->Add(endpoint.group_ids.begin(), endpoint.group_ids.end());
  out->set_description(endpoint.description);
  out->set_etag(etag(endpoint.uid.value, endpoint.version));
  to_proto(endpoint.create_time, out->mutable_create_time());
  to_proto(endpoint.update_time, out->mutable_update_time());
  out->set_revision(endpoint.revision.value);
}

void to_proto(const Host& host, v1::Host* out) {
  out->set_name(host_name(host.id));
  out->set_uid(host.uid.value);
  out->set_description(host.description);
  out->set_etag(etag(host.uid.value, host.version));
  to_proto(host.create_time, out->mutable_create_time());
  to_proto(host.update_time, out->mutable_update_time());
  out->set_revision(host.revision.value);
  if (host.underlay != IpAddress{}) out->set_underlay_address(to_string(host.underlay));
  for (const auto& nic : host.nics)
    to_proto(nic, out->add_nics());
  for (const auto& rate : host.nic_rates) {
    auto* entry = out->add_nic_rates();
    entry->set_device(rate.device);
    entry->set_rate_bps(rate.rate_bps);
  }
}

void to_proto(const SecurityGroup& group, v1::SecurityGroup* out) {
  out->set_name(security_group_name(group.vpc_id, group.id));
  out->set_uid(group.uid.value);
  out->set_vpc_uid(group.vpc.value);
  for (const auto& rule : group.rules)
    to_proto(rule, group.vpc_id, out->add_rules());
  out->set_description(group.description);
  out->set_etag(etag(group.uid.value, group.version));
  to_proto(group.create_time, out->mutable_create_time());
  to_proto(group.update_time, out->mutable_update_time());
  out->set_revision(group.revision.value);
}

Result<ReportedHost> read_report(const v1::HostReport& report) {
  ReportedHost out;
  if (!report.underlay_address().empty()) {
    auto address = parse_ip(std::string_view(report.underlay_address()).substr(0, kMaxName));
    if (!address || address->is_unspecified() || address->is_multicast()) {
      return fail(Code::kInvalidArgument, "this is no address of a host",
                  "host_report.underlay_address");
    }
    out.underlay = *address;
  }
  if (report.nics_size() > kMaxNics) {
    return fail(Code::kInvalidArgument, fmt::format("more than {} NICs", kMaxNics),
                "host_report.nics");
  }
  int gids = 0;
  std::set<std::string> devices;
  for (int i = 0; i < report.nics_size(); ++i) {
    gids += report.nics(i).gids_size();
    if (gids > kMaxGids) {
      return fail(Code::kInvalidArgument, fmt::format("more than {} GIDs", kMaxGids),
                  "host_report.nics");
    }
    std::string field = fmt::format("host_report.nics[{}]", i);
    QMASQ_ASSIGN(Nic nic, read_nic(report.nics(i), field));
    // One port of each device for now: agents know NICs by their device.
    if (!devices.insert(nic.device).second) {
      return fail(Code::kInvalidArgument, fmt::format("{} is in the list twice", nic.device),
                  field);
    }
    out.nics.push_back(std::move(nic));
  }
  return out;
}

}  // namespace qmasq::controller
