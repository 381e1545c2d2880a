// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "cli/app.h"

namespace qmasq::cli::testing {

struct Ran {
  int code = -1;
  std::string out;
  std::string err;
};

// The command line in this process, with an empty environment.
inline Ran run_line(std::vector<std::string> args) {
  std::ostringstream out;
  std::ostringstream err;
  Console console{out, err, false, [](const std::string&) { return std::string(); }};
  int code = run_cli(std::move(args), console);
  return {code, out.str(), err.str()};
}

}  // namespace qmasq::cli::testing
