// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/result.h"

// Users and groups as people type them: a number, or a name that this machine knows. Names are
// looked up here, so they fit other machines only where these have the same numbers.
namespace qmasq::cli {

[[nodiscard]] Result<std::uint32_t> parse_user_id(std::string_view text);
[[nodiscard]] Result<std::uint32_t> parse_group_id(std::string_view text);

// "1000 (alice)", or the number alone where this machine has no name for it.
[[nodiscard]] std::string user_text(std::uint32_t id);
[[nodiscard]] std::string group_text(std::uint32_t id);

}  // namespace qmasq::cli
