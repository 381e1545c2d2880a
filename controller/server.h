// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "common/clock.h"
#include "common/result.h"
#include "controller/model/auth_types.h"

namespace prometheus {
class Registry;
}  // namespace prometheus

namespace qmasq::controller {

struct ServerOptions {
  std::string data_dir;
  std::string socket;            // for users of this machine, whom the kernel names; empty: none
  std::string listen;            // "ADDR:PORT" for hosts and remote admins, with TLS; empty: none
  bool insecure_listen = false;  // without TLS, then on loopback only
  std::chrono::milliseconds heartbeat{5000};
  std::uint32_t calls_per_second = 5000;  // of one caller
  AuditRetention audit;
};

// The whole controller: store, watches, services, sockets. Made of its parts here and nowhere else.
class Server {
 public:
  // Errors name what is at fault: the data directory, the socket, the address.
  // `clock` and `registry` must outlive the server.
  [[nodiscard]] static Result<std::unique_ptr<Server>> start(const ServerOptions& options,
                                                             const Clock& clock,
                                                             prometheus::Registry& registry);
  // Ends calls and streams, then everything else.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // "ADDRESS:PORT" as served: with the kernel's choice where the port asked for was 0. Or empty.
  [[nodiscard]] std::string listen_address() const;

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts);

  std::unique_ptr<Parts> parts_;
};

}  // namespace qmasq::controller
