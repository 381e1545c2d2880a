// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "qmasq/v1/qos.pb.h"
#include "vbond/qos/nic_limiter.h"

namespace qmasq::vbond {

// One NIC as HostQos has it: nodes in the order of qos.proto. Pure.
[[nodiscard]] v1::NicQos to_proto(const NicState& state, const std::string& netdev);

}  // namespace qmasq::vbond
