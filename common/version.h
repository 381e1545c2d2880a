// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace qmasq {

// Version of this build ("0.1.0"); all programs of one build have the same. Any thread.
[[nodiscard]] std::string_view version();

}  // namespace qmasq
