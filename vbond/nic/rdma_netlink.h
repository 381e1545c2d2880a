// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "common/result.h"

namespace qmasq::vbond {

// enum rdma_driver_id of the RDMA device with this index, asked over RDMA netlink
// (RDMA_NLDEV_CMD_GET_CHARDEV). One socket for each call; at most a second.
[[nodiscard]] Result<std::uint32_t> rdma_driver_id(int device_index);

}  // namespace qmasq::vbond
