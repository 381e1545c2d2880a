// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "keeper/server.h"
#include "keeper/wire.h"

namespace qmasq::keeper {
namespace {

constexpr int kQueue = 16;

tl::unexpected<Error> failed(const std::string& what) {
  return fail(Code::kUnavailable, what + ": " + std::strerror(errno));
}

}  // namespace

Result<Listener> listen_at(const std::string& path) {
  sockaddr_un address{};
  if (!socket_address(path, address) || path.front() != '/') {
    return fail(Code::kInvalidArgument,
                "--socket: \"" + path + "\" is not a path from / of at most 107 bytes");
  }
  const std::string directory = path.substr(0, path.rfind('/'));
  if (!directory.empty() && ::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) {
    return failed("make the directory " + directory);
  }
  Listener out;
  // Decides between two that start at once, and says that a socket that is there is nobody's.
  const std::string lock = path + ".lock";
  out.lock.reset(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!out.lock.valid()) return failed("open " + lock);
  if (::flock(out.lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return failed("lock " + lock);
    return fail(Code::kAlreadyExists, "another keeper listens on " + path);
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return failed("remove the old " + path);
  out.socket.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!out.socket.valid()) return failed("socket");
  // Mode before it can be reached: umask is the whole process's, fchmod on the socket is not.
  if (::fchmod(out.socket.get(), 0600) != 0) return failed("mode of the socket");
  const auto* name = reinterpret_cast<const sockaddr*>(&address);
  if (::bind(out.socket.get(), name, sizeof(address)) != 0) return failed("bind " + path);
  if (::listen(out.socket.get(), kQueue) != 0) return failed("listen on " + path);
  return out;
}

}  // namespace qmasq::keeper
