// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/server.h>
#include <sys/types.h>

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"

namespace qmasq::trust {

// Who connected to a Unix socket, as the kernel noted it then.
struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary

  [[nodiscard]] bool in_group(gid_t group) const;
};
// "unix:pid=812,uid=0".
[[nodiscard]] std::string to_string(const PeerCredentials& peer);

// A Unix socket of a gRPC server whose callers are known. gRPC hides a connection's credentials, so
// this accepts connections itself, asks the kernel who is there, and hands them to the server; a
// call's ServerContext::peer() is then "fd:N", with N of ours.
//
// A number must not come to mean somebody else while a call of the one before may still ask. So we
// choose the numbers, rising, from a range of their own; we know of each connection when it ends;
// from then on its number means nobody, and it is used again only kQuarantine later.
//
// Any thread. Raises the process's soft limit of descriptors to its hard one, at most to
// kLastNumber, as each connection takes two.
class PeerSocket {
 public:
  static constexpr int kLastNumber = 65536;
  static constexpr std::chrono::seconds kQuarantine{30};

  struct Limits {
    std::size_t connections = 1024;
    // Of one user other than root: who fills the socket shuts out only themselves.
    std::size_t per_user = 64;
  };

  // Binds and listens; connections wait until serve(). Nothing may be at the path (a stale socket
  // is the caller's to remove). Removes the socket when it goes.
  [[nodiscard]] static Result<std::unique_ptr<PeerSocket>> listen(const std::string& path,
                                                                  mode_t mode,
                                                                  const Limits& limits);
  // One that listens already, given by somebody else; its path is not touched.
  [[nodiscard]] static Result<std::unique_ptr<PeerSocket>> adopt(UniqueFd listener,
                                                                 const Limits& limits);
  PeerSocket(const PeerSocket&) = delete;
  PeerSocket& operator=(const PeerSocket&) = delete;
  // After the server's shutdown: calls that run still ask.
  ~PeerSocket();

  // Starts to accept. The server must live until stop() returned.
  void serve(grpc::Server& server);
  // No new connections from here on; those that stand are the server's to end. Idempotent.
  void stop();

  // Of a call's ServerContext::peer(). Nothing for a call over another listener, and for one whose
  // connection has ended: such a caller is nobody.
  [[nodiscard]] std::optional<PeerCredentials> find(std::string_view peer) const;
  [[nodiscard]] std::size_t connections() const;
  // Connections closed at once because of Limits.
  [[nodiscard]] std::uint64_t refused() const;

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Connection {
    PeerCredentials peer;
    UniqueFd watch;  // the same connection; invalid once it ended
    std::optional<Time> ended;
  };

  PeerSocket(UniqueFd listener, std::string path, const Limits& limits);
  Status prepare();
  void run(grpc::Server& server);
  void accept_one(grpc::Server& server);
  [[nodiscard]] bool has_room(uid_t uid) const;  // mutex_ held
  UniqueFd take_number(int fd);                  // mutex_ held
  void end(int number);
  void forget_old();

  const Limits limits_;
  const std::string path_;
  UniqueFd listener_;
  UniqueFd epoll_;
  UniqueFd wake_;
  std::thread thread_;
  int first_ = 0;
  int last_ = 0;
  mutable std::mutex mutex_;  // guards the below
  int next_ = 0;
  std::map<int, Connection> by_number_;
  std::size_t alive_ = 0;
  std::uint64_t refused_ = 0;
};

}  // namespace qmasq::trust
