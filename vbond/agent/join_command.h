// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace qmasq::vbond {

// `qmasq-vbond join`: exchanges a token for the certificate of a host. `argv[0]` is "join". Answers
// the exit code.
[[nodiscard]] int run_join(int argc, const char* const* argv);

}  // namespace qmasq::vbond
