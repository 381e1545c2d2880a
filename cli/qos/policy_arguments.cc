// SPDX-License-Identifier: Apache-2.0
#include "cli/qos/policy_arguments.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>

#include <CLI/CLI.hpp>

#include "cli/names.h"
#include "cli/qos/words.h"
#include "cli/table.h"
#include "common/rate.h"

namespace qmasq::cli {
namespace {

constexpr std::uint64_t kMostObjects = std::numeric_limits<std::int32_t>::max();

// A path that is there twice says two things about one field.
Outcome<int> add_path(PolicyChange& change, std::string_view option, std::string_view word,
                      std::string path) {
  if (std::find(change.paths.begin(), change.paths.end(), path) != change.paths.end()) {
    return failed(kExitUsage, fmt::format("{}: {} is there twice", option, word));
  }
  change.paths.push_back(std::move(path));
  return kExitOk;
}

tl::unexpected<Failure> zero(std::string_view option) {
  return failed(
      kExitUsage,
      fmt::format("{}: 0 would let nothing through; 'none' takes the limit away", option));
}

// "--maximum: '20' is not a rate: ...", whatever the parser said.
tl::unexpected<Failure> wrong(std::string_view option, const std::string& message) {
  return failed(kExitUsage, fmt::format("{}: {}", option, message));
}

Outcome<std::uint64_t> rate_of(std::string_view option, const std::string& text) {
  auto rate = parse_rate(text);
  if (!rate) return wrong(option, rate.error().message);
  if (rate->value == 0) return zero(option);
  return rate->value;
}

Outcome<std::uint64_t> size_of(std::string_view option, const std::string& text) {
  auto size = parse_size(text);
  if (!size) return wrong(option, size.error().message);
  if (*size == 0) return zero(option);
  return *size;
}

Outcome<std::uint64_t> count_of(std::string_view option, std::string_view text,
                                std::uint64_t most) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || at != end || value > most) {
    return wrong(option, fmt::format("'{}' is not a whole number from 1 to {}, or none",
                                     text.substr(0, 60), most));
  }
  if (value == 0) return zero(option);
  return value;
}

// One field of a policy that is a figure. `set` takes what `parse` makes of the text.
template <typename Parse, typename Set>
Outcome<int> figure(PolicyChange& change, const std::optional<std::string>& text,
                    std::string_view option, const char* path, Parse parse, Set set) {
  if (!text) return kExitOk;
  QMASQ_TRY(add_path(change, option, option, path));
  if (*text == kNone) return kExitOk;
  QMASQ_ASSIGN(auto value, parse(option, *text));
  set(value);
  return kExitOk;
}

struct Assignment {
  std::string_view word;
  std::string value;
};

Outcome<Assignment> split(std::string_view option, std::string_view text, std::string_view like) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == text.size()) {
    return wrong(option,
                 fmt::format("'{}' is not as expected: say {}, or none", text.substr(0, 60), like));
  }
  return Assignment{text.substr(0, equals), std::string(text.substr(equals + 1))};
}

void set_quota(v1::QosQuotas& quotas, std::string_view field, std::uint64_t value) {
  const auto objects = static_cast<std::uint32_t>(value);
  if (field == "queue_pairs") quotas.set_queue_pairs(objects);
  if (field == "completion_queues") quotas.set_completion_queues(objects);
  if (field == "memory_regions") quotas.set_memory_regions(objects);
  if (field == "shared_receive_queues") quotas.set_shared_receive_queues(objects);
  if (field == "pinned_bytes") quotas.set_pinned_bytes(value);
}

Outcome<int> quota(PolicyChange& change, std::string_view option, const std::string& text) {
  if (text == kNone) return add_path(change, option, text, "quotas");
  QMASQ_ASSIGN(Assignment said, split(option, text, "qps=100 or pinned=1GiB"));
  auto field = quota_field(said.word);
  if (!field) return wrong(option, field.error().message);
  QMASQ_TRY(add_path(change, option, said.word, "quotas." + *field));
  if (said.value == kNone) return kExitOk;
  const std::string where = fmt::format("{} {}", option, said.word);
  QMASQ_ASSIGN(std::uint64_t value, *field == "pinned_bytes"
                                        ? size_of(where, said.value)
                                        : count_of(where, said.value, kMostObjects));
  set_quota(*change.policy.mutable_quotas(), *field, value);
  return kExitOk;
}

