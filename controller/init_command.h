// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace qmasq::controller {

// `qmasq-controller init`: argv[0] is "init". Gives the exit status.
[[nodiscard]] int init_command(int argc, char** argv);

}  // namespace qmasq::controller
