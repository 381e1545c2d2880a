// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "qmasq/v1/agent.pb.h"
#include "vbond/access/local_access.h"

// What is taken out of answers for users of endpoints: what is not theirs, and the physical side of
// what is. Pure.
namespace qmasq::vbond {

void restrict(const LocalAccess::Sight& sight, v1::Agent& agent);
void restrict(const LocalAccess::Sight& sight, v1::HostQos& qos);
void restrict(v1::Connection& connection);
void restrict(v1::Event& event);

}  // namespace qmasq::vbond
