// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "common/result.h"

namespace qmasq::lab {

struct ServerOptions {
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;  // 0: any; the one taken is printed on standard output
  std::string token;
};

// Accepts connections for ever and gives each a process. May be process 1 of a lab host: it reaps
// every orphan it inherits. Returns only when it cannot listen.
[[nodiscard]] Status serve(const ServerOptions& options);

}  // namespace qmasq::lab
