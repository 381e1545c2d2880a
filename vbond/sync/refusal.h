// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "common/result.h"

// How sync words what it refuses. Pure, any thread.
namespace qmasq::vbond {

// Text from outside goes into reasons only so far, and only what can be printed: a reason goes back
// to the controller as UTF-8, and to logs.
inline std::string shown(std::string_view text) {
  constexpr std::size_t kMost = 80;
  std::string out(text.substr(0, kMost));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return out + (text.size() > kMost ? "..." : "");
}

// "vpc vpcs/blue: has no uid"
inline tl::unexpected<Error> bad(std::string_view what, std::string_view name,
                                 std::string_view problem) {
  return fail(Code::kInvalidArgument, fmt::format("{} {}: {}", what, shown(name), problem));
}

}  // namespace qmasq::vbond
