// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"

// The seam between the devlink backend and the kernel: rate objects of one devlink device, as
// devlink-rate(8) has them. Implementations: the kernel (kernel.h) and a fake with the same errnos
// (tests/support/fake_devlink.h).
namespace qmasq::qos::devlink {

// A devlink device: "pci/0000:03:00.0", "netdevsim/netdevsim10".
struct Handle {
  std::string bus;
  std::string device;
  bool operator==(const Handle&) const = default;
};
[[nodiscard]] Result<Handle> parse_handle(const std::string& text);
[[nodiscard]] std::string to_string(const Handle& handle);

// What names a rate object: a leaf by the index of its port, a node by its name.
struct RateId {
  enum class Kind : std::uint8_t { kLeaf, kNode };
  Kind kind = Kind::kLeaf;
  std::uint32_t port = 0;  // of leaves
  std::string name;        // of nodes: not empty, not a decimal number
  bool operator==(const RateId&) const = default;

  static RateId leaf(std::uint32_t port) { return {Kind::kLeaf, port, {}}; }
  static RateId node(std::string name) { return {Kind::kNode, 0, std::move(name)}; }
};
[[nodiscard]] std::string to_string(const RateId& id);  // "port 3", "node qmasq-vpc-17"

struct RateObject {
  RateId id;
  std::uint64_t tx_share = 0;  // bytes per second; 0: no guarantee
  std::uint64_t tx_max = 0;    // bytes per second; 0: no limit
  // 0: as the driver has it. Nothing: the kernel has no weights (older than 6.2).
  std::optional<std::uint32_t> tx_weight;
  std::string parent;  // name of a node; empty: none
  bool operator==(const RateObject&) const = default;
};

// What is not named stays.
struct RateChange {
  std::optional<std::uint64_t> tx_share;
  std::optional<std::uint64_t> tx_max;
  std::optional<std::uint32_t> tx_weight;
  std::optional<std::string> parent;  // empty: none
  [[nodiscard]] bool empty() const { return !tx_share && !tx_max && !tx_weight && !parent; }
  bool operator==(const RateChange&) const = default;
};

// For one thread at a time. Errors carry the errno and the kernel's own words (extended ack).
class Rates {
 public:
  virtual ~Rates() = default;
  [[nodiscard]] virtual Result<std::vector<RateObject>> objects() = 0;
  // ENODEV: no such port or node, or a port without a rate object.
  [[nodiscard]] virtual Result<RateObject> object(const RateId& id) = 0;
  // A node without limits and parent. EEXIST; EOPNOTSUPP: the device has no nodes (as it is now).
  [[nodiscard]] virtual Status add_node(const std::string& name) = 0;
  // In this order: share, maximum, weight, parent. Stops at the first that the driver refuses; what
  // came before stays. EBUSY: a parent while there is one; it must be unset first.
  [[nodiscard]] virtual Status set(const RateId& id, const RateChange& change) = 0;
  // EBUSY: it has children.
  [[nodiscard]] virtual Status delete_node(const std::string& name) = 0;
};

}  // namespace qmasq::qos::devlink
