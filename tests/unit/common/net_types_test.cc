// SPDX-License-Identifier: Apache-2.0
#include "common/net_types.h"

#include <gtest/gtest.h>

namespace qmasq {
namespace {

TEST(Mac, RoundTripsAndRefusesNonsense) {
  EXPECT_EQ(to_string(parse_mac("02:00:5e:10:00:ff").value()), "02:00:5e:10:00:ff");
  for (const char* bad : {"", "02:00:5e:10:00", "02-00-5e-10-00-01", "02:00:5e:10:00:0g",
                          "02:00:5e:10:00:011", "0x:00:5e:10:00:01"}) {
    EXPECT_FALSE(parse_mac(bad)) << bad;
  }
}

TEST(IpAddress, KnowsItsFamilyAndKind) {
  auto v4 = parse_ip("10.0.0.1").value();
  EXPECT_TRUE(v4.is_v4());
  EXPECT_EQ(v4.v4(), 0x0a000001U);
  EXPECT_EQ(to_string(v4), "10.0.0.1");
  EXPECT_EQ(IpAddress::from_v4(0x0a000001), v4);
  auto v6 = parse_ip("fd00::1").value();
  EXPECT_FALSE(v6.is_v4());
  EXPECT_EQ(to_string(v6), "fd00::1");
  EXPECT_TRUE(parse_ip("0.0.0.0")->is_unspecified());
  EXPECT_TRUE(parse_ip("::")->is_unspecified());
  EXPECT_TRUE(parse_ip("224.0.0.1")->is_multicast());
  EXPECT_TRUE(parse_ip("127.0.0.1")->is_loopback());
  EXPECT_TRUE(parse_ip("::1")->is_loopback());
  EXPECT_TRUE(parse_ip("169.254.1.1")->is_link_local());
  EXPECT_TRUE(parse_ip("fe80::1")->is_link_local());
  EXPECT_FALSE(parse_ip("10.0.0.256"));
  EXPECT_FALSE(parse_ip("10.0.0.1 "));
}

TEST(IpPrefix, ContainsAndOverlapsWithinItsFamily) {
  auto range = parse_prefix("10.0.0.0/24").value();
  EXPECT_TRUE(range.contains(*parse_ip("10.0.0.255")));
  EXPECT_FALSE(range.contains(*parse_ip("10.0.1.0")));
  EXPECT_FALSE(range.contains(*parse_ip("fd00::1")));
  EXPECT_TRUE(range.overlaps(*parse_prefix("10.0.0.128/25")));
  EXPECT_TRUE(parse_prefix("10.0.0.128/25")->overlaps(range));
  EXPECT_FALSE(range.overlaps(*parse_prefix("10.0.1.0/24")));
  EXPECT_TRUE(parse_prefix("0.0.0.0/0")->overlaps(range));
  EXPECT_FALSE(parse_prefix("::/0")->overlaps(range));
  EXPECT_TRUE(parse_prefix("fd00::/9")->contains(*parse_ip("fd7f::1")));
  EXPECT_FALSE(parse_prefix("fd00::/9")->contains(*parse_ip("fd80::1")));
}

TEST(IpPrefix, NamesTheRangeMeantWhenHostBitsAreSet) {
  auto wrong = parse_prefix("10.0.0.7/24");
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("10.0.0.0/24"), std::string::npos);
  for (const char* bad :
       {"10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "fd00::/129", "10.0.0.0/-1", "10.0.0.0/2x", "/8"}) {
    EXPECT_FALSE(parse_prefix(bad)) << bad;
  }
}

TEST(Gid, TakesTheFormsOfSysfsAndOfAddresses) {
  auto gid = Gid::from_ip(*parse_ip("10.0.0.1"));
  EXPECT_EQ(to_string(gid), "0000:0000:0000:0000:0000:ffff:0a00:0001");
  EXPECT_EQ(parse_gid("0000:0000:0000:0000:0000:ffff:0a00:0001").value(), gid);
  EXPECT_EQ(parse_gid("10.0.0.1").value(), gid);
  EXPECT_FALSE(parse_gid("nonsense"));
  EXPECT_EQ(to_string(Gid::link_local(*parse_mac("52:54:00:12:34:56"))),
            "fe80:0000:0000:0000:5054:00ff:fe12:3456");
}

}  // namespace
}  // namespace qmasq
