// SPDX-License-Identifier: Apache-2.0
#include "vbond/uverbs/device.h"

#include <linux/types.h>
#include <rdma/ib_user_ioctl_verbs.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/mlx5-abi.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "vbond/uverbs/request.h"

namespace qmasq::vbond::uverbs {

std::array<std::byte, kGidEntrySize> encode_gid_entry(const GidEntry& entry) {
  ib_uverbs_gid_entry abi{};
  std::memcpy(abi.gid, entry.gid.raw.data(), sizeof(abi.gid));
  abi.gid_index = entry.gid_index;
  abi.port_num = entry.port_num;
  abi.gid_type = static_cast<std::uint32_t>(entry.type);
  abi.netdev_ifindex = entry.ifindex;
  std::array<std::byte, kGidEntrySize> out;
  static_assert(sizeof(abi) == sizeof(out));
  std::memcpy(out.data(), &abi, sizeof(abi));
  return out;
}

ErrnoOr<GidEntry> decode_gid_entry(std::span<const std::byte> bytes) {
  ib_uverbs_gid_entry abi{};
  if (!read_response(bytes, abi)) return tl::unexpected(EINVAL);
  GidEntry out;
  std::memcpy(out.gid.raw.data(), abi.gid, sizeof(abi.gid));
  out.gid_index = abi.gid_index;
  out.port_num = abi.port_num;
  out.type = static_cast<GidType>(abi.gid_type);
  out.ifindex = abi.netdev_ifindex;
  return out;
}

ErrnoOr<std::size_t> encode_gid_table(std::span<const GidEntry> entries, std::uint64_t entry_size,
                                      std::span<std::byte> out) {
  // An attribute is shorter than 64 KiB, so a size above that has no room either.
  if (entry_size == 0 || entry_size > out.size()) return tl::unexpected(EINVAL);
  if (entries.size() > out.size() / entry_size) return tl::unexpected(EINVAL);
  std::size_t used = 0;
  for (const GidEntry& entry : entries) {
    const auto bytes = encode_gid_entry(entry);
    const auto copied = static_cast<std::size_t>(std::min<std::uint64_t>(entry_size, bytes.size()));
    std::memcpy(out.data() + used, bytes.data(), copied);
    std::memset(out.data() + used + copied, 0, entry_size - copied);
    used += entry_size;
  }
  return used;
}

ErrnoOr<std::uint8_t> decode_query_port(std::span<const std::byte> core_in) {
  ib_uverbs_query_port abi{};
  if (const int err = read_request(core_in, kQueryPortSize, abi); err != 0) {
    return tl::unexpected(err);
  }
  return abi.port_num;
}

ErrnoOr<QueryPortResp> decode_query_port_resp(std::span<const std::byte> resp) {
  ib_uverbs_query_port_resp abi{};
  if (!read_response(resp, abi)) return tl::unexpected(EINVAL);
  QueryPortResp out;
  out.gid_tbl_len = abi.gid_tbl_len;
  out.pkey_tbl_len = abi.pkey_tbl_len;
  out.lid = abi.lid;
  out.sm_lid = abi.sm_lid;
  out.state = abi.state;
  out.max_mtu = abi.max_mtu;
  out.active_mtu = abi.active_mtu;
  out.link_layer = abi.link_layer;
  return out;
}

bool set_gid_table_length(std::span<std::byte> resp, std::uint32_t length) {
  if (resp.size() < kQueryPortRespSize) return false;
  std::memcpy(resp.data() + offsetof(ib_uverbs_query_port_resp, gid_tbl_len), &length,
              sizeof(length));
  return true;
}

ErrnoOr<QueryDeviceResp> decode_query_device_resp(std::span<const std::byte> resp) {
  ib_uverbs_query_device_resp abi{};
  if (!read_response(resp, abi)) return tl::unexpected(EINVAL);
  QueryDeviceResp out;
  std::memcpy(out.node_guid.data(), &abi.node_guid, sizeof(abi.node_guid));
  std::memcpy(out.sys_image_guid.data(), &abi.sys_image_guid, sizeof(abi.sys_image_guid));
  out.device_cap_flags = abi.device_cap_flags;
  out.max_qp = abi.max_qp;
  out.phys_port_cnt = abi.phys_port_cnt;
  return out;
}

bool set_device_guids(std::span<std::byte> resp, const Guid& node_guid,
                      const Guid& sys_image_guid) {
  if (resp.size() < kQueryDeviceRespSize) return false;
  std::memcpy(resp.data() + offsetof(ib_uverbs_query_device_resp, node_guid), node_guid.data(),
              node_guid.size());
  std::memcpy(resp.data() + offsetof(ib_uverbs_query_device_resp, sys_image_guid),
              sys_image_guid.data(), sys_image_guid.size());
  return true;
}

bool clear_device_caps(std::span<std::byte> resp, std::uint64_t bits) {
  if (resp.size() < kQueryDeviceRespSize) return false;
  std::uint32_t flags = 0;
  std::byte* at = resp.data() + offsetof(ib_uverbs_query_device_resp, device_cap_flags);
  std::memcpy(&flags, at, sizeof(flags));
  flags &= ~static_cast<std::uint32_t>(bits);
  std::memcpy(at, &flags, sizeof(flags));
  constexpr std::size_t kExAt = offsetof(ib_uverbs_ex_query_device_resp, device_cap_flags_ex);
  std::uint64_t flags_ex = 0;
  if (resp.size() < kExAt + sizeof(flags_ex)) return true;
  at = resp.data() + kExAt;
  std::memcpy(&flags_ex, at, sizeof(flags_ex));
  flags_ex &= ~bits;
  std::memcpy(at, &flags_ex, sizeof(flags_ex));
  return true;
}

namespace {

// mlx5: DEVX lets the user send firmware commands, QP transitions among them. Only the second
// version of the request has flags.
constexpr std::size_t kMlx5FlagsAt = offsetof(mlx5_ib_alloc_ucontext_req_v2, flags);

std::uint32_t mlx5_flags(DriverId driver, std::span<const std::byte> uhw_in) {
  std::uint32_t flags = 0;
  if (driver == DriverId::kMlx5 && uhw_in.size() > kMlx5FlagsAt) {
    std::memcpy(&flags, uhw_in.data() + kMlx5FlagsAt,
                std::min(sizeof(flags), uhw_in.size() - kMlx5FlagsAt));
  }
  return flags;
}

}  // namespace

bool asks_back_door(DriverId driver, std::span<const std::byte> uhw_in) {
  return (mlx5_flags(driver, uhw_in) & MLX5_IB_ALLOC_UCTX_DEVX) != 0;
}

void clear_back_doors(DriverId driver, std::span<std::byte> uhw_in) {
  const std::uint32_t flags = mlx5_flags(driver, uhw_in);
  if ((flags & MLX5_IB_ALLOC_UCTX_DEVX) == 0) return;
  const std::uint32_t cleared = flags & ~std::uint32_t{MLX5_IB_ALLOC_UCTX_DEVX};
  std::memcpy(uhw_in.data() + kMlx5FlagsAt, &cleared,
              std::min(sizeof(cleared), uhw_in.size() - kMlx5FlagsAt));
}

}  // namespace qmasq::vbond::uverbs
