// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "common/net_types.h"
#include "common/result.h"
#include "vbond/nic/nic.h"

// Physical GIDs of VPCs: on each NIC every VPC of this host has an IPv6 address of its own, so that
// a queue pair takes packets of its own VPC alone, whatever queue pair number a packet names (RoCE
// v2 tells hosts apart, not tenants: docs/security.md, "Numbers are no secret"). Pure.
//
//   bytes 0..11  prefix of the NIC, unlike any other host's
//   byte  12     0
//   bytes 13..15 VNI
//
// Both ends work the other's out from the prefix that its host reports, so nothing is exchanged
// when a VPC comes to a host.
namespace qmasq::vbond {

inline constexpr std::uint8_t kVpcPrefixBits = 96;

[[nodiscard]] Gid vpc_gid(const Gid& prefix, Vni vni);

// A host's own prefix. `given` has 96 bits and is it; or it has 64, the same on all hosts, and the
// IPv4 underlay address follows. kInvalidArgument: another length, no IPv6 prefix of addresses of
// hosts, or 64 bits with an IPv6 underlay.
[[nodiscard]] Status check_vpc_prefix(const IpPrefix& given);
[[nodiscard]] Result<Gid> own_vpc_prefix(const IpPrefix& given, const IpAddress& underlay);

// The prefix is the NIC's from now on: entries of its GID table that belong to VPCs go from `gids`
// to `vpc_gids`. What is not RoCE v2 is nobody's.
void take_vpc_gids(Nic& nic, const Gid& prefix);

// Index of the VPC's entry; none: the table has none (yet).
[[nodiscard]] std::optional<std::uint32_t> vpc_gid_index(const Nic& nic, Vni vni);

}  // namespace qmasq::vbond
