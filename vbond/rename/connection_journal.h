// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "vbond/rename/connection_table.h"

namespace qmasq::vbond {

// What of a QP or address handle cannot be asked of the kernel.
struct JournaledConnection {
  // A peer, as the tenant named it and as the NIC has it.
  struct Leg {
    Path path;
    Qpn peer_qpn;
    std::uint32_t asked_access = 0;
  };
  QpKey key;
  uverbs::QpType type{};
  Qpn qpn;
  std::uint32_t address_handle = 0;  // the kernel's; 0 while it is being made
  std::uint32_t asked_access = 0;
  std::chrono::system_clock::time_point since;
  std::optional<Leg> now;
  // Written before the kernel is asked to lead it there. What the kernel then has says whether it
  // did.
  std::optional<Leg> next;
};

// Keeps that beyond the agent's end. Calls take no longer than a copy, fail silently (whoever keeps
// it says so), and come in order for each key. Thread-safe.
class ConnectionJournal {
 public:
  virtual ~ConnectionJournal() = default;
  virtual void put(const JournaledConnection& connection) = 0;
  virtual void remove(QpKey key) = 0;
};

}  // namespace qmasq::vbond
