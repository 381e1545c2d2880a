// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "common/net_types.h"
#include "vbond/netlink/types.h"

// Which addresses the interface of a NIC should have for its VPCs, and what to do about the
// difference. Pure.
namespace qmasq::vbond {

struct VpcAddressSite {
  Gid prefix;               // of this host: nic/vpc_gid.h
  std::uint8_t length = 0;  // bits of the on-link range: 64, or 96 where others are routed to
  bool operator==(const VpcAddressSite&) const = default;
};

// `actual`: of the interface. Deletes come first, and only what the agent made in the prefix; none
// unless `sweep`.
[[nodiscard]] std::vector<netlink::Operation> plan_vpc_addresses(
    const VpcAddressSite& site, const std::string& interface, const std::set<Vni>& wanted,
    std::span<const netlink::Address> actual, bool sweep);

}  // namespace qmasq::vbond
