// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "common/result.h"

// Checks on addresses and sockets before gRPC gets them: its own message for a failed bind names
// neither the reason nor the remedy.
namespace qmasq::controller {

// "IP:PORT", "[IP6]:PORT". Refuses what is beyond loopback where it is `insecure`, and a port that
// is taken.
[[nodiscard]] Status check_listen(std::string_view address, bool insecure);

// Makes the path of a Unix socket free: its directory is made when missing, a socket that nobody
// listens on is removed. Refuses one that a living process listens on, and what is not a socket.
[[nodiscard]] Status prepare_socket(const std::string& path);

}  // namespace qmasq::controller
