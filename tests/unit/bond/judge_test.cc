// SPDX-License-Identifier: Apache-2.0
#include "vbond/bond/judge.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/fake_netlink/scene.h"

namespace qmasq::vbond {
namespace {

using netlink::Address;
using netlink::Link;

class JudgeTest : public ::testing::Test {
 protected:
  JudgeTest() {
    link_.index = 2;
    link_.name = "eth0";
    link_.up = true;
    link_.mac = endpoint_.mac;
  }
  BondStatus judged(const std::string& problems = "") {
    return judge(endpoint_, "eth0", std::vector{link_}, addresses_, problems);
  }

  EndpointView endpoint_ = test::endpoint(1, test::vpc(1, "blue", 100), "a", 1, "10.0.0.1");
  Link link_;
  std::vector<Address> addresses_ = {{2, *parse_ip("10.0.0.1"), 24, 113},
                                     {2, *parse_ip("fe80::1"), 64, 0}};
};

TEST_F(JudgeTest, BoundWhenAllIsThere) {
  BondStatus status = judged();
  EXPECT_EQ(status.state, BondState::kBound);
  EXPECT_EQ(status.message, "");
  EXPECT_EQ(status.observed_addresses, endpoint_.addresses);
}

TEST_F(JudgeTest, DegradedSaysWhatIsMissing) {
  addresses_.clear();
  BondStatus status = judged();
  EXPECT_EQ(status.state, BondState::kDegraded);
  EXPECT_EQ(status.message, "address 10.0.0.1 is not on eth0");
  EXPECT_TRUE(status.observed_addresses.empty());

  addresses_ = {{3, *parse_ip("10.0.0.1"), 24, 113}};  // on another interface
  EXPECT_EQ(judged().state, BondState::kDegraded);
  link_.up = false;
  EXPECT_NE(judged().message.find("is down"), std::string::npos);
  link_.mac = test::mac_of(9);
  EXPECT_NE(judged().message.find("has MAC 02:71:00:00:00:09"), std::string::npos);
  link_.name = "eth1";
  EXPECT_EQ(judged().message, "interface eth0 is missing");
}

TEST_F(JudgeTest, ForeignAddressesAreNamedAndIgnored) {
  for (int i = 0; i < 100; ++i) {
    addresses_.push_back({2, IpAddress::from_v4(0x0a090000U + static_cast<unsigned>(i)), 24, 0});
  }
  BondStatus status = judged();
  EXPECT_EQ(status.state, BondState::kBound);
  EXPECT_EQ(status.observed_addresses.size(), 1U);
  EXPECT_NE(status.message.find("10.9.0.0 on eth0 is not the endpoint's: ignored"),
            std::string::npos);
  EXPECT_NE(status.message.find("and 96 more"), std::string::npos);
  EXPECT_LT(status.message.size(), 400U);
}

TEST_F(JudgeTest, TheOverlaysProblemsDegrade) {
  BondStatus status = judged("link qmx100 is not ours");
  EXPECT_EQ(status.state, BondState::kDegraded);
  EXPECT_EQ(status.message, "link qmx100 is not ours");
}

TEST(NamespaceName, IsUniqueForEveryPairOfIds) {
  EXPECT_EQ(namespace_name("vpcs/blue/endpoints/a"), "qm-blue-a");
  EXPECT_EQ(namespace_name("vpcs/my-vpc/endpoints/web-1"), "qm-my-vpc.web-1");
  EXPECT_EQ(namespace_name("nonsense"), "");
  const char* ids[] = {"a", "b", "a-b", "b-a", "a-b-a", "b-b", "aa", "a-a"};
  std::set<std::string> names;
  for (const char* vpc : ids) {
    for (const char* id : ids) {
      names.insert(namespace_name(std::string("vpcs/") + vpc + "/endpoints/" + id));
    }
  }
  EXPECT_EQ(names.size(), 64U);
  std::string longest(63, 'x');
  EXPECT_LE(namespace_name("vpcs/" + longest + "/endpoints/" + longest).size(), 255U);
}

}  // namespace
}  // namespace qmasq::vbond
