// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/failure.h"
#include "cli/run/user.h"

namespace qmasq::cli {

struct TenantProgram {
  std::string endpoint;            // as it was typed: "blue/a", "a", "vpcs/blue/endpoints/a"
  std::string attach_socket;       // path
  std::optional<User> user;        // as whom; as the caller if not set
  std::vector<std::string> words;  // the program and its arguments
  std::string search_path;         // PATH
};

// Turns this process into the tenant's program: asks the agent for the endpoint, enters its network
// namespace and a mount namespace of its own, gives up capabilities, puts itself under the agent's
// filter and executes. There is no other process in between, so exit code, signals, terminal and
// job control are the program's own.
//
// Returns only if something is in the way, with the exit code that says what kind; the process may
// then be half way in and must end. REQUIRES: no other thread.
[[nodiscard]] Failure become_tenant(const TenantProgram& program);

}  // namespace qmasq::cli
