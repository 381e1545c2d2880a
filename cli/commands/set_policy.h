// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/resources.h"
#include "cli/shell.h"

namespace qmasq::cli {

// `qmasq qos attach` and `detach` are updates of a VPC or endpoint.
struct PolicyAttachment {
  std::string target;  // as typed: "blue", "blue/a"
  std::string policy;  // as typed, or "none"
  bool force = false;
  MutationOptions mutation;
};
[[nodiscard]] Outcome<int> set_vpc_policy(const Shell& shell, const PolicyAttachment& what);
[[nodiscard]] Outcome<int> set_endpoint_policy(const Shell& shell, const PolicyAttachment& what);

}  // namespace qmasq::cli
