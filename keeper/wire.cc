// SPDX-License-Identifier: Apache-2.0
#include "keeper/wire.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace qmasq::keeper {
namespace {

// Room for more than the one we accept, so that a second is seen (and closed) and not just cut off.
constexpr std::size_t kRoomForDescriptors = 4;

// Takes the first into `out`, closes the others. Gives how many came.
std::size_t take_descriptors(msghdr& message, UniqueFd& out) {
  std::size_t taken = 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
      UniqueFd owned(fd);
      if (taken++ == 0) out = std::move(owned);
    }
  }
  return taken;
}

}  // namespace

bool socket_address(std::string_view path, sockaddr_un& out) {
  out = {};
  out.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(out.sun_path)) return false;
  std::memcpy(out.sun_path, path.data(), path.size());
  return true;
}

int send_message(int socket, Header header, std::string_view text, int descriptor) {
  if (text.size() > kMaxText) return EMSGSIZE;
  header.size = static_cast<std::uint32_t>(text.size());
  std::array<iovec, 2> pieces{
      {{&header, sizeof(header)}, {const_cast<char*>(text.data()), text.size()}}};
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
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
    sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? errno : 0;
}

int receive_message(int socket, Message& out) {
  out = {};
  // One byte more than a packet has, so that a longer one shows.
  std::array<char, kMaxPacket + 1> bytes;  // NOLINT: only what was received is read
  iovec piece{bytes.data(), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kRoomForDescriptors * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got = -1;
  do {
    got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return errno == ECONNRESET ? EPIPE : errno;

  const std::size_t descriptors = take_descriptors(message, out.descriptor);
  const auto size = static_cast<std::size_t>(got);
  if (size == 0 && descriptors == 0) return EPIPE;
  if (size < sizeof(Header) || descriptors > 1) return EBADMSG;
  std::memcpy(&out.header, bytes.data(), sizeof(Header));
  // Another version may have other sizes, and it is for the caller to say that it is another.
  if (out.header.magic != kMagic) return EBADMSG;
  if (out.header.version != kVersion) return 0;
  if (out.header.size != size - sizeof(Header) || out.header.size > kMaxText) return EBADMSG;
  out.text.assign(bytes.data() + sizeof(Header), out.header.size);
  if ((message.msg_flags & MSG_CTRUNC) != 0) return descriptors == 0 ? EMFILE : EBADMSG;
  return 0;
}

}  // namespace qmasq::keeper
