// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <list>
#include <string>

#include "common/result.h"
#include "common/unique_fd.h"
#include "keeper/holdings.h"
#include "keeper/service_manager.h"
#include "keeper/wire.h"

namespace qmasq::keeper {

// A socket at `path`, mode 0600, and the lock that says that this process is its keeper. Both end
// with the process. kAlreadyExists: another keeper has it.
struct Listener {
  UniqueFd lock;
  UniqueFd socket;
};
[[nodiscard]] Result<Listener> listen_at(const std::string& path);

// Answers agents (protocol.h), one thread, one loop. What a peer does can end its own connection
// and nothing else.
class Server {
 public:
  // `signals`: a signalfd; whatever arrives there ends run().
  Server(int listener, int signals, Holdings& holdings, ServiceManager& manager)
      : listener_(listener), signals_(signals), holdings_(holdings), manager_(manager) {}

  // Gives the number of the signal.
  int run();

 private:
  enum class Standing { kNew, kWaiting, kSession };
  struct Connection {
    UniqueFd socket;
    pid_t pid = 0;
    Standing standing = Standing::kNew;
    std::uint64_t list_from = 0;  // next id of a list under way; 0: none is
    std::uint64_t listed = 0;
    bool gone = false;
  };

  void accept_one();
  void serve(Connection& peer, short events);
  void greet(Connection& peer, const Message& message);
  void answer(Connection& peer, Message message);
  void list_some(Connection& peer);
  void reply(Connection& peer, const Header& header);
  void hang_up(Connection& peer, const char* why);
  void sweep();
  [[nodiscard]] const Connection* session() const;

  int listener_;
  int signals_;
  Holdings& holdings_;
  ServiceManager& manager_;
  std::list<Connection> peers_;  // in order of arrival
  bool rest_ = false;            // no room for a connection: not asked for one for a moment
};

}  // namespace qmasq::keeper
