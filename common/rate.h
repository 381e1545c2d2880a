// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/result.h"

// Rates and sizes as people write them. Pure, any thread; failures are kInvalidArgument and say
// what was expected.
namespace qmasq {

struct BitsPerSecond {
  std::uint64_t value = 0;
  auto operator<=>(const BitsPerSecond&) const = default;
};

// As tc(8) takes them: "20Mbit", "12.5Gbit", "800kbit", "1Tbit", "1000bit"; decimal units, case
// does not matter, "/s" or "ps" may follow. A number without a unit is refused: bits and bytes are
// told apart by it. At most 10 Tbit. What is not a whole number of bits is refused.
[[nodiscard]] Result<BitsPerSecond> parse_rate(std::string_view text);
// The shortest of these forms that says it exactly: "20Mbit", "12.5Gbit", "1500001bit".
[[nodiscard]] std::string to_string(BitsPerSecond rate);

// "64KiB", "1MiB", "2GiB", "1TiB" (binary), "64kB", "1MB" (decimal), "1500B", or a plain number of
// bytes. At most 1 EiB.
[[nodiscard]] Result<std::uint64_t> parse_size(std::string_view text);
// The shortest form that says it exactly, binary units first: "64KiB", "1500B".
[[nodiscard]] std::string size_to_string(std::uint64_t bytes);

}  // namespace qmasq
