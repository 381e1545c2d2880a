// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "cli/doctor/finding.h"
#include "vbond/kernel/features.h"

// What the machine itself must offer. Functions of files below `root` ("/" outside of tests) and
// of values; nothing is changed, no module is loaded.
namespace qmasq::cli {

[[nodiscard]] Findings check_features(const vbond::Features& features);

// ib_uverbs, what Soft-RoCE needs, and what the built-in overlay needs. `release`: uname -r.
[[nodiscard]] Findings check_modules(const std::string& root, const std::string& release);

// Whether RDMA devices are seen from every network namespace, as qmasq needs it.
[[nodiscard]] Findings check_rdma_mode(const std::string& root);

// Each RDMA device: port active, and a RoCE v2 GID that other hosts can send to.
[[nodiscard]] Findings check_nics(const std::string& root);

// `effective`: capabilities of this process, as /proc/self/status has them.
[[nodiscard]] Findings check_capabilities(std::uint64_t effective);
[[nodiscard]] std::uint64_t effective_capabilities(const std::string& root);

}  // namespace qmasq::cli
