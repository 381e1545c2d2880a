// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <ostream>
#include <string>

namespace qmasq::cli {

// Where a command writes and what surrounds it; tests pass string streams. Not owned.
struct Console {
  std::ostream& out;
  std::ostream& err;
  bool colour = false;  // `out` is a terminal and NO_COLOR is not set
  // Value of an environment variable, or empty.
  std::function<std::string(const std::string&)> env;
};

}  // namespace qmasq::cli
