// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace qmasq::cli {

// Words of a line as a shell makes them, without expansions: apart by white space; '...' keeps all,
// "..." and what is outside take \ before the next character. # begins a comment where a word could
// begin. Empty: a line without words. An error says what is not closed.
[[nodiscard]] Result<std::vector<std::string>> split_words(std::string_view line);

}  // namespace qmasq::cli
