// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <string>

#include "cli/shell.h"
#include "qmasq/v1/qos.pb.h"

// What resources say of their QoS, for people.
namespace qmasq::cli {

// On standard error, for each NIC (or VPC on a host) whose guarantees add up to more than it has:
// which, the two figures, and who may get less than promised.
void warn_of_oversubscription(
    const Shell& shell,
    const google::protobuf::RepeatedPtrField<v1::Oversubscription>& oversubscriptions);

// One cell: "gold", "gold, not enforced", "VPC's, not enforced" where only the VPC has a policy;
// empty where there are no limits. `policy`: full name or empty.
[[nodiscard]] std::string qos_cell(const std::string& policy, const v1::QosStatus& status);

// "enforced", or "NOT enforced" with a line for each limit; "not reported yet" where the host has
// said nothing of a policy. Empty where there are no limits.
[[nodiscard]] std::string qos_status_text(const std::string& policy, bool reported,
                                          const v1::QosStatus& status);

}  // namespace qmasq::cli
