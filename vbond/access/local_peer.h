// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <vector>

#include "common/result.h"

namespace qmasq::vbond {

// The process at the other end of a Unix socket as it was when it connected; numbers are those of
// this process's pid and user namespaces (unix(7): SO_PEERCRED, SO_PEERGROUPS).
struct LocalPeer {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary
};

// kPermissionDenied when its process is not visible from here: it is in a pid namespace beside
// ours.
[[nodiscard]] Result<LocalPeer> peer_of(int socket);

}  // namespace qmasq::vbond
