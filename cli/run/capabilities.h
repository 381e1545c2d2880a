// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "common/result.h"

namespace qmasq::cli {

// What a tenant's program may keep of the capabilities it has: those that act on its own files,
// processes and memory. Everything else goes, whatever later kernels add: what reaches over to
// other programs, to devices, to network configuration, mounts, modules and BPF.
[[nodiscard]] std::span<const int> kept_capabilities();

// The kept ones as a bit mask, limited to `present` (the mask of those held).
[[nodiscard]] std::uint64_t keep_mask(std::uint64_t present);

// Bounding, permitted, effective, inheritable and ambient sets of this thread, cut down for good.
// REQUIRES: CAP_SETPCAP, and to be called from the only thread.
[[nodiscard]] Status drop_capabilities();

// Names of those that `qmasq run` needs and this thread has not in effect; empty: none is missing.
// CAP_SYS_ADMIN enters namespaces and mounts, CAP_SETPCAP gives capabilities up for good, and for a
// program of another user CAP_SETUID and CAP_SETGID.
[[nodiscard]] std::string missing_capabilities(bool other_user);

}  // namespace qmasq::cli
