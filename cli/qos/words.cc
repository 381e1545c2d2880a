// SPDX-License-Identifier: Apache-2.0
#include "cli/qos/words.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

#include "cli/table.h"
#include "common/rate.h"
#include "common/resource_name.h"

namespace qmasq::cli {
namespace {

struct Word {
  std::string_view typed;
  std::string_view field;
};

constexpr std::array kQuotaWords = {
    Word{"qps", "queue_pairs"}, Word{"cqs", "completion_queues"}, Word{"mrs", "memory_regions"},
    Word{"srqs", "shared_receive_queues"}, Word{"pinned", "pinned_bytes"}};
constexpr std::array kVerbWords = {Word{"contexts", "contexts"}, Word{"qps", "queue_pairs"},
                                   Word{"connects", "connects"}, Word{"verbs", "verbs"}};

struct Dscp {
  std::string_view name;
  std::uint32_t value;
};
// The IANA registry "DSCP pool 1".
constexpr std::array kDscps = {
    Dscp{"cs0", 0},   Dscp{"cs1", 8},   Dscp{"cs2", 16},  Dscp{"cs3", 24},  Dscp{"cs4", 32},
    Dscp{"cs5", 40},  Dscp{"cs6", 48},  Dscp{"cs7", 56},  Dscp{"af11", 10}, Dscp{"af12", 12},
    Dscp{"af13", 14}, Dscp{"af21", 18}, Dscp{"af22", 20}, Dscp{"af23", 22}, Dscp{"af31", 26},
    Dscp{"af32", 28}, Dscp{"af33", 30}, Dscp{"af41", 34}, Dscp{"af42", 36}, Dscp{"af43", 38},
    Dscp{"ef", 46},   Dscp{"va", 44},   Dscp{"le", 1}};
constexpr std::uint32_t kMaxDscp = 63;

// Quotes at most a line of what was typed.
std::string quoted(std::string_view text) {
  constexpr std::size_t kMost = 60;
  return fmt::format("'{}'", text.substr(0, kMost));
}

template <std::size_t N>
Outcome<std::string> field_of(const std::array<Word, N>& words, std::string_view word,
                              std::string_view what) {
  std::vector<std::string> known;
  for (const Word& one : words) {
    if (word == one.typed || word == one.field) return std::string(one.field);
    known.emplace_back(one.typed);
  }
  return failed(kExitUsage, fmt::format("{} is no {}: {}", quoted(word), what, join(known)));
}

template <std::size_t N>
std::string word_of(const std::array<Word, N>& words, std::string_view field) {
  for (const Word& one : words) {
    if (field == one.field) return std::string(one.typed);
  }
  return std::string(field);
}

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const char* end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || at != end) return {};
  return value;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

// `value` with three digits and the unit that suits: "1.23 k", "19.8 M".
std::string three_digits(double value) {
  constexpr std::array<std::string_view, 6> kUnits = {"", "k", "M", "G", "T", "P"};
  constexpr double kStep = 1000;
  std::size_t unit = 0;
  // 999.5 would print as 1000.
  while (value >= kStep - 0.5 && unit + 1 < kUnits.size()) {
    value /= kStep;
    ++unit;
  }
  if (unit == 0) return fmt::format("{:.0f} ", value);
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f} {}", value, decimals, kUnits[unit]);
}

}  // namespace

Outcome<std::string> quota_field(std::string_view word) {
  return field_of(kQuotaWords, word, "resource with a quota");
}

std::string quota_word(std::string_view field) {
  return word_of(kQuotaWords, field);
}

Outcome<std::string> verb_field(std::string_view word) {
  return field_of(kVerbWords, word, "verb with a rate");
}

std::string verb_word(std::string_view field) {
  return word_of(kVerbWords, field);
}

Outcome<std::uint32_t> parse_dscp(std::string_view text) {
  if (auto value = number(text); value && *value <= kMaxDscp) return *value;
  const std::string name = lower(text);
  for (const Dscp& known : kDscps) {
    if (name == known.name) return known.value;
  }
  return failed(
      kExitUsage,
      fmt::format("{} is no DSCP: 0 to 63, ef, cs0 to cs7, af11 to af43, va or le", quoted(text)));
}

