// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "conntrack/verdict.h"
#include "qmasq/v1/trace.pb.h"

// What the evaluator says, as a message: controller and agents put it into the same words.
namespace qmasq {

// How one end of a traced connection is called and what it carries.
struct TracedEnd {
  std::string endpoint;  // "vpcs/blue/endpoints/a"
  conntrack::Party party;
};

// With all rules that match, for people. `first` is who asks.
[[nodiscard]] v1::ConnectionVerdict explain_verdict(const TracedEnd& first, const TracedEnd& second,
                                                    conntrack::Transport transport);

// TRANSPORT_ANY stands for RC.
[[nodiscard]] conntrack::Transport transport_of(v1::SecurityGroupRule::Transport transport);

}  // namespace qmasq
