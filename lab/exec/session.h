// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "common/unique_fd.h"

namespace qmasq::lab {

// Serves one connection: reads the start request, runs the command in a session and process group
// of its own, and carries bytes both ways until it ends. When the client goes away, the process
// group is told to end and, two seconds later, killed. Runs in a process of its own, which must
// leave SIGCHLD and SIGPIPE as it wants them; returns that process's exit code.
int serve_session(UniqueFd connection, const std::string& token);

}  // namespace qmasq::lab
