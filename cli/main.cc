// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "cli/app.h"

int main(int argc, char** argv) {
  // gRPC would log connection attempts on standard error, where only our own words belong.
  ::setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  auto env = [](const std::string& name) {
    const char* value = std::getenv(name.c_str());
    return std::string(value == nullptr ? "" : value);
  };
  bool colour = ::isatty(STDOUT_FILENO) == 1 && env("NO_COLOR").empty() && env("TERM") != "dumb";
  qmasq::cli::Console console{std::cout, std::cerr, colour, env};
  return qmasq::cli::run_cli({argv + 1, argv + argc}, console);
}
