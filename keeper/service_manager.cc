// SPDX-License-Identifier: Apache-2.0
#include "keeper/service_manager.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace qmasq::keeper {
namespace {

constexpr int kFirstInherited = 3;
constexpr int kFlushMilliseconds = 1000;

long number_in(const char* variable) {
  const char* text = std::getenv(variable);
  return text == nullptr ? 0 : std::strtol(text, nullptr, 10);
}

}  // namespace

std::vector<Stored> ServiceManager::inherit() {
  std::vector<Stored> out;
  if (number_in("LISTEN_PID") != ::getpid()) return out;
  const long count = number_in("LISTEN_FDS");
  const char* text = std::getenv("LISTEN_FDNAMES");
  std::string_view names = text == nullptr ? "" : text;
  for (long i = 0; i < count; ++i) {
    const int fd = kFirstInherited + static_cast<int>(i);
    const auto end = names.find(':');
    if (::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) {
      out.push_back({std::string(names.substr(0, end)), UniqueFd(fd)});
    }
    names = end == std::string_view::npos ? "" : names.substr(end + 1);
  }
  return out;
}

ServiceManager::ServiceManager() {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string name = path;
  if (name.size() >= sizeof(address.sun_path)) return;
  std::memcpy(address.sun_path, name.data(), name.size());
  if (name[0] == '@') address.sun_path[0] = '\0';
  socket_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  if (!socket_.valid() ||
      ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    std::fprintf(stderr, "qmasq-keeper: no service manager on %s: %s\n", path,
                 std::strerror(errno));
    return;
  }
  address_ = std::move(name);
}

void ServiceManager::store(const std::string& name, int descriptor) {
  if (!present()) return;
  UniqueFd copy(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) {
    std::fprintf(stderr, "qmasq-keeper: descriptor %s would not survive this process: %s\n",
                 name.c_str(), std::strerror(errno));
    return;
  }
  // Not polled: systemd would drop a descriptor that hangs up, such as a listener whose program
  // ended, while the agent still has to be told.
  add({"FDSTORE=1\nFDPOLL=0\nFDNAME=" + name, std::move(copy)});
}

void ServiceManager::remove(const std::string& name) {
  add({"FDSTOREREMOVE=1\nFDNAME=" + name, {}});
}

void ServiceManager::tell(std::string lines) {
  add({std::move(lines), {}});
}

void ServiceManager::add(Note note) {
  if (!present()) return;
  waiting_.push_back(std::move(note));
  send_some();
}

void ServiceManager::send_some() {
  while (!waiting_.empty()) {
    const int err = send(waiting_.front());
    if (err == EAGAIN || err == EWOULDBLOCK || err == ENOBUFS) return;
    if (err != 0) {
      std::fprintf(stderr, "qmasq-keeper: the service manager was not told \"%s\": %s\n",
                   waiting_.front().lines.c_str(), std::strerror(err));
    }
    waiting_.pop_front();
  }
}

int ServiceManager::waits_on() const {
  return waiting_.empty() ? -1 : socket_.get();
}

void ServiceManager::flush() {
  while (!waiting_.empty()) {
    pollfd room{socket_.get(), POLLOUT, 0};
    if (::poll(&room, 1, kFlushMilliseconds) <= 0) return;
    send_some();
  }
}

int ServiceManager::send(const Note& note) {
  const int descriptor = note.descriptor.get();
  iovec piece{const_cast<char*>(note.lines.data()), note.lines.size()};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  if (descriptor >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &descriptor, sizeof(descriptor));
  }
  ssize_t sent = -1;
  do {
    sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? errno : 0;
}

}  // namespace qmasq::keeper
