// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/device_path.h"

#include <algorithm>
#include <array>

namespace qmasq::vbond {
namespace {

bool is_node(std::string_view name) {
  constexpr std::string_view kPrefix = "uverbs";
  constexpr std::size_t kMostDigits = 5;
  if (!name.starts_with(kPrefix)) return false;
  name.remove_prefix(kPrefix.size());
  return !name.empty() && name.size() <= kMostDigits &&
         std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::optional<std::string> verbs_node_of(std::string_view path) {
  if (path.empty() || path.front() != '/' || path.back() == '/') return std::nullopt;
  std::array<std::string_view, 3> steps;
  std::size_t count = 0;
  while (!path.empty()) {
    auto end = std::min(path.find('/'), path.size());
    auto step = path.substr(0, end);
    path.remove_prefix(std::min(end + 1, path.size()));
    if (step.empty() || step == ".") continue;
    if (count == steps.size()) return std::nullopt;
    steps[count++] = step;
  }
  if (count != 3 || steps[0] != "dev" || steps[1] != "infiniband" || !is_node(steps[2])) {
    return std::nullopt;
  }
  return std::string(steps[2]);
}

}  // namespace qmasq::vbond
