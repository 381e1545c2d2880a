// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "common/net_types.h"
#include "common/result.h"
#include "qos/policy.h"

namespace qmasq::v1 {
class QosPolicy;
}

// QoS policies out of messages. Strict, for the same reason as with security groups: what is not
// understood to the last field could be a limit. Errors are kInvalidArgument and name the policy
// and the field. Bounds: schema/proto/qmasq/v1/qos.proto. Pure, any thread.
namespace qmasq::vbond {

[[nodiscard]] Result<qos::Policy> policy_from(const v1::QosPolicy& message);

// A reference by name and uid, as VPCs and endpoints carry it; 0: none. Whether there is such a
// policy is the caller's to find out. The error names no object.
[[nodiscard]] Result<QosPolicyUid> policy_reference(const std::string& name, std::uint64_t uid);

}  // namespace qmasq::vbond
