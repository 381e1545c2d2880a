// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "common/net_types.h"
#include "common/result.h"
#include "common/unique_fd.h"
#include "vbond/access/local_peer.h"
#include "vbond/attach/protocol.h"
#include "vbond/kernel/notification_port.h"

namespace qmasq::vbond {

// A program that wants in, as the kernel tells it; the command is its own word.
struct AttachPeer : LocalPeer {
  std::string command;
  // Where its filter keeps mappings as they are; 0: nowhere. Its own word as well, as that it has
  // this filter at all.
  std::uint64_t kept_below = 0;
};

// What the agent does about it. Called from connection threads, several at a time; may block for as
// long as a namespace takes to come up.
class AttachHandler {
 public:
  struct Offer {
    EndpointUid endpoint;
    AttachTerms terms;
    UniqueFd netns;
  };
  virtual ~AttachHandler() = default;
  // Whether the program may at all; then resolves the endpoint, has its namespace made or joined.
  [[nodiscard]] virtual Result<Offer> offer(const std::string& endpoint,
                                            const AttachPeer& peer) = 0;
  // The program has its filter in place; from here on the port is the agent's. The program execs
  // when this succeeded.
  [[nodiscard]] virtual Status attached(EndpointUid endpoint, const AttachPeer& peer,
                                        std::unique_ptr<NotificationPort> port) = 0;
};

struct AttachServerOptions {
  std::string socket = kDefaultAttachSocket;
  // A peer that stalls the protocol is let go.
  std::chrono::milliseconds patience{5000};
  // A quarter of it at most for one user who is not root, and a quarter kept for root.
  unsigned max_connections = 32;
};

// The agent's side of the attach protocol: one thread that accepts, one for each program that is
// on its way in. A slow program delays nobody else; beyond max_connections programs are told to try
// again. The socket is open to all (0666): the handler says who may attach to what. A listener is
// taken only from the very process that it listens to.
class AttachServer {
 public:
  // Binds and starts. An old socket file is replaced when nobody listens on it; otherwise
  // kAlreadyExists. The handler must outlive the server.
  [[nodiscard]] static Result<std::unique_ptr<AttachServer>> start(AttachServerOptions options,
                                                                   AttachHandler& handler);
  // Stops accepting, ends connections, joins all threads, removes the socket file.
  ~AttachServer();
  AttachServer(const AttachServer&) = delete;
  AttachServer& operator=(const AttachServer&) = delete;

 private:
  struct Connection {
    UniqueFd socket;
    LocalPeer peer;
    std::atomic<bool> done = false;
    std::thread thread;
  };

  AttachServer(AttachServerOptions options, AttachHandler& handler, UniqueFd socket, UniqueFd stop);
  void accept_loop();
  void serve(Connection& connection);
  // Whether one more of this user may come in. REQUIRES: mutex_ held.
  [[nodiscard]] Status check_seat(uid_t uid) const;
  void reap(bool all);

  const AttachServerOptions options_;
  AttachHandler& handler_;
  UniqueFd socket_;
  UniqueFd stop_;  // eventfd
  std::mutex mutex_;
  std::list<Connection> connections_;  // guarded by mutex_
  std::thread acceptor_;
};

}  // namespace qmasq::vbond
