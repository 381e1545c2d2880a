// SPDX-License-Identifier: Apache-2.0
#include "vbond/sync/batch_collector.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "common/resource_name.h"
#include "qmasq/v1/sync.pb.h"
#include "vbond/sync/group_from.h"
#include "vbond/sync/policy_from.h"
#include "vbond/sync/refusal.h"

namespace qmasq::vbond {
namespace {

// Of a NIC, bits per second: no rate is so large that sums of them do not fit.
constexpr std::uint64_t kLeastRate = 1000;
constexpr std::uint64_t kMostRate = 10'000'000'000'000;

bool usable_address(const IpAddress& ip) {
  return !ip.is_unspecified() && !ip.is_multicast() && !ip.is_loopback();
}

// Name of the first uid that is there twice, or of one that is both given and removed.
template <typename View, typename Uid>
Status check_uids(const std::vector<View>& given, const std::vector<Uid>& removed,
                  std::string_view what) {
  std::vector<std::uint64_t> uids;
  uids.reserve(given.size());
  for (const View& view : given)
    uids.push_back(view.uid.value);
  std::sort(uids.begin(), uids.end());
  auto twice = std::adjacent_find(uids.begin(), uids.end());
  if (twice != uids.end()) return bad(what, fmt::format("uid {}", *twice), "is there twice");
  for (const Uid& uid : removed) {
    if (std::binary_search(uids.begin(), uids.end(), uid.value)) {
      return bad(what, fmt::format("uid {}", uid.value), "is both given and removed");
    }
  }
  return {};
}

// Users or groups of an endpoint: at most 64 (Endpoint.user_ids).
template <typename Ids>
Result<std::vector<std::uint32_t>> ids_of(const Ids& given, std::string_view what) {
  constexpr int kMost = 64;
  if (given.size() > kMost) {
    return fail(Code::kInvalidArgument, fmt::format("has more than {} {}", kMost, what));
  }
  std::vector<std::uint32_t> out(given.begin(), given.end());
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  // -1: nobody has it, and to the kernel it means "leave it".
  if (!out.empty() && out.back() == UINT32_MAX) {
    return fail(Code::kInvalidArgument, fmt::format("has {} among its {}", UINT32_MAX, what));
  }
  return out;
}

}  // namespace

void BatchCollector::reset() {
  started_ = false;
  change_ = Change{};
  objects_ = 0;
  verdict_ = {};
  endpoint_hosts_.clear();
  host_numbers_.clear();
}

void BatchCollector::add(const v1::Batch& part) {
  if (!started_) {
    started_ = true;
    change_.revision = Revision{part.revision()};
    change_.snapshot = part.snapshot();
  }
  if (!verdict_) return;
  verdict_ = collect(part);
  if (!verdict_) {
    // What was collected is of no use any more and may be large.
    Revision revision = change_.revision;
    change_ = Change{};
    change_.revision = revision;
    endpoint_hosts_ = {};
    host_numbers_ = {};
  }
}

Status BatchCollector::collect(const v1::Batch& part) {
  if (part.revision() != change_.revision.value) {
    return fail(Code::kInvalidArgument,
                fmt::format("a part of revision {} inside the batch of revision {}",
                            part.revision(), change_.revision.value));
  }
  if (part.snapshot() && !change_.snapshot) {
    return fail(Code::kInvalidArgument, "a part of a snapshot inside a batch of changes");
  }
  objects_ += static_cast<std::size_t>(part.vpcs_size()) +
              static_cast<std::size_t>(part.endpoints_size()) +
              static_cast<std::size_t>(part.hosts_size()) +
              static_cast<std::size_t>(part.removed_vpc_uids_size()) +
              static_cast<std::size_t>(part.removed_endpoint_uids_size()) +
              static_cast<std::size_t>(part.removed_host_uids_size()) +
              static_cast<std::size_t>(part.security_groups_size()) +
              static_cast<std::size_t>(part.removed_security_group_uids_size()) +
              static_cast<std::size_t>(part.qos_policies_size()) +
              static_cast<std::size_t>(part.removed_qos_policy_uids_size());
  for (const auto& group : part.security_groups())
    objects_ += static_cast<std::size_t>(group.rules_size());
  if (objects_ > limits_.objects) {
    return fail(Code::kResourceExhausted,
                fmt::format("the batch has more than {} objects", limits_.objects));
  }
  for (const auto& vpc : part.vpcs())
    QMASQ_TRY(collect_vpc(vpc));
  for (const auto& endpoint : part.endpoints())
    QMASQ_TRY(collect_endpoint(endpoint));
  for (const auto& host : part.hosts())
    QMASQ_TRY(collect_host(host));
  for (const auto& message : part.security_groups()) {
    auto group = group_from(message);
    if (!group) return tl::unexpected(std::move(group).error());
    change_.groups.push_back(*std::move(group));
  }
  for (const auto& message : part.qos_policies()) {
    auto policy = policy_from(message);
    if (!policy) return tl::unexpected(std::move(policy).error());
    change_.policies.push_back(*std::move(policy));
  }
  for (auto uid : part.removed_vpc_uids())
    change_.removed_vpcs.push_back(VpcUid{uid});
  for (auto uid : part.removed_endpoint_uids()) {
    change_.removed_endpoints.push_back(EndpointUid{uid});
  }
  for (auto uid : part.removed_host_uids())
    change_.removed_hosts.push_back(HostUid{uid});
  for (auto uid : part.removed_security_group_uids()) {
    change_.removed_groups.push_back(SecurityGroupUid{uid});
  }
  for (auto uid : part.removed_qos_policy_uids())
    change_.removed_policies.push_back(QosPolicyUid{uid});
  return {};
}

Status BatchCollector::collect_vpc(const v1::Vpc& vpc) {
  auto wrong = [&](std::string_view problem) { return bad("vpc", vpc.name(), problem); };
  if (auto id = parse_vpc_name(vpc.name()); !id) return wrong(id.error().message);
  if (vpc.uid() == 0) return wrong("has no uid");
  if (vpc.vni() == 0 || vpc.vni() > kMaxVni) {
    return wrong(fmt::format("VNI {} is not one of 1 to {}", vpc.vni(), kMaxVni));
  }
  if (vpc.mtu() != 0 && (vpc.mtu() < 1280 || vpc.mtu() > 9000)) {
    return wrong(fmt::format("MTU {} is not 0 nor one of 1280 to 9000", vpc.mtu()));
  }
  if (static_cast<std::size_t>(vpc.ranges_size()) > limits_.ranges_per_vpc) {
    return wrong(fmt::format("has more than {} ranges", limits_.ranges_per_vpc));
  }
  VpcView view{VpcUid{vpc.uid()}, vpc.name(), Vni{vpc.vni()}, {}, vpc.mtu()};
  for (const auto& text : vpc.ranges()) {
    auto range = parse_prefix(shown(text));
    if (!range) return wrong(range.error().message);
    for (const auto& other : view.ranges) {
      if (range->overlaps(other)) {
        return wrong(fmt::format("ranges {} and {} overlap", to_string(other), to_string(*range)));
      }
    }
    view.ranges.push_back(*range);
  }
  auto policy = policy_reference(vpc.qos_policy(), vpc.qos_policy_uid());
  if (!policy) return wrong(policy.error().message);
  view.qos_policy = *policy;
  change_.vpcs.push_back(std::move(view));
  return {};
}

Status BatchCollector::collect_endpoint(const v1::Endpoint& endpoint) {
  auto wrong = [&](std::string_view problem) { return bad("endpoint", endpoint.name(), problem); };
  if (auto name = parse_endpoint_name(endpoint.name()); !name) return wrong(name.error().message);
  if (endpoint.uid() == 0) return wrong("has no uid");
  if (endpoint.vpc_uid() == 0) return wrong("has no VPC");
  if (auto host = parse_host_name(endpoint.host()); !host) return wrong(host.error().message);
  auto mac = parse_mac(shown(endpoint.mac()));
  if (!mac) return wrong(mac.error().message);
  if (mac->is_zero() || mac->is_multicast()) {
    return wrong(fmt::format("{} is not a unicast MAC address", to_string(*mac)));
  }
  if (static_cast<std::size_t>(endpoint.addresses_size()) > limits_.addresses_per_endpoint) {
    return wrong(fmt::format("has more than {} addresses", limits_.addresses_per_endpoint));
  }
  EndpointView view;
  view.uid = EndpointUid{endpoint.uid()};
  view.vpc = VpcUid{endpoint.vpc_uid()};
  view.name = endpoint.name();
  view.mac = *mac;
  view.addresses.reserve(static_cast<std::size_t>(endpoint.addresses_size()));
  for (const auto& text : endpoint.addresses()) {
    auto address = parse_ip(shown(text));
    if (!address) return wrong(address.error().message);
    if (!usable_address(*address)) {
      return wrong(fmt::format("{} is not an address of a host", to_string(*address)));
    }
    if (std::find(view.addresses.begin(), view.addresses.end(), *address) != view.addresses.end()) {
      return wrong(fmt::format("has address {} twice", to_string(*address)));
    }
    view.addresses.push_back(*address);
  }
  QMASQ_ASSIGN(view.groups, groups_of(endpoint));
  auto policy = policy_reference(endpoint.qos_policy(), endpoint.qos_policy_uid());
  if (!policy) return wrong(policy.error().message);
  view.qos_policy = *policy;
  auto users = ids_of(endpoint.user_ids(), "users");
  if (!users) return wrong(users.error().message);
  view.user_ids = *std::move(users);
  auto user_groups = ids_of(endpoint.group_ids(), "groups of users");
  if (!user_groups) return wrong(user_groups.error().message);
  view.group_ids = *std::move(user_groups);
  auto number = static_cast<std::uint32_t>(host_numbers_.size());
  endpoint_hosts_.push_back(host_numbers_.try_emplace(endpoint.host(), number).first->second);
  change_.endpoints.push_back(std::move(view));
  return {};
}

Status BatchCollector::collect_host(const v1::Host& host) {
  auto wrong = [&](std::string_view problem) { return bad("host", host.name(), problem); };
  if (auto name = parse_host_name(host.name()); !name) return wrong(name.error().message);
  if (host.uid() == 0) return wrong("has no uid");
  HostView view;
  view.uid = HostUid{host.uid()};
  view.name = host.name();
  // A host whose agent never joined has no underlay address yet.
  if (!host.underlay_address().empty()) {
    auto address = parse_ip(shown(host.underlay_address()));
    if (!address) return wrong(address.error().message);
    if (address->is_unspecified() || address->is_multicast()) {
      return wrong(fmt::format("{} is not an underlay address", to_string(*address)));
    }
    view.underlay = *address;
  }
  if (static_cast<std::size_t>(host.nics_size()) > limits_.nics_per_host) {
    return wrong(fmt::format("has more than {} NICs", limits_.nics_per_host));
  }
  for (const auto& nic : host.nics()) {
    if (nic.device().empty()) return wrong("has a NIC without a device name");
    auto same = [&](const HostNicView& other) { return other.device == nic.device(); };
    if (std::any_of(view.nics.begin(), view.nics.end(), same)) {
      return wrong(fmt::format("has NIC {} twice", shown(nic.device())));
    }
    HostNicView nic_view{nic.device(), {}, BitsPerSecond{std::min(nic.rate_bps(), kMostRate)}};
    if (!nic.primary_gid().empty()) {
      auto gid = parse_gid(shown(nic.primary_gid()));
      if (!gid) return wrong(gid.error().message);
      nic_view.primary_gid = *gid;
    }
    if (!nic.vpc_gid_prefix().empty()) {
      auto prefix = parse_gid(shown(nic.vpc_gid_prefix()));
      if (!prefix) return wrong(prefix.error().message);
      nic_view.vpc_prefix = *prefix;
    }
    view.nics.push_back(std::move(nic_view));
  }
  if (auto status = take_rates(host, view); !status) return wrong(status.error().message);
  change_.hosts.push_back(std::move(view));
  return {};
}

Status BatchCollector::take_rates(const v1::Host& host, HostView& view) const {
  auto wrong = [](std::string problem) { return fail(Code::kInvalidArgument, std::move(problem)); };
  if (static_cast<std::size_t>(host.nic_rates_size()) > limits_.rates_per_host) {
    return wrong(fmt::format("has more than {} nic_rates", limits_.rates_per_host));
  }
  std::unordered_set<std::string_view> seen;
  for (const auto& rate : host.nic_rates()) {
    if (rate.device().empty()) return wrong("has a rate in nic_rates without a device name");
    if (!seen.insert(rate.device()).second) {
      return wrong(fmt::format("has {} twice in nic_rates", shown(rate.device())));
    }
    if (rate.rate_bps() < kLeastRate || rate.rate_bps() > kMostRate) {
      return wrong(fmt::format("nic_rates: rate_bps {} of {} is not one of {} to {}",
                               rate.rate_bps(), shown(rate.device()), kLeastRate, kMostRate));
    }
    auto nic = std::find_if(view.nics.begin(), view.nics.end(), [&](const HostNicView& other) {
      return other.device == rate.device();
    });
    // One that its agent has not reported (yet) counts from when it does.
    if (nic == view.nics.end()) nic = view.nics.insert(nic, HostNicView{rate.device(), {}});
    nic->rate = BitsPerSecond{rate.rate_bps()};
    nic->rate_by_admin = true;
  }
  return {};
}

Status BatchCollector::check_unique() const {
  QMASQ_TRY(check_uids(change_.vpcs, change_.removed_vpcs, "vpc"));
  QMASQ_TRY(check_uids(change_.endpoints, change_.removed_endpoints, "endpoint"));
  QMASQ_TRY(check_uids(change_.groups, change_.removed_groups, "security group"));
  QMASQ_TRY(check_uids(change_.policies, change_.removed_policies, "QoS policy"));
  return check_uids(change_.hosts, change_.removed_hosts, "host");
}

Status BatchCollector::link(const HeldState& held) {
  HeldState after;
  if (!change_.snapshot) {
    after.vpcs = held.vpcs;
    after.hosts = held.hosts;
  }
  Change outline;  // VPCs and hosts
  outline.vpcs = change_.vpcs;
  outline.hosts = change_.hosts;
  outline.removed_vpcs = change_.removed_vpcs;
  outline.removed_hosts = change_.removed_hosts;
  after.apply(outline);

  std::unordered_map<Vni, VpcUid> vnis;
  for (const auto& [uid, vpc] : after.vpcs) {
    auto [other, fresh] = vnis.try_emplace(vpc.vni, uid);
    if (!fresh) {
      return bad("vpc", vpc.name,
                 fmt::format("VNI {} is that of {} too", vpc.vni.value,
                             after.vpcs.at(other->second).name));
    }
  }
  std::vector<const std::string*> names(host_numbers_.size());
  for (const auto& [name, number] : host_numbers_)
    names[number] = &name;
  std::vector<HostUid> uids(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    auto known = after.hosts.find(*names[i]);
    if (known != after.hosts.end()) uids[i] = known->second;
  }
  for (std::size_t i = 0; i < change_.endpoints.size(); ++i) {
    EndpointView& endpoint = change_.endpoints[i];
    auto vpc = after.vpcs.find(endpoint.vpc);
    if (vpc == after.vpcs.end()) {
      return bad("endpoint", endpoint.name,
                 fmt::format("is in a VPC that is not known here (uid {})", endpoint.vpc.value));
    }
    if (endpoint.name.rfind(vpc->second.name + "/", 0) != 0) {
      return bad(
          "endpoint", endpoint.name,
          fmt::format("says that it is in {} (uid {})", vpc->second.name, endpoint.vpc.value));
    }
    endpoint.host = uids[endpoint_hosts_[i]];
    if (endpoint.host.value == 0) {
      return bad("endpoint", endpoint.name,
                 fmt::format("is on {}, which is not known here", *names[endpoint_hosts_[i]]));
    }
  }
  QMASQ_TRY(link_groups(held, after));
  return link_policies(held);
}

Status BatchCollector::link_policies(const HeldState& held) const {
  std::unordered_map<QosPolicyUid, std::string> after;
  if (!change_.snapshot) after = held.policies;
  for (QosPolicyUid uid : change_.removed_policies)
    after.erase(uid);
  for (const qos::Policy& policy : change_.policies)
    after[policy.uid] = policy.id;

  if (!change_.policies.empty()) {
    std::unordered_map<std::string_view, QosPolicyUid> ids;
    ids.reserve(after.size());
    for (const auto& [uid, id] : after) {
      auto [other, fresh] = ids.try_emplace(id, uid);
      if (fresh) continue;
      return bad("QoS policy", qos_policy_name(id),
                 fmt::format("has uid {} and uid {}", std::min(uid.value, other->second.value),
                             std::max(uid.value, other->second.value)));
    }
  }
  auto check = [&](std::string_view what, const std::string& name, QosPolicyUid uid) -> Status {
    if (uid.value == 0 || after.contains(uid)) return {};
    return bad(what, name,
               fmt::format("has QoS policy uid {}, which is not known here", uid.value));
  };
  for (const VpcView& vpc : change_.vpcs)
    QMASQ_TRY(check("vpc", vpc.name, vpc.qos_policy));
  for (const EndpointView& endpoint : change_.endpoints)
    QMASQ_TRY(check("endpoint", endpoint.name, endpoint.qos_policy));
  return {};
}

Status BatchCollector::link_groups(const HeldState& held, const HeldState& after) const {
  // There may be many that this batch does not speak of: they are not copied.
  std::unordered_map<SecurityGroupUid, VpcUid> given;
  given.reserve(change_.groups.size());
  for (const auto& group : change_.groups)
    given.emplace(group.uid, group.vpc);
  std::unordered_set<SecurityGroupUid> removed(change_.removed_groups.begin(),
                                               change_.removed_groups.end());
  std::unordered_set<VpcUid> removed_vpcs(change_.removed_vpcs.begin(), change_.removed_vpcs.end());
  auto is_in = [&](SecurityGroupUid uid, VpcUid vpc) {
    if (auto now = given.find(uid); now != given.end()) return now->second == vpc;
    if (change_.snapshot || removed.contains(uid) || removed_vpcs.contains(vpc)) return false;
    auto before = held.groups.find(uid);
    return before != held.groups.end() && before->second == vpc;
  };

  for (const auto& group : change_.groups) {
    auto wrong = [&](std::string_view problem) {
      return bad("security group", group.name, problem);
    };
    auto vpc = after.vpcs.find(group.vpc);
    if (vpc == after.vpcs.end()) {
      return wrong(fmt::format("is in a VPC that is not known here (uid {})", group.vpc.value));
    }
    if (group.name.rfind(vpc->second.name + "/", 0) != 0) {
      return wrong(
          fmt::format("says that it is in {} (uid {})", vpc->second.name, group.vpc.value));
    }
    for (const auto& rule : group.rules) {
      if (rule.remote.kind != conntrack::Remote::Kind::kGroup) continue;
      if (is_in(rule.remote.group, group.vpc)) continue;
      return wrong(fmt::format("rule '{}': security group {} (uid {}) is not known in this VPC",
                               rule.id, rule.remote.group_id, rule.remote.group.value));
    }
  }
  for (const EndpointView& endpoint : change_.endpoints) {
    for (SecurityGroupUid uid : endpoint.groups) {
      if (is_in(uid, endpoint.vpc)) continue;
      return bad(
          "endpoint", endpoint.name,
          fmt::format("carries security group uid {}, which is not known in its VPC", uid.value));
    }
  }
  return {};
}

Result<Change> BatchCollector::finish(const HeldState& held) {
  Status status = std::move(verdict_);
  if (status && !change_.snapshot && !held.stale && change_.revision < held.revision) {
    status = fail(Code::kInvalidArgument, fmt::format("revision {} is older than {}, which is held",
                                                      change_.revision.value, held.revision.value));
  }
  if (status) status = check_unique();
  if (status) status = link(held);
  Change change = std::move(change_);
  reset();
  if (!status) return tl::unexpected(std::move(status).error());
  return change;
}

}  // namespace qmasq::vbond
