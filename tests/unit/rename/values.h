// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "common/net_types.h"
#include "vbond/nic/nic.h"
#include "vbond/state/change.h"

// Short ways to write down the state that tests begin with.
namespace qmasq::vbond::testing {

inline IpAddress ip(std::string_view text) {
  return parse_ip(text).value();
}
inline Gid gid(std::string_view text) {
  return parse_gid(text).value();
}
inline Mac mac(std::uint64_t uid) {
  return Mac{{0x02, 0, 0, static_cast<std::uint8_t>(uid >> 16U),
              static_cast<std::uint8_t>(uid >> 8U), static_cast<std::uint8_t>(uid)}};
}

inline VpcView vpc(std::uint64_t uid, const std::string& id, std::uint32_t vni) {
  return {VpcUid{uid}, "vpcs/" + id, Vni{vni}, {}, 0};
}

inline SecurityGroupUid default_group(std::uint64_t vpc_uid) {
  return SecurityGroupUid{1000 + vpc_uid};
}

// `name`: "blue/a".
inline EndpointView endpoint(std::uint64_t uid, std::uint64_t vpc_uid, const std::string& name,
                             std::uint64_t host, const std::vector<std::string>& addresses) {
  EndpointView out;
  out.uid = EndpointUid{uid};
  out.vpc = VpcUid{vpc_uid};
  auto slash = name.find('/');
  out.name = "vpcs/" + name.substr(0, slash) + "/endpoints/" + name.substr(slash + 1);
  out.host = HostUid{host};
  out.mac = mac(uid);
  for (const std::string& address : addresses)
    out.addresses.push_back(ip(address));
  out.groups = {default_group(vpc_uid)};
  return out;
}

// Of a VPC: its members admit each other.
inline conntrack::Group group(std::uint64_t vpc_uid, const std::string& vpc_id) {
  conntrack::Group out;
  out.uid = default_group(vpc_uid);
  out.vpc = VpcUid{vpc_uid};
  out.name = "vpcs/" + vpc_id + "/securityGroups/default";
  conntrack::Rule rule;
  rule.id = "self-in";
  rule.priority = 1000;
  rule.remote.kind = conntrack::Remote::Kind::kGroup;
  rule.remote.group = out.uid;
  rule.remote.group_id = "default";
  out.rules = {rule};
  return out;
}

struct HostNic {
  std::string device;
  std::string primary;          // empty: none
  std::string vpc_prefix = "";  // likewise
};

inline HostView host(std::uint64_t uid, const std::string& id, const std::vector<HostNic>& nics) {
  HostView out{HostUid{uid}, "hosts/" + id, {}, {}};
  for (const HostNic& nic : nics)
    out.nics.push_back({nic.device,
                        nic.primary.empty() ? Gid{} : gid(nic.primary),
                        {},
                        false,
                        nic.vpc_prefix.empty() ? Gid{} : gid(nic.vpc_prefix)});
  return out;
}

inline Nic nic(const std::string& device, const std::string& primary, std::uint32_t index) {
  Nic out;
  out.device = device;
  out.driver = "rxe";
  out.active = true;
  out.active_mtu = 1024;
  out.gids = {{0, gid("fe80::5054:ff:fe00:1"), GidType::kRoceV2}};
  if (!primary.empty()) {
    out.primary = PhysicalGid{index, gid(primary), GidType::kRoceV2};
    out.gids.push_back(*out.primary);
  }
  return out;
}

}  // namespace qmasq::vbond::testing
