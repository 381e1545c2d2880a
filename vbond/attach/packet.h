// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/un.h>

#include <chrono>
#include <string>

#include "common/result.h"
#include "common/unique_fd.h"

// One message of the attach protocol on a SOCK_SEQPACKET socket: bytes and at most one descriptor.
namespace qmasq::vbond {

struct Packet {
  std::string bytes;
  UniqueFd descriptor;
};

// kInvalidArgument when the path is too long for a socket's name.
[[nodiscard]] Result<sockaddr_un> socket_address(const std::string& path);

// How long reads and writes (and connect(), for room in the queue) may wait: both ways the same.
[[nodiscard]] Status set_timeouts(int socket, std::chrono::milliseconds patience);

// `descriptor` < 0: none. Both honour the socket's timeouts (kDeadlineExceeded).
[[nodiscard]] Status send_packet(int socket, const std::string& bytes, int descriptor = -1);
// kUnavailable: the other side closed. kInvalidArgument: larger than kMaxAttachMessage, or more
// than one descriptor.
[[nodiscard]] Result<Packet> receive_packet(int socket);

}  // namespace qmasq::vbond
