// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "common/net_types.h"

namespace qmasq {

// Whether "HOST:PORT" leads to this very machine by its spelling alone; names are not resolved.
[[nodiscard]] inline bool is_loopback_target(std::string_view address) {
  std::string_view host = address.substr(0, address.rfind(':'));
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  if (host == "localhost") return true;
  auto ip = parse_ip(host);
  return ip && ip->is_loopback();
}

}  // namespace qmasq
