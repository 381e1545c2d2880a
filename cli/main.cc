// SPDX-License-Identifier: Apache-2.0
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <optional>

#include "cli/app.h"
#include "trust/tls.h"

namespace {

std::optional<qmasq::cli::TerminalSize> terminal() {
  if (::isatty(STDOUT_FILENO) != 1) return {};
  winsize size{};
  // A terminal that does not know its size (a serial line) has the usual one.
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) {
    return qmasq::cli::TerminalSize{};
  }
  return qmasq::cli::TerminalSize{size.ws_row, size.ws_col};
}

}  // namespace

int main(int argc, char** argv) {
  // gRPC would log connection attempts on standard error, where only our own words belong.
  ::setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  qmasq::trust::require_tls13();
  auto env = [](const std::string& name) {
    const char* value = std::getenv(name.c_str());
    return std::string(value == nullptr ? "" : value);
  };
  const bool dumb = env("TERM") == "dumb";
  const bool colour = ::isatty(STDOUT_FILENO) == 1 && env("NO_COLOR").empty() && !dumb;
  qmasq::cli::Console console{std::cout, std::cerr, colour, env};
  if (!dumb) console.terminal = terminal;
  return qmasq::cli::run_cli({argv + 1, argv + argc}, console);
}
