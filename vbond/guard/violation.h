// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "vbond/guard/abi.h"
#include "vbond/guard/guard.h"

namespace qmasq::vbond {

// What the kernel's side reports, in words.
[[nodiscard]] Violation violation_of(const qmasq_guard_event& event);
// Name of the verb behind a key of method_key(), or behind a write command; empty: none in the
// table.
[[nodiscard]] std::string_view verb_of_method(std::uint32_t key);
[[nodiscard]] std::string_view verb_of_command(std::uint32_t command);

}  // namespace qmasq::vbond
