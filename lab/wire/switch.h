// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"

// The lab's Ethernet: a learning switch. Each lab host is one connection on a Unix socket that
// speaks QEMU's stream format, a u32 big-endian length before each frame. One thread.
namespace qmasq::lab {

class Switch {
 public:
  // Listens on `path`; a stale socket there is replaced.
  [[nodiscard]] static Result<Switch> listen(const std::string& path);

  // Waits for traffic and moves it, for ever.
  [[nodiscard]] Status run();

 private:
  struct Port {
    UniqueFd fd;
    std::vector<std::byte> in;
    std::vector<std::byte> out;
    std::size_t sent = 0;  // of `out`
  };

  explicit Switch(UniqueFd listener) : listener_(std::move(listener)) {}

  void accept_port();
  // The two below return false when the port is gone or speaks nonsense.
  bool read_port(Port& port);
  static bool flush_port(Port& port);
  void move_frame(const Port& from, std::span<const std::byte> framed);
  static void enqueue(Port& port, std::span<const std::byte> framed);
  void remove_port(const Port* port);

  UniqueFd listener_;
  std::vector<std::unique_ptr<Port>> ports_;
  std::map<std::uint64_t, Port*> learnt_;  // station address -> port
};

}  // namespace qmasq::lab
