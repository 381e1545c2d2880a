// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "keeper/holdings.h"

namespace qmasq::keeper {

struct Options {
  std::string socket = "/run/qmasq/keeper.sock";
  std::size_t most = kUsualDescriptors;
};

// Options, or a text to print and the exit code.
struct CommandLine {
  std::optional<Options> options;
  std::string text;
  int exit_code = 0;
};
[[nodiscard]] CommandLine parse_command_line(int argc, const char* const* argv);

}  // namespace qmasq::keeper
