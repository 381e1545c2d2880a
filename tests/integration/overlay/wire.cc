// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/overlay/wire.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "vbond/netlink/netns.h"

namespace qmasq::test {
namespace {

using vbond::netlink::in_namespace;

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Address socket_address(const IpAddress& ip, std::uint16_t port) {
  Address address;
  if (ip.is_v4()) {
    auto* in = reinterpret_cast<sockaddr_in*>(&address.storage);
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    std::memcpy(&in->sin_addr, ip.bytes.data() + 12, 4);
    address.size = sizeof *in;
  } else {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    std::memcpy(&in6->sin6_addr, ip.bytes.data(), 16);
    address.size = sizeof *in6;
  }
  return address;
}

UniqueFd socket_in(int netns, int family, int type, int protocol) {
  auto made = in_namespace<UniqueFd>(netns, [&]() -> Result<UniqueFd> {
    UniqueFd fd(::socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
    if (!fd.valid()) return fail_errno(errno, "socket");
    return fd;
  });
  EXPECT_TRUE(made) << made.error().message;
  return made ? std::move(*made) : UniqueFd();
}

bool ready(int fd, short events, int wait_ms) {
  pollfd item{fd, events, 0};
  return ::poll(&item, 1, wait_ms) == 1;
}

}  // namespace

std::optional<std::string> tcp_exchange(int client, int server, const IpAddress& address,
                                        const std::string& text, int wait_ms) {
  constexpr std::uint16_t kPort = 18515;
  int family = address.is_v4() ? AF_INET : AF_INET6;
  UniqueFd listener = socket_in(server, family, SOCK_STREAM, 0);
  IpAddress any = address.is_v4() ? IpAddress::from_v4(0) : IpAddress{};
  int one = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  Address here = socket_address(any, kPort);
  if (::bind(listener.get(), here.get(), here.size) != 0 || ::listen(listener.get(), 1) != 0) {
    ADD_FAILURE() << "listen: " << std::strerror(errno);
    return std::nullopt;
  }
  UniqueFd out = socket_in(client, family, SOCK_STREAM, 0);
  Address there = socket_address(address, kPort);
  if (::connect(out.get(), there.get(), there.size) != 0 && errno != EINPROGRESS) {
    return std::nullopt;
  }
  if (!ready(listener.get(), POLLIN, wait_ms)) return std::nullopt;
  UniqueFd in(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!in.valid() || !ready(out.get(), POLLOUT, wait_ms)) return std::nullopt;
  if (::send(out.get(), text.data(), text.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(text.size())) {
    return std::nullopt;
  }
  std::string got;
  while (got.size() < text.size() && ready(in.get(), POLLIN, wait_ms)) {
    char buffer[65536];
    ssize_t size = ::recv(in.get(), buffer, sizeof buffer, 0);
    if (size <= 0) break;
    got.append(buffer, static_cast<std::size_t>(size));
  }
  return got;
}

UniqueFd udp_socket(int netns, bool v6, std::uint16_t port) {
  UniqueFd fd = socket_in(netns, v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);
  int one = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_BROADCAST, &one, sizeof one);
  Address here = socket_address(v6 ? IpAddress{} : IpAddress::from_v4(0), port);
  EXPECT_EQ(::bind(fd.get(), here.get(), here.size), 0) << std::strerror(errno);
  return fd;
}

void udp_send(const UniqueFd& socket, const IpAddress& to, std::uint16_t port,
              const std::string& text) {
  Address there = socket_address(to, port);
  // May be refused on the spot (no route): as good as lost.
  (void)::sendto(socket.get(), text.data(), text.size(), 0, there.get(), there.size);
}

std::optional<std::string> udp_receive(const UniqueFd& socket, int wait_ms) {
  if (!ready(socket.get(), POLLIN, wait_ms)) return std::nullopt;
  char buffer[2048];
  ssize_t size = ::recv(socket.get(), buffer, sizeof buffer, 0);
  if (size < 0) return std::nullopt;
  return std::string(buffer, static_cast<std::size_t>(size));
}

UniqueFd packet_socket(int netns, const std::string& interface) {
  auto made = in_namespace<UniqueFd>(netns, [&]() -> Result<UniqueFd> {
    UniqueFd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL)));
    if (!fd.valid()) return fail_errno(errno, "packet socket");
    sockaddr_ll here{};
    here.sll_family = AF_PACKET;
    here.sll_protocol = htons(ETH_P_ALL);
    here.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&here), sizeof here) != 0) {
      return fail_errno(errno, "bind to " + interface);
    }
    return fd;
  });
  EXPECT_TRUE(made) << made.error().message;
  return made ? std::move(*made) : UniqueFd();
}

std::vector<Frame> frames(const UniqueFd& socket, int quiet_ms) {
  std::vector<Frame> all;
  while (ready(socket.get(), POLLIN, quiet_ms)) {
    Frame frame(65536);
    sockaddr_ll from{};
    socklen_t size = sizeof from;
    ssize_t got = ::recvfrom(socket.get(), frame.data(), frame.size(), 0,
                             reinterpret_cast<sockaddr*>(&from), &size);
    if (got <= 0) break;
    frame.resize(static_cast<std::size_t>(got));
    if (from.sll_pkttype != PACKET_OUTGOING) all.push_back(std::move(frame));
  }
  return all;
}

void send_frame(const UniqueFd& socket, const Frame& frame) {
  EXPECT_EQ(::send(socket.get(), frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()))
      << std::strerror(errno);
}

Frame udp_frame(const Mac& to, const Mac& from, const IpAddress& destination,
                const IpAddress& source, std::uint16_t port, const std::string& text) {
  Frame frame(to.bytes.begin(), to.bytes.end());
  frame.insert(frame.end(), from.bytes.begin(), from.bytes.end());
  frame.insert(frame.end(), {0x08, 0x00});
  auto total = static_cast<std::uint16_t>(28 + text.size());
  Frame ip = {0x45,
              0,
              static_cast<unsigned char>(total >> 8U),
              static_cast<unsigned char>(total),
              0,
              0,
              0,
              0,
              64,
              17,
              0,
              0};
  ip.insert(ip.end(), source.bytes.begin() + 12, source.bytes.end());
  ip.insert(ip.end(), destination.bytes.begin() + 12, destination.bytes.end());
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < ip.size(); i += 2)
    sum += (ip[i] << 8U) | ip[i + 1];
  while (sum >> 16U != 0)
    sum = (sum & 0xffffU) + (sum >> 16U);
  ip[10] = static_cast<unsigned char>(~sum >> 8U);
  ip[11] = static_cast<unsigned char>(~sum);
  frame.insert(frame.end(), ip.begin(), ip.end());
  auto length = static_cast<std::uint16_t>(8 + text.size());
  for (std::uint16_t word : {std::uint16_t{4444}, port, length, std::uint16_t{0}}) {
    frame.push_back(static_cast<unsigned char>(word >> 8U));
    frame.push_back(static_cast<unsigned char>(word));
  }
  frame.insert(frame.end(), text.begin(), text.end());
  return frame;
}

}  // namespace qmasq::test
