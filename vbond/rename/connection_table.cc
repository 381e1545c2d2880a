// SPDX-License-Identifier: Apache-2.0
#include "vbond/rename/connection_table.h"

#include <algorithm>
#include <mutex>
#include <tuple>
#include <utility>

namespace qmasq::vbond {
namespace {

bool is_under(const Connection& connection, const std::string& parent) {
  const std::string& name = connection.endpoint_name;
  return parent.empty() || name == parent ||
         (name.starts_with(parent) && name.size() > parent.size() && name[parent.size()] == '/');
}

std::size_t state_index(const ConnectionCounts& counts, uverbs::QpState state) {
  return std::min(static_cast<std::size_t>(state), counts.by_state.size() - 1);
}

template <typename Map, typename Key>
void drop(Map& map, const Key& key, const QpKey& qp) {
  auto it = map.find(key);
  if (it == map.end()) return;
  it->second.erase(qp);
  if (it->second.empty()) map.erase(it);
}

}  // namespace

void ConnectionTable::count(const Connection& connection, std::size_t one) {
  counts_.total += one;
  counts_.by_state[state_index(counts_, connection.state)] += one;
  if (connection.connected) counts_.connected += one;
}

void ConnectionTable::move_peer(Entry& entry, const Path* from, const Path* to) {
  if (from != nullptr && to != nullptr && from->peer == to->peer) return;
  decltype(by_peer_)::node_type spare;  // of a list that ends, for one that begins
  if (from != nullptr) {
    if (entry.next != nullptr) entry.next->previous = entry.previous;
    if (entry.previous != nullptr) {
      entry.previous->next = entry.next;
    } else if (auto first = by_peer_.find(from->peer); entry.next != nullptr) {
      first->second = entry.next;
    } else {
      spare = by_peer_.extract(first);
    }
    entry.previous = nullptr;
    entry.next = nullptr;
  }
  if (to == nullptr) return;
  if (auto first = by_peer_.find(to->peer); first != by_peer_.end()) {
    entry.next = std::exchange(first->second, &entry);
    entry.next->previous = &entry;
  } else if (!spare.empty()) {
    spare.key() = to->peer;
    spare.mapped() = &entry;
    by_peer_.insert(std::move(spare));
  } else {
    by_peer_.emplace(to->peer, &entry);
  }
}

void ConnectionTable::link(Entry& entry) {
  const Connection& connection = entry.connection;
  by_context_[connection.key.context].insert(connection.key.handle);
  by_endpoint_[connection.endpoint].insert(connection.key);
  move_peer(entry, nullptr, connection.path.get());
  count(connection, 1);
}

void ConnectionTable::unlink(Entry& entry) {
  const Connection& connection = entry.connection;
  if (auto it = by_context_.find(connection.key.context); it != by_context_.end()) {
    it->second.erase(connection.key.handle);
    if (it->second.empty()) by_context_.erase(it);
  }
  drop(by_endpoint_, connection.endpoint, connection.key);
  move_peer(entry, connection.path.get(), nullptr);
  count(connection, static_cast<std::size_t>(-1));
}

void ConnectionTable::put(Connection connection) {
  std::unique_lock lock(mutex_);
  auto [it, is_new] = connections_.try_emplace(connection.key);
  if (!is_new) unlink(it->second);
  it->second.connection = std::move(connection);
  link(it->second);
}

bool ConnectionTable::update(QpKey key, const std::function<void(Connection&)>& change) {
  std::unique_lock lock(mutex_);
  auto it = connections_.find(key);
  if (it == connections_.end()) return false;
  Entry& entry = it->second;
  Connection& connection = entry.connection;
  const EndpointUid endpoint = connection.endpoint;
  const PathPtr path = connection.path;
  count(connection, static_cast<std::size_t>(-1));
  change(connection);
  connection.key = key;
  connection.endpoint = endpoint;
  count(connection, 1);
  move_peer(entry, path.get(), connection.path.get());
  return true;
}

std::optional<Connection> ConnectionTable::remove(QpKey key) {
  std::unique_lock lock(mutex_);
  auto it = connections_.find(key);
  if (it == connections_.end()) return std::nullopt;
  unlink(it->second);
  Connection out = std::move(it->second.connection);
  connections_.erase(it);
  return out;
}

std::vector<Connection> ConnectionTable::remove_context(std::uint64_t context) {
  std::unique_lock lock(mutex_);
  std::vector<Connection> out;
  auto owned = by_context_.find(context);
  if (owned == by_context_.end()) return out;
  std::vector<std::uint32_t> handles(owned->second.begin(), owned->second.end());
  std::sort(handles.begin(), handles.end());
  for (std::uint32_t handle : handles) {
    auto it = connections_.find(QpKey{context, handle});
    unlink(it->second);
    out.push_back(std::move(it->second.connection));
    connections_.erase(it);
  }
  return out;
}

std::optional<Connection> ConnectionTable::find(QpKey key) const {
  std::shared_lock lock(mutex_);
  auto it = connections_.find(key);
  if (it == connections_.end()) return std::nullopt;
  return it->second.connection;
}

ConnectionTable::Qpns ConnectionTable::qpns(QpKey key) const {
  std::shared_lock lock(mutex_);
  auto it = connections_.find(key);
  if (it == connections_.end()) return {};
  return {it->second.connection.qpn, it->second.connection.peer_qpn};
}

std::vector<QpKey> ConnectionTable::of_endpoint(EndpointUid endpoint) const {
  std::shared_lock lock(mutex_);
  auto it = by_endpoint_.find(endpoint);
  if (it == by_endpoint_.end()) return {};
  return {it->second.begin(), it->second.end()};
}

std::vector<QpKey> ConnectionTable::to_peer(EndpointUid peer) const {
  std::shared_lock lock(mutex_);
  std::vector<QpKey> out;
  auto it = by_peer_.find(peer);
  for (const Entry* at = it == by_peer_.end() ? nullptr : it->second; at != nullptr; at = at->next)
    out.push_back(at->connection.key);
  return out;
}

std::vector<Connection> ConnectionTable::list(const ConnectionFilter& filter) const {
  std::vector<Connection> out;
  {
    std::shared_lock lock(mutex_);
    for (const auto& [key, entry] : connections_) {
      if (is_under(entry.connection, filter.parent)) out.push_back(entry.connection);
    }
  }
  std::sort(out.begin(), out.end(), [](const Connection& a, const Connection& b) {
    return std::tie(a.endpoint_name, a.key) < std::tie(b.endpoint_name, b.key);
  });
  return out;
}

ConnectionCounts ConnectionTable::counts() const {
  std::shared_lock lock(mutex_);
  ConnectionCounts out = counts_;
  out.contexts = by_context_.size();
  return out;
}

const char* transport_name(uverbs::QpType type) {
  switch (type) {
    case uverbs::QpType::kRc:
      return "rc";
    case uverbs::QpType::kUc:
      return "uc";
    case uverbs::QpType::kUd:
      return "ud";
    case uverbs::QpType::kRawPacket:
      return "raw-packet";
    case uverbs::QpType::kXrcIni:
      return "xrc-ini";
    case uverbs::QpType::kXrcTgt:
      return "xrc-tgt";
    case uverbs::QpType::kDriver:
      return "driver";
  }
  return "unknown";
}

const char* state_name(uverbs::QpState state) {
  switch (state) {
    case uverbs::QpState::kReset:
      return "reset";
    case uverbs::QpState::kInit:
      return "init";
    case uverbs::QpState::kRtr:
      return "rtr";
    case uverbs::QpState::kRts:
      return "rts";
    case uverbs::QpState::kSqd:
      return "sqd";
    case uverbs::QpState::kSqe:
      return "sqe";
    case uverbs::QpState::kErr:
      return "error";
  }
  return "unknown";
}

}  // namespace qmasq::vbond