Outcome<int> verb_rate(PolicyChange& change, std::string_view option, const std::string& text) {
  if (text == kNone) return add_path(change, option, text, "verb_rates");
  QMASQ_ASSIGN(Assignment said, split(option, text, "qps=50/s or verbs=1000/s,burst=2000"));
  auto field = verb_field(said.word);
  if (!field) return wrong(option, field.error().message);
  QMASQ_TRY(add_path(change, option, said.word, "verb_rates." + *field));
  if (said.value == kNone) return kExitOk;
  auto rate = parse_verb_rate(said.value);
  if (!rate) return wrong(fmt::format("{} {}", option, said.word), rate.error().message);
  v1::QosVerbRates& rates = *change.policy.mutable_verb_rates();
  if (*field == "contexts") *rates.mutable_contexts() = *rate;
  if (*field == "queue_pairs") *rates.mutable_queue_pairs() = *rate;
  if (*field == "connects") *rates.mutable_connects() = *rate;
  if (*field == "verbs") *rates.mutable_verbs() = *rate;
  return kExitOk;
}

// "none" beside others contradicts them.
Outcome<int> check_alone(const PolicyChange& change, std::string_view option,
                         const std::string& whole) {
  const bool all = std::find(change.paths.begin(), change.paths.end(), whole) != change.paths.end();
  const bool some = std::any_of(change.paths.begin(), change.paths.end(),
                                [&](const auto& path) { return path.starts_with(whole + "."); });
  if (!all || !some) return kExitOk;
  return failed(kExitUsage,
                fmt::format("{}: none takes all of them away, so it is said alone", option));
}

// `dashes`: "--" for options, "" for keys of a file.
Outcome<int> add_values(PolicyChange& change, const PolicyArguments& args,
                        const std::string& dashes) {
  v1::QosPolicy& policy = change.policy;
  QMASQ_TRY(figure(change, args.guaranteed, dashes + "guaranteed", "guaranteed_bps", rate_of,
                   [&](std::uint64_t value) { policy.set_guaranteed_bps(value); }));
  QMASQ_TRY(figure(change, args.maximum, dashes + "maximum", "maximum_bps", rate_of,
                   [&](std::uint64_t value) { policy.set_maximum_bps(value); }));
  QMASQ_TRY(figure(change, args.burst, dashes + "burst", "burst_bytes", size_of,
                   [&](std::uint64_t value) { policy.set_burst_bytes(value); }));
  auto weight = [](std::string_view option, const std::string& text) {
    constexpr std::uint64_t kMostWeight = 100;
    return count_of(option, text, kMostWeight);
  };
  QMASQ_TRY(
      figure(change, args.weight, dashes + "weight", "weight", weight,
             [&](std::uint64_t value) { policy.set_weight(static_cast<std::uint32_t>(value)); }));
  auto dscp = [](std::string_view option, const std::string& text) -> Outcome<std::uint32_t> {
    auto value = parse_dscp(text);
    if (!value) return wrong(option, value.error().message);
    return value;
  };
  QMASQ_TRY(figure(change, args.dscp, dashes + "dscp", "dscp", dscp,
                   [&](std::uint32_t value) { policy.set_dscp(value); }));
  for (const std::string& text : args.quotas)
    QMASQ_TRY(quota(change, dashes.empty() ? "quotas" : "--quota", text));
  for (const std::string& text : args.rates)
    QMASQ_TRY(verb_rate(change, dashes.empty() ? "rates" : "--rate", text));
  if (args.description) {
    QMASQ_TRY(add_path(change, dashes + "description", "description", "description"));
    policy.set_description(*args.description);
  }
  return kExitOk;
}

// A scalar as text; null is none.
std::string scalar(const YAML::Node& value) {
  return value.IsNull() ? std::string(kNone) : value.as<std::string>();
}

// A map of quotas or rates as "word=value" each.
std::vector<std::string> assignments(const YAML::Node& value) {
  if (!value.IsMap()) return {scalar(value)};
  std::vector<std::string> out;
  for (const auto& entry : value)
    out.push_back(entry.first.as<std::string>() + "=" + scalar(entry.second));
  return out;
}

