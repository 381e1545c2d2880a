// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string_view>

#include "common/result.h"

namespace qmasq::cli {

// "30s", "500ms", "2m", "1h", "1m30s"; a plain number counts seconds. At most 24 hours.
[[nodiscard]] Result<std::chrono::milliseconds> parse_duration(std::string_view text);
// As above, with days ("90d"), whole seconds, and at most 10 years: how long something is valid.
[[nodiscard]] Result<std::chrono::seconds> parse_lifetime(std::string_view text);

}  // namespace qmasq::cli
