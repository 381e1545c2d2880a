// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/result.h"
#include "conntrack/types.h"

// Rules in words that a person can type and read. Pure, any thread.
namespace qmasq::conntrack {

// "rc", "uc", "ud", "xrc".
[[nodiscard]] const char* to_string(Transport transport);
// "in", "out".
[[nodiscard]] const char* to_string(Direction direction);
// "allow", "deny".
[[nodiscard]] const char* to_string(Action action);
// "send,read"; "all"; "none".
[[nodiscard]] std::string to_string(Operations operations);
// "any", "10.0.0.0/8", "sg:clients".
[[nodiscard]] std::string to_string(const Remote& remote);
// Without the id: "in allow 100 rc from sg:clients ops send,read log".
[[nodiscard]] std::string to_string(const Rule& rule);

// kInvalidArgument with what was expected. None: "any".
[[nodiscard]] Result<std::optional<Transport>> parse_transport(std::string_view text);
// "all", or a list with commas.
[[nodiscard]] Result<Operations> parse_operations(std::string_view text);

}  // namespace qmasq::conntrack
