// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "common/result.h"

namespace qmasq::vbond {

// Makes `path` and its parents, mode 0755 whatever the umask.
[[nodiscard]] Status make_directories(const std::string& path);

// Makes the file say `text`, mode 0444: through a new file in `scratch` (same file system) that
// takes its place. Nothing is touched when it says so already.
[[nodiscard]] Status write_staged(const std::string& path, const std::string& text,
                                  const std::string& scratch);

// Makes the directory hold files "0" to "n-1" with these texts, and nothing else.
[[nodiscard]] Status write_table(const std::string& directory,
                                 const std::vector<std::string>& texts, const std::string& scratch);

// Names in a directory, in order.
[[nodiscard]] Result<std::vector<std::string>> names_in(const std::string& directory);

// The first line without its end, or an error: not there, not readable.
[[nodiscard]] Result<std::string> read_line(const std::string& path);

}  // namespace qmasq::vbond
