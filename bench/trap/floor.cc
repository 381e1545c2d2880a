// SPDX-License-Identifier: Apache-2.0
#include "bench/trap/floor.h"

#include <utility>

#include "vbond/kernel/notification_port.h"

namespace qmasq::bench {

Status Floor::serve(UniqueFd listener) {
  QMASQ_ASSIGN(auto port, vbond::open_port(std::move(listener)));
  thread_ = std::thread([port = std::move(port)] {
    port->enter();
    while (true) {
      auto call = port->receive();
      if (call) {
        (void)port->answer(call->id, 0, 0);
      } else if (port->hung_up()) {
        return;
      }
    }
  });
  return {};
}

Floor::~Floor() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace qmasq::bench
