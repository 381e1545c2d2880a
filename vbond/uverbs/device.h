// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "common/net_types.h"
#include "vbond/uverbs/abi.h"

// Codecs of the device verbs: ports, GID tables, device attributes, context. Responses are long
// and almost all of them passes through, so these patch the fields that masquerade.
namespace qmasq::vbond::uverbs {

// DEVICE / QUERY_GID_ENTRY: the kernel answers EINVAL for a port or index that does not exist, and
// ENODATA for an index whose entry is empty; libibverbs passes both on.
//
// struct ib_uverbs_gid_entry. The array index in a GID table answer means nothing; gid_index does.
inline constexpr std::size_t kGidEntrySize = 32;
struct GidEntry {
  Gid gid;
  std::uint32_t gid_index = 0;
  std::uint32_t port_num = 0;
  GidType type = GidType::kRoceV2;
  std::uint32_t ifindex = 0;  // in the tenant's namespace; 0 none
  friend bool operator==(const GidEntry&, const GidEntry&) = default;
};
[[nodiscard]] std::array<std::byte, kGidEntrySize> encode_gid_entry(const GidEntry& entry);
// EINVAL when shorter than kGidEntrySize.
[[nodiscard]] ErrnoOr<GidEntry> decode_gid_entry(std::span<const std::byte> bytes);

// DEVICE / QUERY_GID_TABLE: entries at distances of `entry_size` (the tenant's own idea of the
// structure), longer ones zero-filled, shorter ones cut off. Returns the bytes used of `out`, the
// rest is untouched. EINVAL: entry_size 0, no room for one entry, or more entries than room (the
// kernel gives that, too).
[[nodiscard]] ErrnoOr<std::size_t> encode_gid_table(std::span<const GidEntry> entries,
                                                    std::uint64_t entry_size,
                                                    std::span<std::byte> out);

// struct ib_uverbs_query_port (write form): which port. ENOSPC when short.
inline constexpr std::size_t kQueryPortSize = 16;
[[nodiscard]] ErrnoOr<std::uint8_t> decode_query_port(std::span<const std::byte> core_in);

// struct ib_uverbs_query_port_resp, also the head of ib_uverbs_query_port_resp_ex: the fields of
// interest in the response bytes of either form.
inline constexpr std::size_t kQueryPortRespSize = 40;
inline constexpr std::size_t kQueryPortRespExSize = 48;
struct QueryPortResp {
  std::uint32_t gid_tbl_len = 0;
  std::uint16_t pkey_tbl_len = 0;
  std::uint16_t lid = 0;
  std::uint16_t sm_lid = 0;
  std::uint8_t state = 0;
  std::uint8_t max_mtu = 0;
  std::uint8_t active_mtu = 0;
  std::uint8_t link_layer = 0;  // 2: Ethernet
  friend bool operator==(const QueryPortResp&, const QueryPortResp&) = default;
};
[[nodiscard]] ErrnoOr<QueryPortResp> decode_query_port_resp(std::span<const std::byte> resp);
[[nodiscard]] bool set_gid_table_length(std::span<std::byte> resp, std::uint32_t length);

// struct ib_uverbs_query_device_resp, also the head of ib_uverbs_ex_query_device_resp. node_guid
// and sys_image_guid are EUI-64 of the NIC's MAC on Ethernet devices.
inline constexpr std::size_t kQueryDeviceRespSize = 176;
using Guid = std::array<std::uint8_t, 8>;  // network order
struct QueryDeviceResp {
  Guid node_guid{};
  Guid sys_image_guid{};
  std::uint32_t device_cap_flags = 0;
  std::uint32_t max_qp = 0;
  std::uint8_t phys_port_cnt = 0;
  friend bool operator==(const QueryDeviceResp&, const QueryDeviceResp&) = default;
};
[[nodiscard]] ErrnoOr<QueryDeviceResp> decode_query_device_resp(std::span<const std::byte> resp);
[[nodiscard]] bool set_device_guids(std::span<std::byte> resp, const Guid& node_guid,
                                    const Guid& sys_image_guid);
// Bits of device_cap_flags (and of device_cap_flags_ex, when the response has it) that go.
[[nodiscard]] bool clear_device_caps(std::span<std::byte> resp, std::uint64_t bits);

// GET_CONTEXT: back doors that a driver opens on request in UHW_IN. True when one was asked for;
// clear_back_doors() takes the request out of the agent's copy. For mlx5 a refusal serves the
// tenant better: libmlx5 asks for DEVX by default, and on any error asks once more without it; a
// request that is granted with DEVX cleared leaves it to find out later.
[[nodiscard]] bool asks_back_door(DriverId driver, std::span<const std::byte> uhw_in);
void clear_back_doors(DriverId driver, std::span<std::byte> uhw_in);

}  // namespace qmasq::vbond::uverbs
