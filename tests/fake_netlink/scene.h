// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "vbond/state/change.h"

// VPCs, hosts and endpoints for tests, by small numbers.
namespace qmasq::test {

using vbond::EndpointView;
using vbond::HostView;
using vbond::VpcView;

inline Mac mac_of(std::uint64_t uid) {
  return Mac{{0x02, 0x71, static_cast<std::uint8_t>(uid >> 24U),
              static_cast<std::uint8_t>(uid >> 16U), static_cast<std::uint8_t>(uid >> 8U),
              static_cast<std::uint8_t>(uid)}};
}

inline VpcView vpc(std::uint64_t uid, const std::string& id, std::uint32_t vni,
                   std::uint32_t mtu = 0) {
  return {VpcUid{uid}, "vpcs/" + id, Vni{vni}, {*parse_prefix("10.0.0.0/24")}, mtu};
}

inline HostView host(std::uint64_t uid, const std::string& id, const std::string& underlay) {
  return {HostUid{uid}, "hosts/" + id, *parse_ip(underlay), {}};
}

inline EndpointView endpoint(std::uint64_t uid, const VpcView& in, const std::string& id,
                             std::uint64_t host_uid, const std::string& address) {
  return {
      EndpointUid{uid},     in.uid, in.name + "/endpoints/" + id, HostUid{host_uid}, mac_of(uid),
      {*parse_ip(address)}, {}};
}

}  // namespace qmasq::test
