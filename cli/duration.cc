// SPDX-License-Identifier: Apache-2.0
#include "cli/duration.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>

namespace qmasq::cli {
namespace {

constexpr std::int64_t kDay = 86'400'000;  // milliseconds

Result<std::chrono::milliseconds> parse(std::string_view text, std::int64_t most,
                                        std::string_view examples) {
  auto wrong = [&] {
    return fail(Code::kInvalidArgument,
                fmt::format("'{}' is not a duration: write it as {}", text, examples));
  };
  const char* at = text.data();
  const char* end = at + text.size();
  if (at == end) return wrong();
  std::int64_t total = 0;
  while (at != end) {
    std::uint32_t number = 0;
    auto [next, error] = std::from_chars(at, end, number);
    if (error != std::errc{}) return wrong();
    at = next;
    std::string_view rest(at, static_cast<std::size_t>(end - at));
    std::int64_t unit = 0;
    std::size_t letters = 1;
    if (rest.empty() && total == 0) {
      unit = 1000;
      letters = 0;
    } else if (rest.substr(0, 2) == "ms") {
      unit = 1;
      letters = 2;
    } else if (rest.substr(0, 1) == "s") {
      unit = 1000;
    } else if (rest.substr(0, 1) == "m") {
      unit = 60'000;
    } else if (rest.substr(0, 1) == "h") {
      unit = 3'600'000;
    } else if (rest.substr(0, 1) == "d") {
      unit = kDay;
    } else {
      return wrong();
    }
    at += letters;
    total += static_cast<std::int64_t>(number) * unit;
    if (total > most) return wrong();
  }
  return std::chrono::milliseconds(total);
}

}  // namespace

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  return parse(text, kDay, "30s, 500ms or 2m, at most 24h");
}

Result<std::chrono::seconds> parse_lifetime(std::string_view text) {
  QMASQ_ASSIGN(auto all, parse(text, 3660 * kDay, "90d, 12h or 30m, at most 10 years"));
  return std::chrono::duration_cast<std::chrono::seconds>(all);
}

}  // namespace qmasq::cli
