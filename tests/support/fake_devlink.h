// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "qos/backends/devlink/rates.h"

namespace qmasq::test {

// Rate objects of one devlink device in memory, with the errnos and the words of Linux's devlink
// and netdevsim: the contract (rates_contract.h) holds both to the same answers. Not thread-safe.
// Outlives what it hands out.
class FakeDevlink {
 public:
  struct Options {
    std::string handle = "netdevsim/netdevsim10";
    std::vector<std::uint32_t> ports{128, 129, 130, 131};  // with leaves
    std::uint32_t physical = 0;                            // a port without one
    // What the kernel and the driver have.
    bool nodes = true;
    bool share = true;
    bool maximum = true;
    bool weights_in_kernel = false;
    bool weights = false;            // in the driver
    std::uint32_t least_weight = 0;  // ice: 1
    std::uint64_t link_mbit = 5000;
  };
  FakeDevlink() : FakeDevlink(Options()) {}
  explicit FakeDevlink(Options options);

  // A connection; they all see the same device.
  [[nodiscard]] std::unique_ptr<qos::devlink::Rates> connect();

  // Calls from the `after`-th of the operations that change something on fail with `err`, `times`
  // times. failures_left() == 0 proves that all were met.
  void fail_next(int err, int after = 0, int times = 1);
  [[nodiscard]] int failures_left() const { return failures_; }
  // The port of a function that is taken away, or comes.
  void remove_port(std::uint32_t port);
  void add_port(std::uint32_t port);
  // Changes since the last call, also those that failed: "set port 128 parent=qmasq-vpc-1".
  std::vector<std::string> take_changes();

 private:
  friend class FakeRates;
  using Object = qos::devlink::RateObject;
  using Id = qos::devlink::RateId;
  Result<Object*> find(const Id& id);
  Status set(Object& object, const qos::devlink::RateChange& change);
  Status set_parent(Object& object, const std::string& parent);
  [[nodiscard]] bool supports(const qos::devlink::RateChange& change, const Id& id,
                              std::string& why) const;
  // Counts a change; an error when it is to fail.
  Status meet(const std::string& change);

  Options options_;
  std::map<std::uint32_t, Object> leaves_;
  std::map<std::string, Object> nodes_;
  std::vector<std::string> changes_;
  int err_ = 0;
  int until_failure_ = 0;
  int failures_ = 0;
};

}  // namespace qmasq::test
