// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cli/failure.h"

namespace qmasq::cli {

// Path of the program that `name` means, by PATH if it has no slash, as a shell finds it. Failures
// have the exit codes of shells: 127 when there is none, 126 when there is one that cannot be
// executed.
[[nodiscard]] Outcome<std::string> find_program(const std::string& name, const std::string& path);

// Becomes the program. Returns only on failure.
[[nodiscard]] Failure execute(const std::string& program, const std::vector<std::string>& words);

}  // namespace qmasq::cli
