// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"

namespace qmasq::vbond {

// The attached programs and their maps. As long as this exists they stay attached even if somebody
// removes the pins; the pins keep them when it does not.
struct GuardPrograms {
  UniqueFd lock;  // no other agent has them meanwhile
  UniqueFd state;
  UniqueFd slots;
  UniqueFd devices;
  UniqueFd events;
  std::vector<UniqueFd> links;
  bool taken_over = false;  // they were there
};

// Attaches what is not attached, replaces what is of another version, and leaves it pinned in
// `pins`. `writes`: watch write() too. Errors say what the kernel lacks; kAlreadyExists: another
// agent has them.
[[nodiscard]] Result<GuardPrograms> attach_guard(const std::string& pins, bool writes);

// Takes the pins away, and with them what is attached. kAlreadyExists: an agent has them.
[[nodiscard]] Status detach_guard(const std::string& pins);

}  // namespace qmasq::vbond
