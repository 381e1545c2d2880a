// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/net_types.h"
#include "conntrack/tracker.h"
#include "vbond/rename/verdict.h"
#include "vbond/uverbs/abi.h"

namespace qmasq::vbond {

// A QP of a tenant: the context it lives in and the kernel's handle there. Or an address handle of
// UD, which is a connection by itself: its number is the agent's own, from kFirstAddressHandle on,
// where the kernel's handles, small numbers of one table per context, never come.
using QpKey = conntrack::ConnectionKey;
inline constexpr std::uint32_t kFirstAddressHandle = 1U << 31U;
[[nodiscard]] inline bool is_address_handle(const QpKey& key) {
  return key.handle >= kFirstAddressHandle;
}

// The fields of an address vector that are masqueraded, as one side sees them.
struct PathSide {
  Gid local;   // what sgid_index stands for
  Gid remote;  // dgid
  std::uint32_t flow_label = 0;
  std::uint8_t sgid_index = 0;
  std::uint8_t hop_limit = 0;
  std::uint8_t traffic_class = 0;
  std::uint8_t sl = 0;
  bool operator==(const PathSide&) const = default;
};

// Where a QP sends to. Made once when it is decided, then shared by the record and its events.
struct Path {
  PathSide virt;  // as the tenant gave it
  PathSide phys;  // as the NIC has it
  EndpointUid peer;
  HostUid peer_host;
  std::string peer_name;       // "vpcs/blue/endpoints/b"
  std::string peer_host_name;  // "hosts/hostB"
};
using PathPtr = std::shared_ptr<const Path>;

struct Connection {
  QpKey key;
  EndpointUid endpoint;
  std::string endpoint_name;  // "vpcs/blue/endpoints/a"
  std::string nic;
  pid_t pid = 0;
  std::string command;
  uverbs::QpType type{};  // 0: made before the agent could see it
  Qpn qpn;
  Qpn peer_qpn;
  uverbs::QpState state = uverbs::QpState::kReset;
  PathPtr path;  // null, or from the first address vector until RESET
  // Reached RTR with a path, and was neither reset nor destroyed. An address handle always is.
  bool connected = false;
  std::chrono::system_clock::time_point since;  // of `connected`

  // What the rules said when the path was admitted or looked at again last; null without a path.
  // conntrack::Tracker keeps the connections by what a change touches.
  conntrack::VerdictPtr verdict;
  conntrack::Ticket admission;     // its name there
  std::uint32_t asked_access = 0;  // qp_access_flags as the tenant wants them

  std::uint32_t address_handle = 0;  // the kernel's, of an address handle
  // Made by an agent before this one, and not asked about since.
  bool unadmitted = false;
};

// Empty fields match all.
struct ConnectionFilter {
  std::string parent;  // "vpcs/blue" or "vpcs/blue/endpoints/a"
};

struct ConnectionCounts {
  std::size_t total = 0;  // QPs
  std::size_t connected = 0;
  std::array<std::size_t, 7> by_state{};  // indexed by uverbs::QpState
  std::size_t address_handles = 0;
  std::size_t contexts = 0;  // with at least one QP or address handle
};

// Every QP and address handle of every tenant of this host. Thread-safe; answers are copies. The
// operations on one context come in order from its own worker, so a record does not change between
// a find() and an update() of the same key.
class ConnectionTable {
 public:
  // Replaces a record with the same key: the kernel gives a handle again once it is free.
  void put(Connection connection);
  // False: no such record. `change` runs under the table's lock; key and endpoint stay as they
  // were.
  bool update(QpKey key, const std::function<void(Connection&)>& change);
  std::optional<Connection> remove(QpKey key);
  // All of a context, which is gone.
  std::vector<Connection> remove_context(std::uint64_t context);

  [[nodiscard]] std::optional<Connection> find(QpKey key) const;
  // Zeros when there is no such record.
  struct Qpns {
    Qpn qpn;
    Qpn peer_qpn;
    uverbs::QpType type{};
    uverbs::QpState state = uverbs::QpState::kReset;  // as the agent last moved it
  };
  [[nodiscard]] Qpns qpns(QpKey key) const;
  // The UD QPs.
  [[nodiscard]] std::vector<QpKey> datagram_queue_pairs() const;
  // How many QPs an endpoint of this host has.
  [[nodiscard]] std::size_t count_of(EndpointUid endpoint) const;
  // In order of endpoint name, then context and handle.
  [[nodiscard]] std::vector<Connection> list(const ConnectionFilter& filter) const;
  [[nodiscard]] ConnectionCounts counts() const;

 private:
  struct KeyHash {
    std::size_t operator()(const QpKey& key) const noexcept {
      return static_cast<std::size_t>((key.context * 0x9E3779B97F4A7C15ULL) ^ key.handle);
    }
  };
  // REQUIRES of all: mutex_ held for writing.
  void link(const Connection& connection);
  void unlink(const Connection& connection);
  void count(const Connection& connection, std::size_t one);

  mutable std::shared_mutex mutex_;
  std::unordered_map<QpKey, Connection, KeyHash> connections_;
  std::unordered_map<std::uint64_t, std::unordered_set<std::uint32_t>> by_context_;
  std::unordered_map<EndpointUid, std::size_t> by_endpoint_;  // QPs alone
  std::unordered_set<QpKey, KeyHash> datagrams_;
  ConnectionCounts counts_;
};

// "rc", "uc", "ud", "xrc-ini", ... and "reset", "init", "rtr", "rts", "sqd", "sqe", "error", as
// `qmasq conn list` prints them.
[[nodiscard]] const char* transport_name(uverbs::QpType type);
[[nodiscard]] const char* state_name(uverbs::QpState state);

}  // namespace qmasq::vbond
