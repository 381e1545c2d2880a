// SPDX-License-Identifier: Apache-2.0
#include "cli/qos/screen.h"

#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <sstream>
#include <string_view>

#include "cli/names.h"
#include "cli/qos/words.h"
#include "cli/table.h"

namespace qmasq::cli {
namespace {

constexpr char kEscape = '\033';

std::string optional_text(const std::optional<double>& value, std::string (*text)(double)) {
  return value ? text(*value) : "";
}

std::string limit_text(const TopRow& row) {
  if (!row.limit_bps) return "";
  return rate_text(*row.limit_bps) + (row.limit_enforced ? "" : ", not enforced");
}

std::string header(const TopFrame& frame) {
  std::set<std::string_view> hosts;
  double sum = 0;
  for (const TopRow& row : frame.rows) {
    hosts.insert(row.host);
    sum += row.rate_bps.value_or(0);
  }
  const std::string time =
      frame.time_ns == 0
          ? ""
          : google::protobuf::util::TimeUtil::ToString(
                google::protobuf::util::TimeUtil::NanosecondsToTimestamp(frame.time_ns)) +
                "  ";
  return fmt::format("{}endpoints {}, hosts {}, together {}\n", time, frame.rows.size(),
                     hosts.size(), observed_rate(sum));
}

// The first `columns` columns of a line. Escape sequences take none and stay.
std::string cut(std::string_view line, std::size_t columns) {
  std::string out;
  std::size_t width = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == kEscape) {  // ours alone: ESC [ ... m
      const std::size_t end = std::min(line.find('m', i), line.size() - 1);
      out += line.substr(i, end - i + 1);
      i = end;
      continue;
    }
    const bool starts = (static_cast<std::uint8_t>(line[i]) & 0xc0U) != 0x80;
    if (starts) ++width;
    if (width <= columns) out += line[i];
  }
  return out;
}

}  // namespace

std::string frame_text(const TopFrame& frame, std::size_t most_rows, bool colour) {
  std::ostringstream out;
  out << header(frame);
  Table table({"ENDPOINT", "HOST", "NIC", "RATE", "SHARE", "LIMIT", "THROTTLED"});
  const std::size_t shown = std::min(most_rows, frame.rows.size());
  for (std::size_t i = 0; i < shown; ++i) {
    const TopRow& row = frame.rows[i];
    constexpr double kPercent = 100;
    table.add({short_name(row.endpoint), short_name(row.host), row.device,
               optional_text(row.rate_bps, observed_rate),
               optional_text(row.share(),
                             [](double share) { return fmt::format("{:.1f}%", share * kPercent); }),
               limit_text(row), optional_text(row.throttled, [](double times) {
                 return fmt::format("{:.0f}/s", times);
               })});
  }
  table.print(out, colour);
  if (shown < frame.rows.size()) out << "and " << frame.rows.size() - shown << " more\n";
  for (const Unanswered& host : frame.unanswered) {
    out << printable(short_name(host.host)) << ": no answer: " << printable(host.reason) << '\n';
  }
  return out.str();
}

std::string in_place(const std::string& text, TerminalSize size, bool first) {
  constexpr const char* kHome = "\033[H";
  constexpr const char* kClearAll = "\033[2J";
  constexpr const char* kClearLine = "\033[K";
  constexpr const char* kClearBelow = "\033[J";
  std::string out = kHome;
  if (first) out += kClearAll;
  std::size_t lines = 0;
  // The last row stays free: the cursor waits there.
  for (std::size_t begin = 0; begin < text.size() && lines + 1 < size.rows; ++lines) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    out += cut(std::string_view(text).substr(begin, end - begin), size.columns);
    out += kClearLine;
    out += '\n';
    begin = end + 1;
  }
  return out + kClearBelow;
}

std::size_t rows_that_fit(const TopFrame& frame, TerminalSize size) {
  // Header, heads of columns, "and N more", and the row of the cursor.
  constexpr std::size_t kElse = 4;
  const std::size_t taken = kElse + frame.unanswered.size();
  return size.rows > taken ? size.rows - taken : 1;
}

}  // namespace qmasq::cli
