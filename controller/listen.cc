// SPDX-License-Identifier: Apache-2.0
#include "controller/listen.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <charconv>
#include <cstring>

#include "common/net_types.h"
#include "common/unique_fd.h"

namespace qmasq::controller {
namespace {

struct Target {
  IpAddress ip;
  std::uint16_t port = 0;
};

Result<Target> parse_target(std::string_view address) {
  auto wrong = [&] {
    return fail(Code::kInvalidArgument,
                fmt::format("--listen '{}' is not ADDRESS:PORT: write it as 192.0.2.1:7443 or "
                            "[2001:db8::1]:7443",
                            address));
  };
  auto colon = address.rfind(':');
  if (colon == std::string_view::npos) return wrong();
  std::string_view host = address.substr(0, colon);
  std::string_view port = address.substr(colon + 1);
  bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  auto ip = parse_ip(host);
  if (!ip || bracketed == ip->is_v4()) return wrong();
  Target target{*ip, 0};
  auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), target.port);
  if (error != std::errc{} || end != port.data() + port.size() || port.empty()) return wrong();
  return target;
}

Status try_bind(const Target& target, std::string_view text) {
  sockaddr_storage storage{};
  socklen_t size = 0;
  if (target.ip.is_v4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(target.port);
    v4.sin_addr.s_addr = htonl(target.ip.v4());
    size = sizeof v4;
    std::memcpy(&storage, &v4, size);
  } else {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(target.port);
    std::memcpy(&v6.sin6_addr, target.ip.bytes.data(), 16);
    size = sizeof v6;
    std::memcpy(&storage, &v6, size);
  }
  UniqueFd fd(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) {
    int err = errno;
    return fail_errno(err, fmt::format("cannot listen on {}", text));
  }
  int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0 ||
      ::listen(fd.get(), 1) != 0) {
    int err = errno;
    return fail_errno(err, fmt::format("cannot listen on {} (--listen)", text));
  }
  return {};
}

// Whether somebody answers on a socket's path.
bool alive(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return true;
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return true;
  // EAGAIN: a full backlog has somebody behind it.
  return errno != ECONNREFUSED && errno != ENOENT;
}

}  // namespace

Status check_listen(std::string_view address, bool insecure) {
  QMASQ_ASSIGN(Target target, parse_target(address));
  if (insecure && !target.ip.is_loopback()) {
    return fail(Code::kInvalidArgument,
                fmt::format("--listen {} is reachable from other machines, and --insecure-listen "
                            "leaves out encryption and authentication: it is for loopback only. "
                            "Run `qmasq-controller init` and leave --insecure-listen out",
                            address));
  }
  return try_bind(target, address);
}

Status prepare_socket(const std::string& path) {
  if (path.size() >= sizeof(sockaddr_un{}.sun_path)) {
    return fail(Code::kInvalidArgument,
                fmt::format("the socket path {} is too long: at most {} bytes", path,
                            sizeof(sockaddr_un{}.sun_path) - 1));
  }
  auto slash = path.rfind('/');
  if (slash != std::string::npos && slash > 0) {
    std::string dir = path.substr(0, slash);
    if (::mkdir(dir.c_str(), 0755) != 0 && errno != EEXIST) {
      int err = errno;
      return fail_errno(err, fmt::format("cannot make the directory of the socket {}", path));
    }
  }
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    int err = errno;
    if (err == ENOENT) return {};
    return fail_errno(err, fmt::format("cannot use the socket {}", path));
  }
  if (!S_ISSOCK(info.st_mode)) {
    return fail(Code::kFailedPrecondition,
                fmt::format("{} exists and is not a socket: choose another --socket", path));
  }
  if (alive(path)) {
    return fail(Code::kFailedPrecondition,
                fmt::format("another process listens on the socket {}: stop it, or choose another "
                            "--socket",
                            path));
  }
  if (::unlink(path.c_str()) != 0) {
    int err = errno;
    return fail_errno(err, fmt::format("cannot remove the stale socket {}", path));
  }
  return {};
}

}  // namespace qmasq::controller
