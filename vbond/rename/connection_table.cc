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

void ConnectionTable::link(const Connection& connection) {
  by_context_[connection.key.context].insert(connection.key.handle);
  by_endpoint_[connection.endpoint].insert(connection.key);
  if (connection.path) by_peer_[connection.path->peer].insert(connection.key);
  ++counts_.total;
  ++counts_.by_state[state_index(counts_, connection.state)];
  if (connection.connected) ++counts_.connected;
}

void ConnectionTable::unlink(const Connection& connection) {
  if (auto it = by_context_.find(connection.key.context); it != by_context_.end()) {
    it->second.erase(connection.key.handle);
    if (it->second.empty()) by_context_.erase(it);
  }
  drop(by_endpoint_, connection.endpoint, connection.key);
  if (connection.path) drop(by_peer_, connection.path->peer, connection.key);
  --counts_.total;
  --counts_.by_state[state_index(counts_, connection.state)];
  if (connection.connected) --counts_.connected;
}

void ConnectionTable::put(Connection connection) {
  std::unique_lock lock(mutex_);
  auto it = connections_.find(connection.key);
  if (it != connections_.end()) {
    unlink(it->second);
    it->second = std::move(connection);
  } else {
    it = connections_.emplace(connection.key, std::move(connection)).first;
  }
  link(it->second);
}

bool ConnectionTable::update(QpKey key, const std::function<void(Connection&)>& change) {
  std::unique_lock lock(mutex_);
  auto it = connections_.find(key);
  if (it == connections_.end()) return false;
  unlink(it->second);
  change(it->second);
  it->second.key = key;
  link(it->second);
  return true;
}

std::optional<Connection> ConnectionTable::remove(QpKey key) {
  std::unique_lock lock(mutex_);
  auto it = connections_.find(key);
  if (it == connections_.end()) return std::nullopt;
  unlink(it->second);
  Connection out = std::move(it->second);
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
    out.push_back(std::move(it->second));
    connections_.erase(it);
  }
  return out;
}

std::optional<Connection> ConnectionTable::find(QpKey key) const {
  std::shared_lock lock(mutex_);
  auto it = connections_.find(key);
  if (it == connections_.end()) return std::nullopt;
  return it->second;
}

ConnectionTable::Qpns ConnectionTable::qpns(QpKey key) const {
  std::shared_lock lock(mutex_);
  auto it = connections_.find(key);
  if (it == connections_.end()) return {};
  return {it->second.qpn, it->second.peer_qpn};
}

std::vector<QpKey> ConnectionTable::of_endpoint(EndpointUid endpoint) const {
  std::shared_lock lock(mutex_);
  auto it = by_endpoint_.find(endpoint);
  if (it == by_endpoint_.end()) return {};
  return {it->second.begin(), it->second.end()};
}

std::vector<QpKey> ConnectionTable::to_peer(EndpointUid peer) const {
  std::shared_lock lock(mutex_);
  auto it = by_peer_.find(peer);
  if (it == by_peer_.end()) return {};
  return {it->second.begin(), it->second.end()};
}

std::vector<Connection> ConnectionTable::list(const ConnectionFilter& filter) const {
  std::vector<Connection> out;
  {
    std::shared_lock lock(mutex_);
    for (const auto& [key, connection] : connections_) {
      if (is_under(connection, filter.parent)) out.push_back(connection);
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
