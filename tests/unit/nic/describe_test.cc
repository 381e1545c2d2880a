// SPDX-License-Identifier: Apache-2.0
#include "vbond/nic/describe.h"

#include <gtest/gtest.h>
#include <rdma/ib_user_ioctl_verbs.h>

#include "vbond/nic/nic_source.h"

namespace qmasq::vbond {
namespace {

TEST(NicDescribe, TurnsVerbsMtuIntoBytes) {
  EXPECT_EQ(mtu_bytes(1), 256U);
  EXPECT_EQ(mtu_bytes(3), 1024U);
  EXPECT_EQ(mtu_bytes(5), 4096U);
  EXPECT_EQ(mtu_bytes(0), 0U);
  EXPECT_EQ(mtu_bytes(6), 0U);
  EXPECT_EQ(mtu_bytes(-1), 0U);
}

TEST(NicDescribe, MultipliesLanes) {
  EXPECT_EQ(rate_bits_per_second(1, 1), 2'500'000'000U);     // what rxe says
  EXPECT_EQ(rate_bits_per_second(32, 2), 100'000'000'000U);  // EDR 4x
  EXPECT_EQ(rate_bits_per_second(128, 16), 200'000'000'000U);
  EXPECT_EQ(rate_bits_per_second(3, 1), 0U);
  EXPECT_EQ(rate_bits_per_second(1, 3), 0U);
}

TEST(NicDescribe, NamesDrivers) {
  EXPECT_EQ(driver_name(RDMA_DRIVER_RXE), "rxe");
  EXPECT_EQ(driver_name(RDMA_DRIVER_MLX5), "mlx5");
  EXPECT_EQ(driver_name(RDMA_DRIVER_UNKNOWN), "");
  EXPECT_EQ(driver_name(9999), "");
}

TEST(NicDescribe, PrimaryIsRoceV2OfTheUnderlayAddress) {
  IpAddress underlay = *parse_ip("192.168.50.1");
  Gid gid = Gid::from_ip(underlay);
  std::vector<PhysicalGid> gids = {{0, Gid::from_ip(*parse_ip("fe80::1")), GidType::kRoceV2},
                                   {1, gid, GidType::kIbRoceV1},
                                   {2, gid, GidType::kRoceV2}};
  auto primary = primary_gid(gids, underlay);
  ASSERT_TRUE(primary.has_value());
  EXPECT_EQ(primary->index, 2U);
  gids.pop_back();
  EXPECT_FALSE(primary_gid(gids, underlay).has_value());
}

TEST(Underlay, TakesTheFirstAddressOfAnInterface) {
  auto loopback = make_device_underlay("lo")->address();
  ASSERT_TRUE(loopback.has_value()) << loopback.error().message;
  EXPECT_EQ(to_string(*loopback), "127.0.0.1");
}

TEST(Underlay, NamesTheInterfaceThatIsMissing) {
  auto missing = make_device_underlay("nosuch0")->address();
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code, Code::kNotFound);
  EXPECT_NE(missing.error().message.find("nosuch0"), std::string::npos);
}

TEST(Underlay, RefusesAnAddressOfAnotherHost) {
  EXPECT_TRUE(make_fixed_underlay(*parse_ip("127.0.0.1"))->address().has_value());
  auto other = make_fixed_underlay(*parse_ip("192.0.2.77"))->address();
  ASSERT_FALSE(other.has_value());
  EXPECT_NE(other.error().message.find("192.0.2.77"), std::string::npos);
}

}  // namespace
}  // namespace qmasq::vbond
