// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "common/net_types.h"
#include "common/unique_fd.h"

// Sockets in namespaces.
namespace qmasq::test {

// Sends `text` over TCP from `client` to address:port in `server` (which may be any namespace, also
// one that cannot be reached). What arrived there; none when no connection came about within
// `wait_ms`.
std::optional<std::string> tcp_exchange(int client, int server, const IpAddress& address,
                                        const std::string& text, int wait_ms);

// A UDP socket in the namespace, bound to the port (0: any), broadcast allowed.
UniqueFd udp_socket(int netns, bool v6, std::uint16_t port);
void udp_send(const UniqueFd& socket, const IpAddress& to, std::uint16_t port,
              const std::string& text);
// What arrives within the time, or none.
std::optional<std::string> udp_receive(const UniqueFd& socket, int wait_ms);

// A packet socket on an interface: sees and sends whole frames.
UniqueFd packet_socket(int netns, const std::string& interface);
using Frame = std::vector<unsigned char>;
// All frames that arrive until nothing has for `quiet_ms`. Those that this machine sends through
// the interface are left out.
std::vector<Frame> frames(const UniqueFd& socket, int quiet_ms);
void send_frame(const UniqueFd& socket, const Frame& frame);
// Ethernet, IPv4 and UDP around `text`.
Frame udp_frame(const Mac& to, const Mac& from, const IpAddress& destination,
                const IpAddress& source, std::uint16_t port, const std::string& text);

}  // namespace qmasq::test
