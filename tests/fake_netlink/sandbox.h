// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace qmasq::test {

// Moves this process, before it starts threads, into a network and a mount namespace of its own
// with an empty /run. Whatever a test makes there (namespaces, links, mounts) goes when the process
// ends, however it ends. Returns why not, or an empty string.
[[nodiscard]] std::string enter_sandbox();

// main() of a test program in a sandbox: skips everything, loudly, without the rights for it.
int run_tests_in_sandbox(int argc, char** argv);

}  // namespace qmasq::test