std::string dscp_text(std::uint32_t dscp) {
  for (const Dscp& known : kDscps) {
    if (dscp == known.value) return fmt::format("{} ({})", dscp, known.name);
  }
  return std::to_string(dscp);
}

Outcome<v1::QosVerbRate> parse_verb_rate(std::string_view text) {
  auto wrong = [&] {
    return failed(kExitUsage,
                  fmt::format("{} is no rate of verbs: say 50, 50/s or 50/s,burst=100; whole "
                              "numbers from 1 to 1000000",
                              quoted(text)));
  };
  constexpr std::string_view kBurst = "burst=";
  constexpr std::string_view kPerSecond = "/s";
  constexpr std::uint32_t kMost = 1'000'000;
  const std::size_t comma = std::min(text.find(','), text.size());
  std::string_view rate = text.substr(0, comma);
  if (rate.ends_with(kPerSecond)) rate.remove_suffix(kPerSecond.size());
  const auto per_second = number(rate);
  if (!per_second || *per_second == 0 || *per_second > kMost) return wrong();
  v1::QosVerbRate out;
  out.set_per_second(*per_second);
  if (comma == text.size()) return out;
  std::string_view rest = text.substr(comma + 1);
  if (!rest.starts_with(kBurst)) return wrong();
  const auto burst = number(rest.substr(kBurst.size()));
  if (!burst || *burst == 0 || *burst > kMost) return wrong();
  out.set_burst(*burst);
  return out;
}

std::string verb_rate_text(std::uint32_t per_second, std::uint32_t burst) {
  if (per_second == 0) return "";
  if (burst == 0 || burst == per_second) return fmt::format("{}/s", per_second);
  return fmt::format("{}/s,burst={}", per_second, burst);
}

std::string rate_text(std::uint64_t bits_per_second) {
  return to_string(BitsPerSecond{bits_per_second});
}

std::string quota_text(std::string_view field, std::uint64_t value) {
  return field == "pinned_bytes" ? size_to_string(value) : std::to_string(value);
}

std::string quotas_text(const v1::QosQuotas& quotas, std::string_view separator) {
  std::vector<std::string> out;
  auto add = [&](std::string_view field, bool set, std::uint64_t value) {
    if (set) out.push_back(quota_word(field) + "=" + quota_text(field, value));
  };
  add("queue_pairs", quotas.has_queue_pairs(), quotas.queue_pairs());
  add("completion_queues", quotas.has_completion_queues(), quotas.completion_queues());
  add("memory_regions", quotas.has_memory_regions(), quotas.memory_regions());
  add("shared_receive_queues", quotas.has_shared_receive_queues(), quotas.shared_receive_queues());
  add("pinned_bytes", quotas.has_pinned_bytes(), quotas.pinned_bytes());
  return join(out, separator);
}

std::string verb_rates_text(const v1::QosVerbRates& rates, std::string_view separator) {
  std::vector<std::string> out;
  auto add = [&](std::string_view field, bool set, const v1::QosVerbRate& rate) {
    if (set)
      out.push_back(verb_word(field) + "=" + verb_rate_text(rate.per_second(), rate.burst()));
  };
  add("contexts", rates.has_contexts(), rates.contexts());
  add("queue_pairs", rates.has_queue_pairs(), rates.queue_pairs());
  add("connects", rates.has_connects(), rates.connects());
  add("verbs", rates.has_verbs(), rates.verbs());
  return join(out, separator);
}

std::string observed_rate(double bits_per_second) {
  return three_digits(bits_per_second) + "bit/s";
}

std::string observed_bytes(std::uint64_t bytes) {
  return three_digits(static_cast<double>(bytes)) + "B";
}

Outcome<std::string> policy_or_none(std::string_view option, std::string_view text) {
  if (text == kNone) return std::string();
  auto id = parse_qos_policy_reference(text);
  if (!id) return failed(kExitUsage, fmt::format("{}: {}", option, id.error().message));
  return qos_policy_name(*id);
}

}  // namespace qmasq::cli
