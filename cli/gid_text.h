// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace qmasq::cli {

// A GID of the API (sysfs form) as people read it: "10.0.0.1", "fe80::71:ff:fe00:1". What does not
// parse stays as it is.
[[nodiscard]] std::string short_gid(const std::string& gid);

}  // namespace qmasq::cli
