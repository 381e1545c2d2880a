// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/intercept_script/oracle.h"

#include <algorithm>
#include <string>
#include <vector>

namespace qmasq::fuzz {

using conntrack::Action;
using conntrack::Direction;
using conntrack::Group;
using conntrack::Operations;
using conntrack::Remote;
using conntrack::Rule;
using conntrack::Transport;
using vbond::Change;
using vbond::EndpointView;

namespace {

struct First {
  std::uint64_t uid;
  VpcUid vpc;
  const char* name;
  std::uint64_t host;
  std::vector<const char*> addresses;
};

const std::vector<First>& first_endpoints() {
  static const std::vector<First> out = {
      {11, Oracle::kBlue, "vpcs/blue/endpoints/a", 1, {"10.0.0.1"}},
      {12, Oracle::kBlue, "vpcs/blue/endpoints/b", 2, {"10.0.0.2"}},
      {13, Oracle::kBlue, "vpcs/blue/endpoints/c", 3, {"10.0.0.3", "10.0.0.4"}},
      {14, Oracle::kBlue, "vpcs/blue/endpoints/d", 1, {"10.0.0.5"}},
      {21, Oracle::kRed, "vpcs/red/endpoints/a", 1, {"10.0.0.1"}},
      {22, Oracle::kRed, "vpcs/red/endpoints/b", 3, {"10.0.0.2"}},
      {23, Oracle::kRed, "vpcs/red/endpoints/c", 2, {"10.0.0.9"}},
  };
  return out;
}

}  // namespace

std::vector<Gid> gids_of(const EndpointView& endpoint) {
  std::vector<Gid> out = {Gid::link_local(endpoint.mac)};
  for (const IpAddress& address : endpoint.addresses)
    out.push_back(Gid::from_ip(address));
  return out;
}

EndpointView Oracle::at_first(EndpointUid id) {
  EndpointView out;
  for (const First& each : first_endpoints()) {
    if (each.uid != id.value) continue;
    out.uid = id;
    out.vpc = each.vpc;
    out.name = each.name;
    out.host = HostUid{each.host};
    out.mac = {{2, 0, 0, 0, static_cast<std::uint8_t>(each.vpc.value),
                static_cast<std::uint8_t>(each.uid)}};
    for (const char* address : each.addresses)
      out.addresses.push_back(parse_ip(address).value());
    out.groups = {SecurityGroupUid{each.vpc.value * 1000 + 1}};
  }
  return out;
}

Oracle::Oracle() {
  for (const First& each : first_endpoints())
    endpoints[each.uid] = at_first(EndpointUid{each.uid});
  for (VpcUid vpc : {kBlue, kRed}) {
    Group group;
    group.vpc = vpc;
    group.uid = SecurityGroupUid{vpc.value * 1000 + 1};
    group.name = std::string(vpc == kBlue ? "vpcs/blue" : "vpcs/red") + "/securityGroups/default";
    Rule rule;
    rule.id = "self-in";
    rule.remote.kind = Remote::Kind::kGroup;
    rule.remote.group = group.uid;
    group.rules = {rule};
    groups[group.uid.value] = group;
  }
}

Change Oracle::snapshot() const {
  Change out;
  out.revision = Revision{revision_ + 1};
  out.snapshot = true;
  out.vpcs.push_back({kBlue, "vpcs/blue", Vni{100}, {}, 0});
  out.vpcs.push_back({kRed, "vpcs/red", Vni{200}, {}, 0});
  for (std::uint64_t host = 1; host <= kHosts; ++host) {
    const Gid gid = physical(HostUid{host});
    out.hosts.push_back(
        {HostUid{host}, "hosts/h" + std::to_string(host), gid.address(), {{"rxe0", gid}}});
  }
  for (const auto& [uid, endpoint] : endpoints)
    out.endpoints.push_back(endpoint);
  for (const auto& [uid, group] : groups)
    out.groups.push_back(group);
  return out;
}

Change Oracle::put(const EndpointView& endpoint) {
  endpoints[endpoint.uid.value] = endpoint;
  Change out;
  out.revision = Revision{++revision_};
  out.endpoints = {endpoint};
  return out;
}

Change Oracle::put(const Group& group) {
  groups[group.uid.value] = group;
  Change out;
  out.revision = Revision{++revision_};
  out.groups = {group};
  return out;
}

Change Oracle::remove(EndpointUid id) {
  endpoints.erase(id.value);
  Change out;
  out.revision = Revision{++revision_};
  out.removed_endpoints = {id};
  return out;
}

Change Oracle::remove(SecurityGroupUid id) {
  groups.erase(id.value);
  Change out;
  out.revision = Revision{++revision_};
  out.removed_groups = {id};
  return out;
}

Gid Oracle::physical(HostUid host) {
  constexpr std::uint32_t kUnderlay = 0xc0a80000;  // 192.168.0.0
  return Gid::from_ip(IpAddress::from_v4(kUnderlay + static_cast<std::uint32_t>(host.value)));
}

const EndpointView* Oracle::find(EndpointUid id) const {
  auto at = endpoints.find(id.value);
  return at == endpoints.end() ? nullptr : &at->second;
}

const EndpointView* Oracle::owner(VpcUid vpc, const Gid& gid) const {
  for (const auto& [uid, endpoint] : endpoints) {
    if (endpoint.vpc != vpc) continue;
    const auto gids = gids_of(endpoint);
    if (std::find(gids.begin(), gids.end(), gid) != gids.end()) return &endpoint;
  }
  return nullptr;
}

Oracle::Side Oracle::side(Direction direction, Transport transport, const EndpointView& own,
                          const EndpointView& peer, const IpAddress& peer_address) const {
  int best = -1;
  bool denied = false;
  Operations operations;
  for (SecurityGroupUid uid : own.groups) {
    auto group = groups.find(uid.value);
    if (group == groups.end()) continue;
    for (const Rule& rule : group->second.rules) {
      if (rule.shadow || rule.direction != direction || !rule.covers(transport)) continue;
      bool matches = rule.remote.kind == Remote::Kind::kAny;
      if (rule.remote.kind == Remote::Kind::kCidr)
        matches = rule.remote.cidr.contains(peer_address);
      if (rule.remote.kind == Remote::Kind::kGroup) {
        matches = std::find(peer.groups.begin(), peer.groups.end(), rule.remote.group) !=
                  peer.groups.end();
      }
      if (!matches || rule.priority < best) continue;
      if (rule.priority > best) {
        best = rule.priority;
        denied = false;
        operations = {};
      }
      if (rule.action == Action::kDeny) {
        denied = true;
      } else {
        operations = operations | rule.operations;
      }
    }
  }
  if (best >= 0) return {!denied, denied ? Operations{} : operations};
  if (direction == Direction::kIngress || transport == Transport::kUd) return {};
  return {true, Operations::all()};
}

std::optional<Oracle::Admitted> Oracle::judge(EndpointUid own_id, const Gid& own_gid,
                                              EndpointUid peer_id, const Gid& peer_gid,
                                              Transport transport) const {
  const EndpointView* own = find(own_id);
  const EndpointView* peer = find(peer_id);
  if (own == nullptr || peer == nullptr || own->vpc != peer->vpc) return std::nullopt;
  if (owner(own->vpc, own_gid) != own || owner(peer->vpc, peer_gid) != peer) return std::nullopt;
  const Side own_out = side(Direction::kEgress, transport, *own, *peer, peer_gid.address());
  const Side own_in = side(Direction::kIngress, transport, *own, *peer, peer_gid.address());
  const Side peer_out = side(Direction::kEgress, transport, *peer, *own, own_gid.address());
  const Side peer_in = side(Direction::kIngress, transport, *peer, *own, own_gid.address());
  const bool we_open = own_out.admits && peer_in.admits;
  const bool they_open = peer_out.admits && own_in.admits;
  if (!we_open && !they_open) return std::nullopt;
  Admitted out;
  if (we_open) out.on_own = out.on_own | own_out.operations;
  if (they_open) out.on_own = out.on_own | own_in.operations;
  return out;
}

bool Oracle::any(EndpointUid own, const Gid& physical_gid, Transport transport) const {
  const EndpointView* us = find(own);
  if (us == nullptr) return false;
  for (const auto& [uid, peer] : endpoints) {
    if (peer.vpc != us->vpc || physical(peer.host) != physical_gid) continue;
    for (const Gid& from : gids_of(*us)) {
      for (const Gid& to : gids_of(peer)) {
        if (judge(own, from, peer.uid, to, transport)) return true;
      }
    }
  }
  return false;
}

bool Oracle::never_datagrams(EndpointUid own) const {
  const EndpointView* us = find(own);
  if (us == nullptr) return true;
  for (SecurityGroupUid uid : us->groups) {
    auto group = groups.find(uid.value);
    if (group == groups.end()) continue;
    for (const Rule& rule : group->second.rules) {
      if (!rule.shadow && rule.action == Action::kAllow && rule.transport == Transport::kUd)
        return false;
    }
  }
  return true;
}

}  // namespace qmasq::fuzz
