// SPDX-License-Identifier: Apache-2.0
#include "common/rate.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>

namespace qmasq {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::uint64_t kMaxRate = 10'000'000'000'000;
constexpr std::uint64_t kMaxSize = std::uint64_t{1} << 60U;
constexpr std::size_t kMaxText = 40;
constexpr std::size_t kMaxDecimals = 12;

// Largest first: the first one that divides is the shortest form.
constexpr std::array<Unit, 5> kRateUnits = {{{"Tbit", 1'000'000'000'000},
                                             {"Gbit", 1'000'000'000},
                                             {"Mbit", 1'000'000},
                                             {"kbit", 1'000},
                                             {"bit", 1}}};
constexpr std::array<Unit, 9> kSizeUnits = {{{"TiB", std::uint64_t{1} << 40U},
                                             {"GiB", std::uint64_t{1} << 30U},
                                             {"MiB", std::uint64_t{1} << 20U},
                                             {"KiB", std::uint64_t{1} << 10U},
                                             {"TB", 1'000'000'000'000},
                                             {"GB", 1'000'000'000},
                                             {"MB", 1'000'000},
                                             {"kB", 1'000},
                                             {"B", 1}}};

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// `number` (digits, maybe a point and more) times `factor`; nothing when it is no such number, is
// no whole number of units of one, or is above `most`.
std::optional<std::uint64_t> scale(std::string_view number, std::uint64_t factor,
                                   std::uint64_t most) {
  const std::size_t point = std::min(number.find('.'), number.size());
  std::string_view whole = number.substr(0, point);
  std::string_view decimals = number.substr(std::min(point + 1, number.size()));
  if (whole.empty() || (point < number.size() && decimals.empty())) return {};
  if (decimals.size() > kMaxDecimals) return {};
  using Wide = unsigned __int128;
  Wide value = 0;
  Wide divisor = 1;
  for (char c : whole) {
    if (!is_digit(c)) return {};
    value = value * 10 + static_cast<unsigned>(c - '0');
    if (value > most) return {};
  }
  for (char c : decimals) {
    if (!is_digit(c)) return {};
    value = value * 10 + static_cast<unsigned>(c - '0');
    divisor *= 10;
  }
  value *= factor;
  if (value % divisor != 0 || value / divisor > most) return {};
  return static_cast<std::uint64_t>(value / divisor);
}

std::size_t number_length(std::string_view text) {
  return static_cast<std::size_t>(
      std::find_if(text.begin(), text.end(), [](char c) { return !is_digit(c) && c != '.'; }) -
      text.begin());
}

tl::unexpected<Error> not_a(std::string_view what, std::string_view text, std::string_view like) {
  std::string shown(text.substr(0, kMaxText));
  std::replace_if(
      shown.begin(), shown.end(), [](unsigned char c) { return c < 0x20 || c > 0x7e; }, '?');
  return fail(Code::kInvalidArgument, fmt::format("'{}' is not a {}: {}", shown, what, like));
}

template <std::size_t N>
std::string shortest(std::uint64_t value, const std::array<Unit, N>& units) {
  std::string best;
  for (const Unit& unit : units) {
    // Up to three decimals, where they say it exactly.
    for (std::uint64_t part : {1ULL, 10ULL, 100ULL, 1000ULL}) {
      if (value < unit.factor || unit.factor % part != 0 || value % (unit.factor / part) != 0) {
        continue;
      }
      std::string text = fmt::format("{}", value / unit.factor);
      if (const std::uint64_t rest = value % unit.factor / (unit.factor / part); rest != 0) {
        text += fmt::format(".{:0{}}", rest, part == 10 ? 1 : part == 100 ? 2 : 3);
      }
      text += unit.name;
      if (best.empty() || text.size() < best.size()) best = std::move(text);
      break;
    }
  }
  return best.empty() ? fmt::format("{}{}", value, units.back().name) : best;
}

}  // namespace

Result<BitsPerSecond> parse_rate(std::string_view text) {
  constexpr std::string_view kLike = "say 20Mbit, 12.5Gbit, 800kbit; at most 10Tbit";
  if (text.size() > kMaxText) return not_a("rate", text, kLike);
  const std::size_t length = number_length(text);
  std::string_view unit = text.substr(length);
  for (std::string_view ending : {"/s", "ps"}) {
    if (unit.size() > ending.size() && same_word(unit.substr(unit.size() - 2), ending)) {
      unit.remove_suffix(2);
      break;
    }
  }
  for (const Unit& known : kRateUnits) {
    if (!same_word(unit, known.name)) continue;
    auto value = scale(text.substr(0, length), known.factor, kMaxRate);
    if (!value) return not_a("rate", text, kLike);
    return BitsPerSecond{*value};
  }
  return not_a("rate", text, kLike);
}

std::string to_string(BitsPerSecond rate) {
  return shortest(rate.value, kRateUnits);
}

Result<std::uint64_t> parse_size(std::string_view text) {
  constexpr std::string_view kLike = "say 64KiB, 1MiB, 2GiB, 1500B or a number of bytes";
  if (text.size() > kMaxText) return not_a("size", text, kLike);
  const std::size_t length = number_length(text);
  std::string_view unit = text.substr(length);
  if (unit.empty()) unit = "B";
  for (const Unit& known : kSizeUnits) {
    if (!same_word(unit, known.name)) continue;
    auto value = scale(text.substr(0, length), known.factor, kMaxSize);
    if (!value) return not_a("size", text, kLike);
    return *value;
  }
  return not_a("size", text, kLike);
}

std::string size_to_string(std::uint64_t bytes) {
  // Binary units unless a decimal one is the only one to say it without decimals.
  for (const Unit& unit : kSizeUnits) {
    if (bytes >= unit.factor && bytes % unit.factor == 0) {
      return fmt::format("{}{}", bytes / unit.factor, unit.name);
    }
  }
  return fmt::format("{}B", bytes);
}

}  // namespace qmasq
