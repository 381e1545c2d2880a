// SPDX-License-Identifier: Apache-2.0
#include "vbond/nic/describe.h"

#include <rdma/ib_user_ioctl_verbs.h>

#include <algorithm>

namespace qmasq::vbond {

std::uint32_t mtu_bytes(int verbs_mtu) {
  return verbs_mtu >= 1 && verbs_mtu <= 5 ? 128U << static_cast<unsigned>(verbs_mtu) : 0;
}

std::uint64_t rate_bits_per_second(unsigned speed, unsigned width) {
  // Megabits per second and lane (InfiniBand spec 14.2.5.6, PortInfo LinkSpeedActive and Ext).
  std::uint64_t lane = 0;
  switch (speed) {
    case 1:
      lane = 2500;
      break;
    case 2:
      lane = 5000;
      break;
    case 4:  // QDR
    case 8:  // FDR10
      lane = 10'000;
      break;
    case 16:
      lane = 14'000;
      break;
    case 32:
      lane = 25'000;
      break;
    case 64:
      lane = 50'000;
      break;
    case 128:
      lane = 100'000;
      break;
    default:
      return 0;
  }
  std::uint64_t lanes = 0;
  switch (width) {
    case 1:
      lanes = 1;
      break;
    case 2:
      lanes = 4;
      break;
    case 4:
      lanes = 8;
      break;
    case 8:
      lanes = 12;
      break;
    case 16:
      lanes = 2;
      break;
    default:
      return 0;
  }
  return lane * lanes * 1'000'000;
}

std::string_view driver_name(std::uint32_t driver_id) {
  switch (driver_id) {
    case RDMA_DRIVER_MLX5:
      return "mlx5";
    case RDMA_DRIVER_MLX4:
      return "mlx4";
    case RDMA_DRIVER_CXGB4:
      return "cxgb4";
    case RDMA_DRIVER_MTHCA:
      return "mthca";
    case RDMA_DRIVER_BNXT_RE:
      return "bnxt_re";
    case RDMA_DRIVER_OCRDMA:
      return "ocrdma";
    case RDMA_DRIVER_IRDMA:
      return "irdma";
    case RDMA_DRIVER_VMW_PVRDMA:
      return "vmw_pvrdma";
    case RDMA_DRIVER_QEDR:
      return "qedr";
    case RDMA_DRIVER_HNS:
      return "hns";
    case RDMA_DRIVER_USNIC:
      return "usnic";
    case RDMA_DRIVER_RXE:
      return "rxe";
    case RDMA_DRIVER_HFI1:
      return "hfi1";
    case RDMA_DRIVER_QIB:
      return "qib";
    case RDMA_DRIVER_EFA:
      return "efa";
    case RDMA_DRIVER_SIW:
      return "siw";
    case RDMA_DRIVER_ERDMA:
      return "erdma";
    default:
      return {};
  }
}

std::optional<PhysicalGid> primary_gid(const std::vector<PhysicalGid>& gids,
                                       const IpAddress& underlay) {
  Gid wanted = Gid::from_ip(underlay);
  auto found = std::find_if(gids.begin(), gids.end(), [&](const PhysicalGid& entry) {
    return entry.type == GidType::kRoceV2 && entry.gid == wanted;
  });
  if (found == gids.end()) return std::nullopt;
  return *found;
}

}  // namespace qmasq::vbond
