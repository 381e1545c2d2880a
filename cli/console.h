// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <ostream>
#include <string>

namespace qmasq::cli {

struct TerminalSize {
  std::size_t rows = 24;
  std::size_t columns = 80;
};

// Where a command writes and what surrounds it; tests pass string streams. Not owned.
struct Console {
  std::ostream& out;
  std::ostream& err;
  bool colour = false;  // `out` is a terminal and NO_COLOR is not set
  // Value of an environment variable, or empty.
  std::function<std::string(const std::string&)> env;
  // Size of the terminal that `out` is, now; empty: it is none. Not set: it is none.
  std::function<std::optional<TerminalSize>()> terminal = {};
};

}  // namespace qmasq::cli
