// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/console.h"
#include "cli/shell.h"

namespace CLI {
class App;
}

namespace qmasq::cli {

// The tree of commands. Commands keep references to `shell`; it must outlive the tree.
[[nodiscard]] std::unique_ptr<CLI::App> build_app(Shell& shell);

// Parses `args` (without the program's own name), does what they say, and answers the exit code.
// Never throws. `run` does not return when the program starts: the process becomes it.
[[nodiscard]] int run_cli(std::vector<std::string> args, Console& console);

}  // namespace qmasq::cli
