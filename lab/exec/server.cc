// SPDX-License-Identifier: Apache-2.0
#include "lab/exec/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <utility>

#include "common/unique_fd.h"
#include "lab/exec/session.h"

namespace qmasq::lab {
namespace {

Result<UniqueFd> listen_on(const ServerOptions& options) {
  UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener.valid()) return fail_errno(errno, "socket");
  const int on = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(options.port);
  if (::inet_pton(AF_INET, options.address.c_str(), &address.sin_addr) != 1) {
    return fail(Code::kInvalidArgument, "not an IPv4 address: " + options.address);
  }
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener.get(), 64) != 0) {
    return fail_errno(errno, "listen on " + options.address + ":" + std::to_string(options.port));
  }
  socklen_t size = sizeof address;
  ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
  std::printf("%u\n", ntohs(address.sin_port));
  std::fflush(stdout);
  return listener;
}

}  // namespace

Status serve(const ServerOptions& options) {
  QMASQ_ASSIGN(UniqueFd listener, listen_on(options));
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t children;
  ::sigemptyset(&children);
  ::sigaddset(&children, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &children, nullptr);
  UniqueFd ended(::signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!ended.valid()) return fail_errno(errno, "signalfd");

  while (true) {
    std::array<pollfd, 2> polled{{{listener.get(), POLLIN, 0}, {ended.get(), POLLIN, 0}}};
    if (::poll(polled.data(), polled.size(), -1) < 0) continue;
    if (polled[1].revents != 0) {
      signalfd_siginfo info;
      while (::read(ended.get(), &info, sizeof info) > 0) {
      }
      while (::waitpid(-1, nullptr, WNOHANG) > 0) {
      }
    }
    if (polled[0].revents == 0) continue;
    UniqueFd connection(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection.valid()) continue;
    const int on = 1;
    ::setsockopt(connection.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::fork() == 0) {
      listener.reset();
      ended.reset();
      ::_exit(serve_session(std::move(connection), options.token));
    }
  }
}

}  // namespace qmasq::lab
