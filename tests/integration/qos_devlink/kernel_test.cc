// SPDX-License-Identifier: Apache-2.0
#include "qos/backends/devlink/kernel.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>

#include "tests/support/devlink_suites.h"

// The suites on the kernel's netdevsim (Documentation of iproute2's devlink-rate(8); drivers/net/
// netdevsim). Needs the module loaded, root, and iproute2's devlink.
namespace qmasq::test {
namespace {

constexpr const char* kBus = "/sys/bus/netdevsim";
constexpr const char* kNumber = "4711";

bool write(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  return file.good();
}

// A simulated NIC with four virtual functions, gone with the object.
class SimulatedNic final : public DevlinkWorld {
 public:
  SimulatedNic() {
    std::string device = std::string(kBus) + "/devices/netdevsim" + kNumber;
    EXPECT_TRUE(write(std::string(kBus) + "/new_device", std::string(kNumber) + " 1"));
    EXPECT_TRUE(write(device + "/sriov_numvfs", "4"));
    std::string mode = "devlink dev eswitch set " + handle() + " mode switchdev";
    EXPECT_EQ(std::system(mode.c_str()), 0);
  }
  ~SimulatedNic() override { write(std::string(kBus) + "/del_device", kNumber); }
  std::string handle() const override { return std::string("netdevsim/netdevsim") + kNumber; }
  std::vector<std::uint32_t> ports() const override { return {128, 129, 130, 131}; }
  std::uint32_t port_without_leaf() const override { return 0; }
  std::unique_ptr<qos::devlink::Rates> connect() override {
    auto rates = qos::devlink::open_kernel_rates(qos::devlink::parse_handle(handle()).value());
    EXPECT_TRUE(rates) << rates.error().message;
    return rates ? std::move(*rates) : nullptr;
  }
};

std::unique_ptr<DevlinkWorld> simulated_nic() {
  return std::make_unique<SimulatedNic>();
}

INSTANTIATE_TEST_SUITE_P(Netdevsim, DevlinkRatesContract, ::testing::Values(simulated_nic));
INSTANTIATE_TEST_SUITE_P(Netdevsim, DevlinkBackendSuite, ::testing::Values(simulated_nic));
INSTANTIATE_TEST_SUITE_P(Netdevsim, QosContract, ::testing::Values([] {
                           return std::make_unique<DevlinkQosWorld>(simulated_nic());
                         }));

TEST(DevlinkKernel, NoSuchDevice) {
  qos::devlink::Options options;
  options.handle = "pci/0000:ff:1f.7";
  auto backend = qos::devlink::make_devlink_backend(options);
  ASSERT_FALSE(backend);
  EXPECT_EQ(backend.error().code, Code::kNotFound);
  EXPECT_EQ(backend.error().field, "handle");
}

TEST(DevlinkKernel, LegacyModeHasNoRates) {
  std::string device = std::string(kBus) + "/devices/netdevsim" + kNumber;
  ASSERT_TRUE(write(std::string(kBus) + "/new_device", std::string(kNumber) + " 1"));
  qos::devlink::Options options;
  options.handle = std::string("netdevsim/netdevsim") + kNumber;
  options.port_of = [](EndpointUid) { return std::optional<std::uint32_t>(128); };
  options.endpoint_of = [](std::uint32_t) { return std::optional<EndpointUid>(); };
  auto backend = qos::devlink::make_devlink_backend(options);
  EXPECT_TRUE(backend) << backend.error().message;
  if (backend) {
    EXPECT_TRUE((*backend)->readback([](EndpointUid) { return std::optional<VpcUid>(); }));
    auto results = (*backend)->program(qos::diff({}, plan_of({nic_node(10), vpc_node(1, 0, 10)})));
    EXPECT_TRUE(results.at(0));
    ASSERT_FALSE(results.at(1));
    EXPECT_EQ(results.at(1).error().code, Code::kUnsupported);
    EXPECT_NE(results.at(1).error().message.find("switchdev"), std::string::npos);
  }
  write(std::string(kBus) + "/del_device", kNumber);
}

// For whoever compares with iproute2: programs a tree on the device of argv[2] and leaves it.
int leave_a_tree(const std::string& handle) {
  qos::devlink::Options options;
  options.handle = handle;
  options.port_of = [](EndpointUid uid) { return static_cast<std::uint32_t>(127 + uid.value); };
  options.endpoint_of = [](std::uint32_t port) { return EndpointUid{port - 127}; };
  auto backend = qos::devlink::make_devlink_backend(options);
  if (!backend || !(*backend)->readback([](EndpointUid) { return VpcUid{17}; })) return 1;
  auto steps = qos::diff({}, plan_of({nic_node(1000), vpc_node(17, 20, 100),
                                      endpoint_node(1, 17, 15, 30), endpoint_node(2, 17, 0, 40)}));
  for (const Status& result : (*backend)->program(steps)) {
    if (!result) return 1;
  }
  return 0;
}

}  // namespace
}  // namespace qmasq::test

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "--leave-a-tree") {
    return qmasq::test::leave_a_tree(argv[2]);
  }
  ::testing::InitGoogleTest(&argc, argv);
  if (::access((std::string(qmasq::test::kBus) + "/new_device").c_str(), W_OK) != 0) {
    std::fprintf(stderr, "SKIPPED: no netdevsim here, or not root\n");
    return 77;  // ctest: SKIP_RETURN_CODE
  }
  return RUN_ALL_TESTS();
}
