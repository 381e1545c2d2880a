// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "vbond/nic/nic.h"

// What the numbers of the verbs interface mean. Pure.
namespace qmasq::vbond {

// enum ibv_mtu (1..5) to bytes; 0 for what it does not name.
[[nodiscard]] std::uint32_t mtu_bytes(int verbs_mtu);

// ibv_port_attr active_speed and active_width to bits per second; 0 for what they do not name.
[[nodiscard]] std::uint64_t rate_bits_per_second(unsigned speed, unsigned width);

// enum rdma_driver_id to the driver's name; empty for unknown.
[[nodiscard]] std::string_view driver_name(std::uint32_t driver_id);

// The RoCE v2 entry of this address.
[[nodiscard]] std::optional<PhysicalGid> primary_gid(const std::vector<PhysicalGid>& gids,
                                                     const IpAddress& underlay);

}  // namespace qmasq::vbond
