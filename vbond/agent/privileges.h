// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

namespace qmasq::vbond {

// What the agent cannot work without (CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_SYS_PTRACE, ...). The error
// names those that are missing and what to do.
[[nodiscard]] Status check_capabilities();

// Takes CAP_NET_RAW out of all sets of this thread, for good. The kernel asks the caller of a verb
// for it (raw packet QPs, privileged Q_Keys), and the agent calls verbs for tenants: a capability
// that it does not have it cannot lend.
//
// REQUIRES: the only thread of the process. Verbs files are bound to the credentials of the thread
// that opens them, by pointer; threads share them as long as none changes its own.
[[nodiscard]] Status drop_net_raw();

}  // namespace qmasq::vbond
