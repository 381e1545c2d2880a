// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include "common/result.h"

namespace qmasq::cli {

// What `qmasq` exits with; docs/cli.md and the help of the program say the same.
enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,       // refused, or something is wrong
  kExitUsage = 2,        // the command line itself
  kExitUnreachable = 3,  // no controller or agent to talk to
  kExitIncomplete = 4,   // --wait: not every host has applied the change
  kExitDenied = 5,       // trace: the connection or the operation is refused
  // `qmasq run`, as container runtimes and shells do it; every other code is the program's own.
  kExitRunFailed = 125,
  kExitRunNotExecutable = 126,
  kExitRunNotFound = 127,
};

// Why a command did not do its work: what main prints after "qmasq: " and exits with.
struct Failure {
  int exit_code = kExitFailed;
  std::string message;
  std::string hint;        // what to do about it, on a line of its own; may be empty
  bool not_found = false;  // the server does not know a name that the request has
};

template <typename T>
using Outcome = tl::expected<T, Failure>;

[[nodiscard]] inline tl::unexpected<Failure> failed(int exit_code, std::string message,
                                                    std::string hint = {}) {
  return tl::unexpected<Failure>(Failure{exit_code, std::move(message), std::move(hint), false});
}

// An error of a library as the failure of a command.
[[nodiscard]] inline tl::unexpected<Failure> failed(const Error& error,
                                                    int exit_code = kExitFailed) {
  return failed(exit_code,
                error.field.empty() ? error.message : error.field + ": " + error.message);
}

}  // namespace qmasq::cli
