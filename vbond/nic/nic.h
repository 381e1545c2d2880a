// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/net_types.h"

// An RDMA device of this host, as its driver describes it. Values; any thread.
namespace qmasq::vbond {

enum class GidType { kIbRoceV1, kRoceV2 };

struct PhysicalGid {
  std::uint32_t index = 0;
  Gid gid;
  GidType type = GidType::kIbRoceV1;
  bool operator==(const PhysicalGid&) const = default;
};

// The entry of a VPC in the GID table (vpc_gid.h).
struct VpcGid {
  Vni vni;
  std::uint32_t index = 0;
  bool operator==(const VpcGid&) const = default;
};

struct Nic {
  std::string device;             // "rxe0"
  std::uint32_t port = 1;         // one port each for now
  std::string netdev;             // Ethernet interface below, or empty
  std::string driver;             // "rxe", "mlx5"; empty when the kernel does not say
  bool active = false;            // port state ACTIVE
  std::uint32_t active_mtu = 0;   // RDMA MTU, bytes
  std::uint64_t rate_bps = 0;     // as the driver says it
  std::vector<PhysicalGid> gids;  // by index, without those of VPCs
  // RoCE v2 GID of the underlay address, with its index. None: this NIC cannot carry our traffic.
  std::optional<PhysicalGid> primary;
  // Where VPCs have GIDs of their own: their prefix, and those that are there, by VNI. None: what
  // is sent goes from the primary one.
  std::optional<Gid> vpc_prefix;
  std::vector<VpcGid> vpc_gids;
  bool operator==(const Nic&) const = default;
};

}  // namespace qmasq::vbond
