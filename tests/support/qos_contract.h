// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "qos/backend.h"
#include "qos/plan.h"

// What any backend must do, on its fake (unit) and on the kernel (integration): instantiate
// QosContract with a factory of worlds.
namespace qmasq::test {

// A NIC that nobody has limited yet.
class QosWorld {
 public:
  virtual ~QosWorld() = default;
  // Another one on the same kernel, as of an agent that was started again.
  virtual std::unique_ptr<qos::Backend> backend() = 0;
  // The kernel has nothing of ours.
  virtual bool is_clean() = 0;
  // Why this cannot run here ("the kernel has no ..."), or empty.
  virtual std::string missing() { return {}; }
  // Endpoints that this NIC can hold, and their blocks of ports, where the backend needs certain
  // ones (devlink: of VFs that are there).
  virtual std::vector<EndpointUid> endpoints() {
    return {EndpointUid{101}, EndpointUid{102}, EndpointUid{103}, EndpointUid{104}};
  }
  virtual BitsPerSecond rate() { return BitsPerSecond{1'000'000'000}; }
  // `node` as readback() gives it after it was programmed.
  virtual qos::Node rounded(const qos::Node& node) = 0;
};
using QosWorldFactory = std::function<std::unique_ptr<QosWorld>()>;

class QosContract : public ::testing::TestWithParam<QosWorldFactory> {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Two VPCs, 1 and 2, of two endpoints each.
  [[nodiscard]] qos::Plan plan() const;
  [[nodiscard]] VpcUid vpc_of(EndpointUid endpoint) const;
  // A new backend that has read back what is there.
  [[nodiscard]] std::unique_ptr<qos::Backend> restarted(qos::Plan* found = nullptr);
  // Programs all that turns `from` into `to`; fails the test where a step fails.
  void program(qos::Backend& backend, const qos::Plan& from, const qos::Plan& to);
  // What another agent reads back is `want`, rounded.
  void expect_there(const qos::Plan& want);
  [[nodiscard]] qos::Backend::VpcOf known() const;

  std::unique_ptr<QosWorld> world_;
  std::vector<EndpointUid> endpoints_;
  // Endpoints that are gone.
  std::vector<EndpointUid> unknown_;
};

}  // namespace qmasq::test
