// SPDX-License-Identifier: Apache-2.0
#include "tests/support/fake_qos_backend.h"

#include <cerrno>
#include <utility>

namespace qmasq::test {

using qos::NodeId;
using Kind = qos::NodeId::Kind;

class FakeLimits::One final : public qos::Backend {
 public:
  explicit One(FakeLimits& kernel) : kernel_(kernel), capabilities_(kernel.capabilities) {}

  [[nodiscard]] const char* name() const override { return "fake"; }
  [[nodiscard]] const qos::Capabilities& capabilities() const override { return capabilities_; }

  [[nodiscard]] Result<qos::Plan> readback(const VpcOf& vpc_of) override {
    std::lock_guard lock(kernel_.mutex_);
    ++kernel_.readbacks_;
    if (kernel_.failing_readbacks_ > 0) {
      --kernel_.failing_readbacks_;
      return fail_errno(ENOBUFS, "read what limits the NIC");
    }
    read_ = true;
    qos::Plan out;
    for (const auto& [id, entry] : kernel_.nodes_) {
      if (id.kind == Kind::kEndpoint) {
        auto vpc = vpc_of(EndpointUid{id.uid});
        if (!vpc || NodeId::vpc(*vpc) != entry.node.parent) {
          kernel_.leftovers_.insert(id);
          continue;
        }
      }
      out.nodes.emplace(id, entry.node);
    }
    return out;
  }

  [[nodiscard]] std::vector<Status> program(std::span<const qos::Step> steps) override {
    std::lock_guard lock(kernel_.mutex_);
    std::vector<Status> out;
    for (NodeId id : std::exchange(kernel_.leftovers_, {}))
      kernel_.nodes_.erase(id);
    for (const qos::Step& step : steps) {
      if (!read_) {
        out.push_back(fail(Code::kInternal, "program() before readback()"));
        continue;
      }
      ++kernel_.steps_;
      auto failing = kernel_.failing_.find(step.node.id);
      if (failing != kernel_.failing_.end() && failing->second > 0) {
        --failing->second;
        out.push_back(fail_errno(ENOMEM, "program " + to_string(step.node.id)));
        continue;
      }
      out.push_back(kernel_.carry_out(step));
    }
    return out;
  }

  [[nodiscard]] Result<std::map<NodeId, qos::Counters>> counters() override {
    std::lock_guard lock(kernel_.mutex_);
    if (kernel_.failing_counters_ > 0) {
      --kernel_.failing_counters_;
      return fail_errno(ENOBUFS, "read counters");
    }
    std::map<NodeId, qos::Counters> out;
    if (!capabilities_.counters) return out;
    for (const auto& [id, entry] : kernel_.nodes_)
      out.emplace(id, entry.counters);
    return out;
  }

 private:
  FakeLimits& kernel_;
  const qos::Capabilities capabilities_;
  bool read_ = false;
};

FakeLimits::FakeLimits() {
  capabilities.guarantee = true;
  capabilities.maximum = true;
  capabilities.burst = true;
  capabilities.weight = true;
  capabilities.per_vpc = true;
  capabilities.per_endpoint = true;
  capabilities.counters = true;
  capabilities.granularity = BitsPerSecond{8};
  capabilities.most_nodes = 65'000;
}

std::unique_ptr<qos::Backend> FakeLimits::backend() {
  return std::make_unique<One>(*this);
}

Status FakeLimits::add(const qos::Node& node) {
  const bool is_root = node.id == NodeId::nic();
  if (is_root && foreign_) {
    return fail(Code::kFailedPrecondition,
                "a qdisc of the site's is there: remove it, or give the NIC another backend");
  }
  if (nodes_.contains(node.id)) return fail_errno(EEXIST, "add " + to_string(node.id));
  if (!is_root && !nodes_.contains(node.parent)) {
    return fail_errno(ENOENT, "the parent of " + to_string(node.id));
  }
  for (const auto& [id, other] : nodes_) {
    const qos::PortBlock& held = other.node.ports;
    const qos::PortBlock& asked = node.ports;
    if (held.count != 0 && asked.count != 0 && asked.first < held.first + held.count &&
        held.first < asked.first + asked.count) {
      return fail_errno(EBUSY, "ports of " + to_string(node.id));
    }
  }
  nodes_[node.id] = {node, {}};
  return {};
}

Status FakeLimits::take(NodeId id) {
  auto found = nodes_.find(id);
  if (found == nodes_.end()) return fail_errno(ENOENT, "remove " + to_string(id));
  if (id == NodeId::nic()) {
    nodes_.clear();
    return {};
  }
  for (const auto& [other, entry] : nodes_) {
    if (entry.node.parent == id && other != id) return fail_errno(EBUSY, "remove " + to_string(id));
  }
  nodes_.erase(found);
  return {};
}

Status FakeLimits::carry_out(const qos::Step& step) {
  switch (step.kind) {
    case qos::Step::Kind::kAdd:
      return add(step.node);
    case qos::Step::Kind::kRemove:
      return take(step.node.id);
    case qos::Step::Kind::kChange:
      break;
  }
  auto found = nodes_.find(step.node.id);
  if (found == nodes_.end()) return fail_errno(ENOENT, "change " + to_string(step.node.id));
  found->second.node = step.node;
  return {};
}

qos::Plan FakeLimits::plan() const {
  std::lock_guard lock(mutex_);
  qos::Plan out;
  for (const auto& [id, entry] : nodes_)
    out.nodes.emplace(id, entry.node);
  return out;
}

void FakeLimits::wipe() {
  std::lock_guard lock(mutex_);
  nodes_.clear();
}

void FakeLimits::remove(NodeId id) {
  std::lock_guard lock(mutex_);
  nodes_.erase(id);
}

void FakeLimits::change(const qos::Node& node) {
  std::lock_guard lock(mutex_);
  nodes_[node.id].node = node;
}

void FakeLimits::set_foreign(bool foreign) {
  std::lock_guard lock(mutex_);
  foreign_ = foreign;
}

void FakeLimits::fail_next(NodeId id, int times) {
  std::lock_guard lock(mutex_);
  failing_[id] = times;
}

void FakeLimits::fail_readbacks(int times) {
  std::lock_guard lock(mutex_);
  failing_readbacks_ = times;
}

void FakeLimits::fail_counters(int times) {
  std::lock_guard lock(mutex_);
  failing_counters_ = times;
}

void FakeLimits::count(NodeId id, const qos::Counters& more) {
  std::lock_guard lock(mutex_);
  auto found = nodes_.find(id);
  if (found == nodes_.end()) return;
  qos::Counters& counters = found->second.counters;
  counters.bytes += more.bytes;
  counters.packets += more.packets;
  counters.drops += more.drops;
  counters.overlimits += more.overlimits;
  counters.backlog = more.backlog;
}

std::size_t FakeLimits::steps() const {
  std::lock_guard lock(mutex_);
  return steps_;
}

std::size_t FakeLimits::readbacks() const {
  std::lock_guard lock(mutex_);
  return readbacks_;
}

}  // namespace qmasq::test
