// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace qmasq::vbond {

// Longest path that can name a verbs device here; longer ones name something else.
inline constexpr std::size_t kMaxDevicePath = 128;

// "uverbs0" when `path` is /dev/infiniband/uverbs0, doubled slashes and "." steps allowed, as
// programs build it. Other ways to the node (links, "..", a directory descriptor) are not followed:
// the node is masked there, so they end in the kernel's refusal.
[[nodiscard]] std::optional<std::string> verbs_node_of(std::string_view path);

}  // namespace qmasq::vbond
