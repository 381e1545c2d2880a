// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string_view>

namespace qmasq::vbond {

// Whether a process may be a tenant's program, one under `qmasq run`. True as well when it is gone,
// or cannot be looked at.
//
// What a tenant cannot shed: no_new_privs, a seccomp filter, and a network namespace that is not
// the host's (to enter that takes capabilities over it). A sandboxed program with a network
// namespace of its own looks the same and is taken for one. A process of this agent's network
// namespace is never one. REQUIRES: the agent is in the host's.
[[nodiscard]] bool may_be_tenant(pid_t pid);

// Of /proc/PID/status (proc(5)): no_new_privs and Seccomp mode 2. False as well for what does not
// say; `found` then stays false.
struct SandboxMarks {
  bool found = false;
  bool no_new_privs = false;
  bool filtered = false;
};
[[nodiscard]] SandboxMarks parse_status(std::string_view text);

}  // namespace qmasq::vbond
