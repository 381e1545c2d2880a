// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "qmasq/v1/qos.pb.h"

namespace qmasq::vbond {

class AdmissionControl;

// Fills `quotas` and `verb_rates` of what the agent says of its host.
void report(const AdmissionControl& admission, v1::HostQos& out);

}  // namespace qmasq::vbond
