// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vbond/agent/options.h"
#include "vbond/qos/qos_manager.h"

namespace qmasq::vbond {

// What limits a NIC of this machine, by its driver and by what the options say of it. auto: tc
// where RDMA packets pass the NIC's interface as UDP, which is Soft-RoCE; nothing elsewhere.
// devlink only where it is asked for, as whose port is whose is nothing the agent can find out.
[[nodiscard]] QosManager::BackendFor real_qos_backends(const AgentOptions& options);

}  // namespace qmasq::vbond
