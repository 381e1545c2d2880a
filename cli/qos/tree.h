// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/shell.h"
#include "qmasq/v1/qos.pb.h"

// The answer of ShowQos and GetQos, for people.
namespace qmasq::cli {

// Each host: its NICs as trees of limits, then quotas and rates of verbs. A host that did not
// answer is a line with the reason.
void print_qos(const Shell& shell, const v1::ShowQosResponse& answer);

// Takes away what is not of `vpc` ("vpcs/blue") from an answer of a whole host. NICs stay.
void keep_vpc(const std::string& vpc, v1::HostQos& host);

}  // namespace qmasq::cli
