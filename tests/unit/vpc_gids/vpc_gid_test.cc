// SPDX-License-Identifier: Apache-2.0
#include "vbond/nic/vpc_gid.h"

#include <gtest/gtest.h>

namespace qmasq::vbond {
namespace {

Gid gid(const std::string& text) {
  return parse_gid(text).value();
}
IpPrefix range(const std::string& text) {
  return parse_prefix(text).value();
}

TEST(VpcGid, EndsInTheVni) {
  EXPECT_EQ(vpc_gid(gid("fd00:0:0:1:c000:201::"), Vni{0x123456}),
            gid("fd00:0:0:1:c000:201:12:3456"));
  EXPECT_EQ(vpc_gid(gid("fd00::"), Vni{kMaxVni}), gid("fd00::ff:ffff"));
}

TEST(VpcGid, HostsPrefixHasItsAddressBehindTheCommonOne) {
  EXPECT_EQ(own_vpc_prefix(range("fd00:0:0:1::/64"), *parse_ip("192.0.2.1")).value(),
            gid("fd00:0:0:1:c000:201::"));
  EXPECT_EQ(own_vpc_prefix(range("fd00:0:0:1:7:8::/96"), *parse_ip("2001:db8::1")).value(),
            gid("fd00:0:0:1:7:8::"));
  auto wrong = own_vpc_prefix(range("fd00:0:0:1::/64"), *parse_ip("2001:db8::1"));
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("give each host a /96"), std::string::npos);
}

TEST(VpcGid, OtherRangesAreRefused) {
  EXPECT_TRUE(check_vpc_prefix(range("fd00::/64")));
  EXPECT_TRUE(check_vpc_prefix(range("2001:db8::/96")));
  for (const char* text :
       {"10.0.0.0/24", "fe80::/64", "ff00::/64", "::/64", "fd00::/48", "fd00::/128"}) {
    auto status = check_vpc_prefix(range(text));
    ASSERT_FALSE(status) << text;
    EXPECT_EQ(status.error().code, Code::kInvalidArgument);
    EXPECT_NE(status.error().message.find(text), std::string::npos) << status.error().message;
  }
}

TEST(VpcGid, EntriesOfVpcsAreNotTheNicsOwn) {
  Nic nic;
  const Gid prefix = gid("fd00:0:0:1:c000:201::");
  const PhysicalGid own{1, gid("::ffff:192.0.2.1"), GidType::kRoceV2};
  const PhysicalGid neighbour{6, gid("fd00:0:0:1:c000:202:0:64"), GidType::kRoceV2};
  const PhysicalGid no_vni{7, gid("fd00:0:0:1:c000:201:100:64"), GidType::kRoceV2};
  nic.gids = {own,
              {3, vpc_gid(prefix, Vni{200}), GidType::kIbRoceV1},
              {4, vpc_gid(prefix, Vni{200}), GidType::kRoceV2},
              {5, vpc_gid(prefix, Vni{100}), GidType::kRoceV2},
              neighbour,
              no_vni};
  take_vpc_gids(nic, prefix);
  EXPECT_EQ(nic.gids, (std::vector<PhysicalGid>{own, neighbour, no_vni}));
  EXPECT_EQ(nic.vpc_prefix, prefix);
  EXPECT_EQ(vpc_gid_index(nic, Vni{100}), 5U);
  EXPECT_EQ(vpc_gid_index(nic, Vni{200}), 4U);
  EXPECT_EQ(vpc_gid_index(nic, Vni{150}), std::nullopt);
}

}  // namespace
}  // namespace qmasq::vbond