Outcome<PolicyArguments> from_entry(const std::string& key, const YAML::Node& value) {
  PolicyArguments out;
  if (key == "guaranteed") {
    out.guaranteed = scalar(value);
  } else if (key == "maximum") {
    out.maximum = scalar(value);
  } else if (key == "burst") {
    out.burst = scalar(value);
  } else if (key == "weight") {
    out.weight = scalar(value);
  } else if (key == "dscp") {
    out.dscp = scalar(value);
  } else if (key == "quotas") {
    out.quotas = assignments(value);
  } else if (key == "rates") {
    out.rates = assignments(value);
  } else if (key == "description") {
    out.description = value.IsNull() ? "" : value.as<std::string>();
  } else {
    return failed(kExitUsage,
                  fmt::format("'{}' is no key of a policy: guaranteed, maximum, burst, weight, "
                              "dscp, quotas, rates, description",
                              key));
  }
  return out;
}

Outcome<PolicyChange> from_file(const std::string& path) {
  // The YAML library reports by exception; JSON is YAML to it.
  try {
    const YAML::Node document = YAML::LoadFile(path);
    if (!document.IsMap()) {
      return failed(kExitUsage, fmt::format("{}: a map of keys is expected", path));
    }
    PolicyChange change;
    for (const auto& entry : document) {
      const auto key = entry.first.as<std::string>();
      auto added = from_entry(key, entry.second).and_then([&](const PolicyArguments& one) {
        return add_values(change, one, "");
      });
      if (!added) {
        return failed(kExitUsage, fmt::format("{}:{}: {}", path, entry.first.Mark().line + 1,
                                              added.error().message));
      }
    }
    QMASQ_TRY(check_alone(change, path + ": quotas", "quotas"));
    QMASQ_TRY(check_alone(change, path + ": rates", "verb_rates"));
    return change;
  } catch (const YAML::BadFile&) {
    return failed(kExitUsage, fmt::format("{}: cannot be read", path));
  } catch (const YAML::Exception& error) {
    return failed(kExitUsage, fmt::format("{}: {}", path, error.what()));
  }
}

}  // namespace

void add_policy_options(CLI::App& command, PolicyArguments& args) {
  std::vector<CLI::Option*> values;
  auto add = [&](CLI::Option* option, const char* type) {
    option->type_name(type);
    values.push_back(option);
  };
  add(command.add_option("--guaranteed", args.guaranteed,
                         "What it gets even when all others want more: 15Mbit, 2.5Gbit"),
      "RATE|none");
  add(command.add_option("--maximum", args.maximum, "More it never gets"), "RATE|none");
  add(command.add_option("--burst", args.burst,
                         "What may go out at once above the maximum: 64KiB\n[what 10 ms of the "
                         "maximum are, at least 16KiB]"),
      "SIZE|none");
  add(command.add_option("--weight", args.weight,
                         "Share of what is left over beside others, 1 to 100 [10]"),
      "N|none");
  add(command.add_option("--dscp", args.dscp,
                         "Mark of the packets: 0 to 63, ef, cs0 to cs7, af11 to af43, va, le"),
      "DSCP|none");
  add(command
          .add_option("--quota", args.quotas,
                      "How many at a time: qps, cqs, mrs, srqs, pinned=1GiB; several times, or\n"
                      "with commas. RESOURCE=none: no quota; none: no quotas at all")
          ->allow_extra_args(false)
          ->delimiter(','),
      "RESOURCE=N");
  add(command
          .add_option("--rate", args.rates,
                      "How many a second: contexts, qps, connects, verbs; several times.\n"
                      "VERB=none: no rate; none: no rates at all")
          ->allow_extra_args(false),
      "VERB=N[/s][,burst=M]");
  add(command.add_option("--description", args.description, "For people"), "TEXT");
  CLI::Option* file =
      command
          .add_option("-f,--file", args.file,
                      "All of this from YAML or JSON: a map with the keys guaranteed, maximum,\n"
                      "burst, weight, dscp, quotas: {qps: 100}, rates: {qps: 50/s}, description")
          ->type_name("FILE");
  for (CLI::Option* value : values)
    file->excludes(value);
}

Outcome<PolicyChange> policy_change(const PolicyArguments& args) {
  if (!args.file.empty()) return from_file(args.file);
  PolicyChange change;
  QMASQ_TRY(add_values(change, args, "--"));
  QMASQ_TRY(check_alone(change, "--quota", "quotas"));
  QMASQ_TRY(check_alone(change, "--rate", "verb_rates"));
  return change;
}

}  // namespace qmasq::cli
