// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "tests/support/devlink_suites.h"
#include "tests/support/fake_devlink.h"

namespace qmasq::test {
namespace {

class FakeWorld final : public DevlinkWorld {
 public:
  explicit FakeWorld(FakeDevlink::Options options) : options_(options), device_(options) {}
  std::string handle() const override { return options_.handle; }
  std::vector<std::uint32_t> ports() const override { return options_.ports; }
  std::uint32_t port_without_leaf() const override { return options_.physical; }
  std::unique_ptr<qos::devlink::Rates> connect() override { return device_.connect(); }

 private:
  FakeDevlink::Options options_;
  FakeDevlink device_;
};

// Linux 6.1 with netdevsim, and a later one whose driver has no weights (as netdevsim and mlx5).
DevlinkWorldFactory old_kernel() {
  return [] { return std::make_unique<FakeWorld>(FakeDevlink::Options()); };
}
DevlinkWorldFactory new_kernel() {
  return [] {
    FakeDevlink::Options options;
    options.weights_in_kernel = true;
    return std::make_unique<FakeWorld>(options);
  };
}

INSTANTIATE_TEST_SUITE_P(OldKernel, DevlinkRatesContract, ::testing::Values(old_kernel()));
INSTANTIATE_TEST_SUITE_P(NewKernel, DevlinkRatesContract, ::testing::Values(new_kernel()));
INSTANTIATE_TEST_SUITE_P(OldKernel, DevlinkBackendSuite, ::testing::Values(old_kernel()));
INSTANTIATE_TEST_SUITE_P(Devlink, QosContract, ::testing::Values([] {
                           return std::make_unique<DevlinkQosWorld>(old_kernel()());
                         }));

}  // namespace
}  // namespace qmasq::test
