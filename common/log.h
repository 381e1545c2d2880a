// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "common/result.h"

// Log with spdlog's free functions (spdlog::info("...", ...)); this sets up where they go.
namespace qmasq {

// Lines on standard error: time, level, program, text. `level`: trace, debug, info, warn, error.
// Call once from main, before threads start. Fails on an unknown level.
[[nodiscard]] Status start_log(std::string_view program, std::string_view level);

}  // namespace qmasq
