// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "qos/backends/devlink/backend.h"
#include "qos/backends/devlink/rates.h"
#include "tests/support/qos_contract.h"

// What devlink's rate objects must do, and what the backend makes of them. Run on the fake (unit)
// and on netdevsim (integration): instantiate both suites with a factory.
namespace qmasq::test {

// A devlink device in switchdev mode with four ports that have leaves, all as new.
class DevlinkWorld {
 public:
  virtual ~DevlinkWorld() = default;
  [[nodiscard]] virtual std::string handle() const = 0;
  [[nodiscard]] virtual std::vector<std::uint32_t> ports() const = 0;
  [[nodiscard]] virtual std::uint32_t port_without_leaf() const = 0;
  [[nodiscard]] virtual std::unique_ptr<qos::devlink::Rates> connect() = 0;
};
using DevlinkWorldFactory = std::function<std::unique_ptr<DevlinkWorld>()>;

// The same for the suite of all backends, qos_contract.h; on a kernel without weights.
class DevlinkQosWorld final : public QosWorld {
 public:
  explicit DevlinkQosWorld(std::unique_ptr<DevlinkWorld> world);
  std::unique_ptr<qos::Backend> backend() override;
  bool is_clean() override;
  std::vector<EndpointUid> endpoints() override;
  qos::Node rounded(const qos::Node& node) override;

 private:
  std::unique_ptr<DevlinkWorld> world_;
};

// The seam: Rates.
class DevlinkRatesContract : public ::testing::TestWithParam<DevlinkWorldFactory> {
 protected:
  void SetUp() override;
  std::unique_ptr<DevlinkWorld> world_;
  std::unique_ptr<qos::devlink::Rates> rates_;
  std::uint32_t port_ = 0;  // the first one
};

// The backend, with endpoint N at the world's port N-1 until a test says otherwise.
class DevlinkBackendSuite : public ::testing::TestWithParam<DevlinkWorldFactory> {
 protected:
  void SetUp() override;

  // A new one, as after a restart of the agent.
  std::unique_ptr<qos::Backend> start();
  // Brings the backend from what it reads back to `want`. Expects every step to succeed.
  void reach(qos::Backend& backend, const qos::Plan& want);
  qos::Plan readback(qos::Backend& backend);
  // The object by its name or its port, for what the kernel really has.
  qos::devlink::RateObject leaf(std::uint64_t endpoint);
  std::optional<qos::devlink::RateObject> node(const std::string& name);
  std::size_t nodes();

  std::unique_ptr<DevlinkWorld> world_;
  std::unique_ptr<qos::devlink::Rates> site_;  // what anybody else does to the device
  std::map<std::uint64_t, std::uint32_t> port_of_;
  std::map<std::uint64_t, std::uint64_t> vpc_of_;
};

// Nodes for tests; rates in Mbit/s.
qos::Node nic_node(std::uint64_t mbit);
qos::Node other_node(std::uint64_t mbit);
qos::Node vpc_node(std::uint64_t vpc, std::uint64_t guaranteed, std::uint64_t maximum);
qos::Node endpoint_node(std::uint64_t endpoint, std::uint64_t vpc, std::uint64_t guaranteed,
                        std::uint64_t maximum);
qos::Plan plan_of(const std::vector<qos::Node>& nodes);

}  // namespace qmasq::test
