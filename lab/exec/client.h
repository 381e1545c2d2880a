// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "common/result.h"
#include "lab/exec/frame.h"

namespace qmasq::lab {

struct ClientOptions {
  std::uint16_t port = 0;  // on 127.0.0.1
  StartRequest request;
  bool forward_stdin = false;
  std::chrono::milliseconds wait{0};  // keep trying this long while the host does not answer yet
};

// Runs the command on the host with this process's standard streams, and returns its exit code.
// SIGINT, SIGTERM, SIGHUP and SIGQUIT go to the command's process group; a second one, or three
// seconds after a SIGTERM or SIGHUP, ends the client, and with it the command. An error means
// that the command did not run or that the host was lost.
[[nodiscard]] Result<int> run_on_host(ClientOptions options);

}  // namespace qmasq::lab
