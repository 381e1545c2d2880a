// SPDX-License-Identifier: Apache-2.0
#include "tests/support/fake_devlink.h"

#include <algorithm>
#include <cerrno>

namespace qmasq::test {

using qos::devlink::RateChange;
using qos::devlink::RateId;
using qos::devlink::RateObject;
using qos::devlink::Rates;

namespace {

constexpr std::uint64_t kUnit = 125'000;  // 1 Mbit/s in bytes

std::string describe(const RateId& id, const RateChange& change) {
  std::string text = "set " + to_string(id);
  if (change.tx_share) text += " share=" + std::to_string(*change.tx_share);
  if (change.tx_max) text += " max=" + std::to_string(*change.tx_max);
  if (change.tx_weight) text += " weight=" + std::to_string(*change.tx_weight);
  if (change.parent) text += " parent=" + *change.parent;
  return text;
}

bool is_number(const std::string& name) {
  return name.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace

class FakeRates final : public Rates {
 public:
  explicit FakeRates(FakeDevlink& device) : device_(device) {}

  Result<std::vector<RateObject>> objects() override {
    std::vector<RateObject> all;
    for (const auto& [name, node] : device_.nodes_)
      all.push_back(node);
    for (const auto& [port, leaf] : device_.leaves_)
      all.push_back(leaf);
    return all;
  }

  Result<RateObject> object(const RateId& id) override {
    QMASQ_ASSIGN(RateObject * found, device_.find(id));
    return *found;
  }

  Status add_node(const std::string& name) override {
    QMASQ_TRY(device_.meet("add node " + name));
    if (!device_.options_.nodes) return fail_errno(EOPNOTSUPP, "Rate nodes aren't supported");
    if (is_number(name)) return fail_errno(EINVAL, "devlink");
    if (device_.nodes_.count(name) != 0) return fail_errno(EEXIST, "devlink");
    RateObject& node = device_.nodes_[name];
    node.id = RateId::node(name);
    if (device_.options_.weights_in_kernel) node.tx_weight = 0;
    return {};
  }

  Status set(const RateId& id, const RateChange& change) override {
    QMASQ_TRY(device_.meet(describe(id, change)));
    QMASQ_ASSIGN(RateObject * object, device_.find(id));
    return device_.set(*object, change);
  }

  Status delete_node(const std::string& name) override {
    QMASQ_TRY(device_.meet("delete node " + name));
    QMASQ_TRY(device_.find(RateId::node(name)));
    auto below = [&](const auto& entry) { return entry.second.parent == name; };
    if (std::any_of(device_.leaves_.begin(), device_.leaves_.end(), below) ||
        std::any_of(device_.nodes_.begin(), device_.nodes_.end(), below)) {
      return fail_errno(EBUSY, "Node has children. Cannot delete node.");
    }
    device_.nodes_.erase(name);
    return {};
  }

 private:
  FakeDevlink& device_;
};

FakeDevlink::FakeDevlink(Options options) : options_(std::move(options)) {
  for (std::uint32_t port : options_.ports)
    add_port(port);
}

std::unique_ptr<Rates> FakeDevlink::connect() {
  return std::make_unique<FakeRates>(*this);
}

void FakeDevlink::fail_next(int err, int after, int times) {
  err_ = err;
  until_failure_ = after;
  failures_ = times;
}

void FakeDevlink::remove_port(std::uint32_t port) {
  leaves_.erase(port);
}

void FakeDevlink::add_port(std::uint32_t port) {
  RateObject& leaf = leaves_[port];
  leaf.id = RateId::leaf(port);
  if (options_.weights_in_kernel) leaf.tx_weight = 0;
}

std::vector<std::string> FakeDevlink::take_changes() {
  return std::exchange(changes_, {});
}

Status FakeDevlink::meet(const std::string& change) {
  changes_.push_back(change);
  if (failures_ == 0) return {};
  if (until_failure_ > 0) {
    --until_failure_;
    return {};
  }
  --failures_;
  return fail_errno(err_, "injected");
}

Result<RateObject*> FakeDevlink::find(const Id& id) {
  if (id.kind == RateId::Kind::kLeaf) {
    auto leaf = leaves_.find(id.port);
    if (leaf == leaves_.end()) return fail_errno(ENODEV, "devlink");
    return &leaf->second;
  }
  if (is_number(id.name)) return fail_errno(EINVAL, "devlink");
  auto node = nodes_.find(id.name);
  if (node == nodes_.end()) return fail_errno(ENODEV, "devlink");
  return &node->second;
}

bool FakeDevlink::supports(const RateChange& change, const Id& id, std::string& why) const {
  std::string what = id.kind == RateId::Kind::kLeaf ? "leafs" : "nodes";
  if (change.tx_share && !options_.share) why = "TX share set isn't supported for the " + what;
  if (change.tx_max && !options_.maximum) why = "TX max set isn't supported for the " + what;
  if (change.tx_weight && !options_.weights) why = "TX weight set isn't supported for the " + what;
  return why.empty();
}

Status FakeDevlink::set(Object& object, const RateChange& change) {
  if (change.tx_weight && !options_.weights_in_kernel) {
    return fail_errno(EINVAL, "Unknown attribute type");
  }
  if (std::string why; !supports(change, object.id, why)) return fail_errno(EOPNOTSUPP, why);
  auto rate = [&](std::uint64_t value, std::uint64_t& stored) -> Status {
    if (value % kUnit != 0) {
      return fail_errno(EINVAL, "TX rate value not in link speed units of 1Mbps.");
    }
    if (value / kUnit > options_.link_mbit) {
      return fail_errno(EINVAL, "TX rate value exceed link maximum speed 5000Mbps.");
    }
    stored = value;
    return {};
  };
  if (change.tx_share) QMASQ_TRY(rate(*change.tx_share, object.tx_share));
  if (change.tx_max) QMASQ_TRY(rate(*change.tx_max, object.tx_max));
  if (change.tx_weight) {
    if (*change.tx_weight < options_.least_weight || *change.tx_weight > 200) {
      return fail_errno(EINVAL, "Weight must be between 1 and 200");
    }
    object.tx_weight = change.tx_weight;
  }
  if (change.parent) QMASQ_TRY(set_parent(object, *change.parent));
  return {};
}

Status FakeDevlink::set_parent(Object& object, const std::string& parent) {
  if (parent.empty()) {
    object.parent.clear();
    return {};
  }
  if (!object.parent.empty()) return fail_errno(EBUSY, "Rate object already has parent.");
  auto node = nodes_.find(parent);
  if (node == nodes_.end()) return fail_errno(ENODEV, "devlink");
  if (&node->second == &object) return fail_errno(EINVAL, "Parent to self is not allowed");
  for (std::string up = node->second.parent; !up.empty(); up = nodes_.at(up).parent) {
    if (object.id == RateId::node(up)) {
      return fail_errno(EEXIST, "Node is already a parent of parent node.");
    }
  }
  object.parent = parent;
  return {};
}

}  // namespace qmasq::test
