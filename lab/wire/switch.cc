// SPDX-License-Identifier: Apache-2.0
#include "lab/wire/switch.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

namespace qmasq::lab {
namespace {

constexpr std::size_t kLengthBytes = 4;
constexpr std::size_t kEthernetHeader = 14;
constexpr std::size_t kLargestFrame = 72UL * 1024;  // QEMU's own limit is 4096 + 65536
// A host that does not take its frames loses them past this, as on a switch with a full queue.
constexpr std::size_t kQueueLimit = 8UL * 1024 * 1024;
constexpr std::size_t kMostStations = 4096;

std::uint64_t station(std::span<const std::byte> address) {
  std::uint64_t value = 0;
  for (std::byte byte : address.first(6))
    value = value << 8 | std::to_integer<unsigned>(byte);
  return value;
}

bool is_group(std::span<const std::byte> address) {
  return (std::to_integer<unsigned>(address.front()) & 1U) != 0;
}

}  // namespace

Result<Switch> Switch::listen(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(Code::kInvalidArgument, "socket path is too long: " + path);
  }
  std::memcpy(address.sun_path, path.c_str(), path.size());
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.valid()) return fail_errno(errno, "socket");
  ::unlink(path.c_str());
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener.get(), 32) != 0) {
    return fail_errno(errno, "listen on " + path);
  }
  return Switch(std::move(listener));
}

Status Switch::run() {
  ::signal(SIGPIPE, SIG_IGN);
  std::vector<pollfd> polled;
  while (true) {
    polled.assign(1, {listener_.get(), POLLIN, 0});
    for (const auto& port : ports_) {
      const bool waiting = port->sent < port->out.size();
      polled.push_back(
          {port->fd.get(), static_cast<short>(waiting ? POLLIN | POLLOUT : POLLIN), 0});
    }
    if (::poll(polled.data(), polled.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return fail_errno(errno, "poll");
    }
    std::vector<const Port*> gone;
    for (std::size_t i = 1; i < polled.size(); ++i) {
      Port& port = *ports_[i - 1];
      const short events = polled[i].revents;
      if ((events & POLLOUT) && !flush_port(port)) gone.push_back(&port);
      if ((events & (POLLIN | POLLHUP | POLLERR)) && !read_port(port)) gone.push_back(&port);
    }
    for (const Port* port : gone)
      remove_port(port);
    if (polled[0].revents != 0) accept_port();
  }
}

void Switch::accept_port() {
  UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) return;
  auto port = std::make_unique<Port>();
  port->fd = std::move(fd);
  ports_.push_back(std::move(port));
}

bool Switch::read_port(Port& port) {
  std::array<std::byte, 128UL * 1024> block;
  const ssize_t size = ::read(port.fd.get(), block.data(), block.size());
  if (size < 0) return errno == EAGAIN || errno == EINTR;
  if (size == 0) return false;
  port.in.insert(port.in.end(), block.begin(), block.begin() + size);
  std::size_t used = 0;
  while (port.in.size() - used >= kLengthBytes) {
    const auto rest = std::span<const std::byte>(port.in).subspan(used);
    std::size_t length = 0;
    for (std::size_t i = 0; i < kLengthBytes; ++i) {
      length = length << 8 | std::to_integer<std::size_t>(rest[i]);
    }
    if (length > kLargestFrame) return false;
    if (rest.size() < kLengthBytes + length) break;
    if (length >= kEthernetHeader) move_frame(port, rest.first(kLengthBytes + length));
    used += kLengthBytes + length;
  }
  port.in.erase(port.in.begin(), port.in.begin() + static_cast<std::ptrdiff_t>(used));
  return true;
}

void Switch::move_frame(const Port& from, std::span<const std::byte> framed) {
  const auto destination = framed.subspan(kLengthBytes, 6);
  const auto source = framed.subspan(kLengthBytes + 6, 6);
  if (!is_group(source) && (learnt_.size() < kMostStations || learnt_.contains(station(source)))) {
    learnt_[station(source)] = const_cast<Port*>(&from);
  }
  if (const auto found = learnt_.find(station(destination));
      !is_group(destination) && found != learnt_.end()) {
    if (found->second != &from) enqueue(*found->second, framed);
    return;
  }
  for (const auto& port : ports_) {
    if (port.get() != &from) enqueue(*port, framed);
  }
}

void Switch::enqueue(Port& port, std::span<const std::byte> framed) {
  if (port.out.size() - port.sent + framed.size() > kQueueLimit) return;
  port.out.insert(port.out.end(), framed.begin(), framed.end());
  // A port that fails here is found out and removed by its own poll.
  flush_port(port);
}

bool Switch::flush_port(Port& port) {
  while (port.sent < port.out.size()) {
    const ssize_t size =
        ::write(port.fd.get(), port.out.data() + port.sent, port.out.size() - port.sent);
    if (size < 0) {
      // Keeps the queue from growing at its front while the port is slow.
      if (port.sent > kQueueLimit / 2) {
        port.out.erase(port.out.begin(), port.out.begin() + static_cast<std::ptrdiff_t>(port.sent));
        port.sent = 0;
      }
      return errno == EAGAIN || errno == EINTR;
    }
    port.sent += static_cast<std::size_t>(size);
  }
  port.out.clear();
  port.sent = 0;
  return true;
}

void Switch::remove_port(const Port* port) {
  std::erase_if(learnt_, [port](const auto& entry) { return entry.second == port; });
  std::erase_if(ports_, [port](const auto& entry) { return entry.get() == port; });
}

}  // namespace qmasq::lab
