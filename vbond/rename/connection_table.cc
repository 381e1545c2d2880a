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

}  // namespace

void ConnectionTable::count(const Connection& connection, std::size_t one) {
  if (connection.connected) counts_.connected += one;
  if (is_address_handle(connection.key)) {
    counts_.address_handles += one;
    return;
  }
  counts_.total += one;
  counts_.by_state[state_index(counts_, connection.state)] += one;
}

void ConnectionTable::link(const Connection& connection) {
  by_context_[connection.key.context].insert(connection.key.handle);
  if (!is_address_handle(connection.key)) {
    ++by_endpoint_[connection.endpoint];
    if (connection.type == uverbs::QpType::kUd) datagrams_.insert(connection.key);
  }
  count(connection, 1);
}

void ConnectionTable::unlink(const Connection& connection) {
  if (auto it = by_context_.find(connection.key.context); it != by_context_.end()) {
    it->second.erase(connection.key.handle);
    if (it->second.empty()) by_context_.erase(it);
  }
  if (!is_address_handle(connection.key)) {
    auto it = by_endpoint_.find(connection.endpoint);
    if (--it->second == 0) by_endpoint_.erase(it);
    datagrams_.erase(connection.key);
  }
  count(connection, static_cast<std::size_t>(-1));
}

void ConnectionTable::put(Connection connection) {
  std::unique_lock lock(mutex_);
  auto [it, is_new] = connections_.try_emplace(connection.key);
  if (!is_new) unlink(it->second);
  it->second = std::move(connection);
  link(it->second);
}

bool ConnectionTable::update(QpKey key, const std::function<void(Connection&)>& change) {
  std::unique_lock lock(mutex_);
  auto it = connections_.find(key);
  if (it == connections_.end()) return false;
  Connection& connection = it->second;
  const EndpointUid endpoint = connection.endpoint;
  count(connection, static_cast<std::size_t>(-1));
  change(connection);
  connection.key = key;
  connection.endpoint = endpoint;
  count(connection, 1);
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
  return {it->second.qpn, it->second.peer_qpn, it->second.type, it->second.state};
}

std::vector<QpKey> ConnectionTable::datagram_queue_pairs() const {
  std::shared_lock lock(mutex_);
  return {datagrams_.begin(), datagrams_.end()};
}

std::size_t ConnectionTable::count_of(EndpointUid endpoint) const {
  std::shared_lock lock(mutex_);
  auto it = by_endpoint_.find(endpoint);
  return it == by_endpoint_.end() ? 0 : it->second;
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
