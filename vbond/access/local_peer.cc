// SPDX-License-Identifier: Apache-2.0
#include "vbond/access/local_peer.h"

#include <sys/socket.h>

#include <cerrno>

namespace qmasq::vbond {

Result<LocalPeer> peer_of(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return fail_errno(errno, "SO_PEERCRED");
  }
  if (credentials.pid <= 0) {
    return fail(Code::kPermissionDenied,
                "the program's process is not visible from the agent's pid namespace");
  }
  LocalPeer peer{credentials.pid, credentials.uid, credentials.gid, {}};
  // The first call says how many there are; they do not change after connect().
  socklen_t bytes = 0;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, nullptr, &bytes) == 0) return peer;
  if (errno != ERANGE) return fail_errno(errno, "SO_PEERGROUPS");
  peer.groups.resize(bytes / sizeof(gid_t));
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, peer.groups.data(), &bytes) != 0) {
    return fail_errno(errno, "SO_PEERGROUPS");
  }
  return peer;
}

}  // namespace qmasq::vbond
