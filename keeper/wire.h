// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/un.h>

#include <string>
#include <string_view>

#include "common/unique_fd.h"
#include "keeper/protocol.h"

// Packets of protocol.h on a socket: what both sides share. Errors are errno values; 0 is success.
namespace qmasq::keeper {

struct Message {
  Header header;
  std::string text;
  UniqueFd descriptor;  // kPut and kHeld
  [[nodiscard]] Kind kind() const { return static_cast<Kind>(header.kind); }
  [[nodiscard]] Outcome outcome() const { return static_cast<Outcome>(header.outcome); }
};

// False when the path is empty or too long for a socket's name (107 bytes).
[[nodiscard]] bool socket_address(std::string_view path, sockaddr_un& out);

// Fills in `header.size`. `descriptor` < 0: none. Blocks as the socket does; no SIGPIPE. EMSGSIZE:
// text too long.
[[nodiscard]] int send_message(int socket, Header header, std::string_view text = {},
                               int descriptor = -1);

// EPIPE: the other side hung up. EBADMSG: not a message of any version: size or magic are wrong, or
// it came with more than one descriptor (all of which are closed). EMFILE: a descriptor came that
// this process has no room for; `out` is the message without it.
[[nodiscard]] int receive_message(int socket, Message& out);

}  // namespace qmasq::keeper
