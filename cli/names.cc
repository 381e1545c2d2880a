// SPDX-License-Identifier: Apache-2.0
#include "cli/names.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <utility>

namespace qmasq::cli {
namespace {

// Edits (insert, delete, replace, swap of neighbours) from one word to the other, without regard
// to case.
std::size_t distance(std::string_view a, std::string_view b) {
  auto same = [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  };
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i)
    d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j)
    d[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      std::size_t replace = d[i - 1][j - 1] + (same(a[i - 1], b[j - 1]) ? 0 : 1);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, replace});
      if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1])) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

Result<EndpointName> parse_endpoint(std::string_view text) {
  if (auto vpc = parse_vpc_name(text)) {
    return fail(
        Code::kInvalidArgument,
        fmt::format("'{}' is a VPC, not an endpoint: write it as VPC/ENDPOINT ({}/a)", text, *vpc));
  }
  QMASQ_ASSIGN(EndpointName name, parse_endpoint_reference(text));
  if (name.vpc.empty()) {
    return fail(Code::kInvalidArgument,
                fmt::format("'{}' lacks the VPC: write it as VPC/ENDPOINT (blue/{})", text, text));
  }
  return name;
}

Result<std::string> parse_scope(std::string_view text) {
  if (auto vpc = parse_vpc_reference(text)) return vpc_name(*vpc);
  if (auto endpoint = parse_endpoint(text)) return endpoint_name(*endpoint);
  return fail(
      Code::kInvalidArgument,
      fmt::format("'{}' is the name of neither a VPC (blue) nor an endpoint (blue/a)", text));
}

std::string short_name(std::string_view full) {
  if (auto vpc = parse_vpc_name(full)) return *vpc;
  if (auto host = parse_host_name(full)) return *host;
  if (auto endpoint = parse_endpoint_name(full)) return endpoint->vpc + "/" + endpoint->endpoint;
  if (auto group = parse_security_group_name(full)) return group->vpc + "/" + group->group;
  if (auto policy = parse_qos_policy_name(full)) return *policy;
  if (auto access = parse_access_name(full)) return *access;
  return std::string(full);
}

std::vector<std::string> near_matches(std::string_view typed,
                                      const std::vector<std::string>& candidates) {
  // Two slips in a word of ordinary length, one in a short one.
  std::size_t allowed = typed.size() <= 4 ? 1 : 2;
  std::vector<std::pair<std::size_t, std::string>> ranked;
  for (const std::string& candidate : candidates) {
    // Names are at most 63 letters a part, so anything longer is nothing that exists.
    if (candidate.size() > 256 || typed.size() > 256) continue;
    std::size_t far = distance(typed, candidate);
    bool prefix = typed.size() >= 2 && candidate.compare(0, typed.size(), typed) == 0;
    if (far <= allowed || prefix) ranked.emplace_back(far, candidate);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<std::string> out;
  for (auto& [far, candidate] : ranked) {
    if (out.size() < 3) out.push_back(std::move(candidate));
  }
  return out;
}

}  // namespace qmasq::cli
