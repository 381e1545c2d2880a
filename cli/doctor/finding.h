// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace qmasq::cli {

enum class Health { kOk, kWarn, kFail };

// One thing that `qmasq doctor` looked at.
struct Finding {
  Health health = Health::kOk;
  std::string area;    // "kernel", "modules", "nic", "agent", ...
  std::string name;    // "user_notif", "vxlan", "rxe0", ...
  std::string detail;  // what was found
  std::string remedy;  // what to do about it; empty when it is well
};

using Findings = std::vector<Finding>;

}  // namespace qmasq::cli
