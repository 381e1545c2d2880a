// SPDX-License-Identifier: Apache-2.0
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/commands/add.h"
#include "cli/commands/qos.h"
#include "cli/options.h"
#include "cli/qos/samples.h"
#include "cli/qos/screen.h"
#include "cli/resources.h"

namespace qmasq::cli {
namespace {

constexpr std::chrono::milliseconds kShortest{100};
constexpr int kMostBlocks = 1'000'000'000;

struct Arguments {
  QosScope scope;
  std::chrono::milliseconds interval{2000};
  std::uint64_t count = 0;  // 0: no end
};

template <typename T>
nlohmann::ordered_json value_or_null(const std::optional<T>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}

nlohmann::ordered_json document(const TopFrame& frame) {
  nlohmann::ordered_json out;
  out["time"] = time_text(google::protobuf::util::TimeUtil::NanosecondsToTimestamp(frame.time_ns));
  out["endpoints"] = nlohmann::ordered_json::array();
  for (const TopRow& row : frame.rows) {
    nlohmann::ordered_json one;
    one["endpoint"] = row.endpoint;
    one["host"] = row.host;
    one["device"] = row.device;
    one["rateBps"] = value_or_null(row.rate_bps);
    one["share"] = value_or_null(row.share());
    one["limitBps"] = value_or_null(row.limit_bps);
    one["limitEnforced"] = row.limit_enforced;
    one["throttledPerSecond"] = value_or_null(row.throttled);
    out["endpoints"].push_back(std::move(one));
  }
  out["unanswered"] = nlohmann::ordered_json::array();
  for (const Unanswered& host : frame.unanswered) {
    nlohmann::ordered_json one;
    one["host"] = host.host;
    one["reason"] = host.reason;
    out["unanswered"].push_back(std::move(one));
  }
  return out;
}

void print_frame(const Shell& shell, const TopFrame& frame, bool first) {
  std::ostream& out = shell.console.out;
  if (shell.options.format == Format::kJson) {
    print_line(out, document(frame));
  } else if (shell.options.format == Format::kYaml) {
    out << "---\n";
    print_document(out, document(frame), Format::kYaml);
  } else if (auto size = shell.console.terminal ? shell.console.terminal() : std::nullopt) {
    out << in_place(frame_text(frame, rows_that_fit(frame, *size), shell.console.colour), *size,
                    first);
  } else {
    constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();
    out << (first ? "" : "\n") << frame_text(frame, kAll, shell.console.colour);
  }
  out.flush();
}

Outcome<int> top(const Shell& shell, const Arguments& args) {
  if (args.interval < kShortest) {
    return failed(kExitUsage, "--interval: at least 100ms; agents count by the second");
  }
  QMASQ_ASSIGN(QosSource source, QosSource::open(shell, args.scope));
  TopSamples samples;
  QMASQ_ASSIGN(v1::ShowQosResponse first, source.ask());
  // Rates need two answers, so nothing is printed yet.
  static_cast<void>(samples.add(first));
  auto next = std::chrono::steady_clock::now();
  for (std::uint64_t printed = 0; args.count == 0 || printed < args.count; ++printed) {
    // A call that takes longer than the interval delays those after it; none is made up for.
    next = std::max(next + args.interval, std::chrono::steady_clock::now());
    std::this_thread::sleep_until(next);
    QMASQ_ASSIGN(v1::ShowQosResponse answer, source.ask());
    print_frame(shell, samples.add(answer), printed == 0);
    // Whoever read us is gone (qmasq top | head).
    if (!shell.console.out) return kExitOk;
  }
  return kExitOk;
}

}  // namespace

void add_top_command(CLI::App& root, Shell& shell) {
  auto args = std::make_shared<Arguments>();
  CLI::App& command =
      add_command(root, shell, "top",
                  "Who sends how much right now, fastest first; refreshes in place", args, top);
  add_duration(command, "--interval", args->interval, "Time between two looks [2s]");
  command.add_option("--count", args->count, "End after so many blocks [go on until interrupted]")
      ->check(CLI::Range(1, kMostBlocks).description(""))
      ->type_name("N");
  add_scope_options(command, shell, args->scope);
  command.footer(R"(
Examples:
  qmasq top
  qmasq top --vpc blue --interval 1s
  qmasq top --count 3 | cat)");
}

}  // namespace qmasq::cli
