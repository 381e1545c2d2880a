// SPDX-License-Identifier: Apache-2.0
#include "qos/backends/tc/types.h"

#include <array>
#include <cstdio>

namespace qmasq::qos::tc {

std::string handle_to_string(Handle handle) {
  if (handle == kRoot) return "root";
  std::array<char, 16> text{};
  if (minor_of(handle) == 0) {
    std::snprintf(text.data(), text.size(), "%x:", handle >> 16U);
  } else {
    std::snprintf(text.data(), text.size(), "%x:%x", handle >> 16U, minor_of(handle));
  }
  return text.data();
}

}  // namespace qmasq::qos::tc
