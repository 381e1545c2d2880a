// SPDX-License-Identifier: Apache-2.0
#include "vbond/attach/packet.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "vbond/attach/protocol.h"

namespace qmasq::vbond {
namespace {

// Room for more than the one we accept, so that a second is seen (and closed) and not just cut off.
constexpr std::size_t kRoomForDescriptors = 4;

int* descriptors_of(cmsghdr* header) {
  return reinterpret_cast<int*>(CMSG_DATA(header));  // NOLINT: how cmsg(3) works
}

}  // namespace

Result<sockaddr_un> socket_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return fail(Code::kInvalidArgument,
                "\"" + path + "\" is no name for a Unix socket (1 to 107 bytes)");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

Status set_timeouts(int socket, std::chrono::milliseconds patience) {
  timeval time{};
  time.tv_sec = patience.count() / 1000;
  time.tv_usec = (patience.count() % 1000) * 1000;
  for (int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
    if (setsockopt(socket, SOL_SOCKET, option, &time, sizeof(time)) != 0) {
      return fail_errno(errno, "setsockopt");
    }
  }
  return {};
}

Status send_packet(int socket, const std::string& bytes, int descriptor) {
  iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  if (descriptor >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    *descriptors_of(header) = descriptor;
  }
  ssize_t sent = -1;
  do {
    sent = sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return {};
  if (errno == EAGAIN) return fail(Code::kDeadlineExceeded, "the other side does not read");
  return fail_errno(errno, "sendmsg");
}

Result<Packet> receive_packet(int socket) {
  Packet out;
  out.bytes.resize(kMaxAttachMessage);
  iovec piece{out.bytes.data(), out.bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kRoomForDescriptors * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got = -1;
  do {
    got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) return fail(Code::kDeadlineExceeded, "the other side is silent");
  if (got < 0) return fail_errno(errno, "recvmsg");

  std::size_t descriptors = 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i, ++descriptors) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
      out.descriptor.reset(fd);
    }
  }
  if (got == 0 && descriptors == 0)
    return fail(Code::kUnavailable, "the other side closed the connection");
  if (descriptors > 1 || (message.msg_flags & MSG_CTRUNC) != 0) {
    return fail(Code::kInvalidArgument, "a message with more than one descriptor");
  }
  if ((message.msg_flags & MSG_TRUNC) != 0) {
    return fail(Code::kInvalidArgument, "a message above 64 KiB");
  }
  out.bytes.resize(static_cast<std::size_t>(got));
  return out;
}

}  // namespace qmasq::vbond
