// SPDX-License-Identifier: Apache-2.0
#include "common/resource_name.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qmasq {
namespace {

using testing::HasSubstr;

TEST(ResourceName, TenantIdsAreTakenAndRefused) {
  const std::string longest(63, 'a');
  for (std::string id : {"a", "blue", "a1", "a-1", longest.c_str()}) {
    EXPECT_TRUE(check_vpc_id(id)) << id;
    EXPECT_TRUE(check_endpoint_id(id)) << id;
  }
  const std::string too_long(64, 'a');
  for (std::string id :
       {"", "1a", "-a", "a-", "A", "a_b", "a.b", "a/b", "a b", "\xc3\xa4", "-", too_long.c_str()}) {
    auto status = check_vpc_id(id);
    ASSERT_FALSE(status) << id;
    EXPECT_EQ(status.error().code, Code::kInvalidArgument);
    EXPECT_THAT(status.error().message, HasSubstr("VPC id"));
    EXPECT_FALSE(check_endpoint_id(id)) << id;
  }
  EXPECT_FALSE(check_vpc_id(std::string("a\0b", 3)));
}

TEST(ResourceName, HostIdsAreTakenAndRefused) {
  for (std::string id : {"h", "hostA", "1", "node-1.example.org", "a-", "a."}) {
    EXPECT_TRUE(check_host_id(id)) << id;
  }
  for (std::string id : {"", "-a", ".a", "a_b", "a/b", "a b"}) {
    EXPECT_FALSE(check_host_id(id)) << id;
  }
  EXPECT_TRUE(check_host_id(std::string(63, 'h')));
  EXPECT_FALSE(check_host_id(std::string(64, 'h')));
}

TEST(ResourceName, NamesGoThereAndBack) {
  EXPECT_EQ(vpc_name("blue"), "vpcs/blue");
  EXPECT_EQ(parse_vpc_name("vpcs/blue").value(), "blue");
  EXPECT_EQ(endpoint_name("blue", "a"), "vpcs/blue/endpoints/a");
  EXPECT_EQ(endpoint_name(EndpointName{"blue", "a"}), "vpcs/blue/endpoints/a");
  EXPECT_EQ(parse_endpoint_name("vpcs/blue/endpoints/a").value(), (EndpointName{"blue", "a"}));
  EXPECT_EQ(host_name("hostA"), "hosts/hostA");
  EXPECT_EQ(parse_host_name("hosts/hostA").value(), "hostA");
}

TEST(ResourceName, WrongNamesAreRefusedWithTheFormToUse) {
  for (std::string name : {"", "blue", "vpcs", "vpcs/", "/vpcs/blue", "vpcs/blue/", "vpc/blue",
                           "vpcs/Blue", "hosts/blue", "vpcs/blue/endpoints/a"}) {
    EXPECT_FALSE(parse_vpc_name(name)) << name;
  }
  for (std::string name :
       {"", "a", "blue/a", "vpcs/blue", "vpcs/blue/endpoints", "vpcs/blue/endpoints/",
        "vpcs//endpoints/a", "vpcs/blue/endpoints/a/", "vpcs/blue/endpoints/a/b",
        "vpcs/blue/hosts/a", "vpcs/blue/endpoints/A"}) {
    EXPECT_FALSE(parse_endpoint_name(name)) << name;
  }
  for (std::string name : {"", "hostA", "hosts/", "hosts/a/b", "host/a", "hosts/-"}) {
    EXPECT_FALSE(parse_host_name(name)) << name;
  }
  EXPECT_THAT(parse_vpc_name("blue").error().message, HasSubstr("vpcs/VPC"));
  EXPECT_THAT(parse_endpoint_name("vpcs/blue").error().message,
              HasSubstr("vpcs/VPC/endpoints/ENDPOINT"));
  EXPECT_THAT(parse_host_name("hostA").error().message, HasSubstr("hosts/HOST"));
}

TEST(ResourceName, ErrorsQuoteBoundedPrintableText) {
  auto message = parse_vpc_name("\x1b[31m" + std::string(10'000, 'x')).error().message;
  EXPECT_LT(message.size(), 200U);
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
}

TEST(ResourceName, ReferencesMayBeShort) {
  EXPECT_EQ(parse_vpc_reference("blue").value(), "blue");
  EXPECT_EQ(parse_vpc_reference("vpcs/blue").value(), "blue");
  EXPECT_FALSE(parse_vpc_reference("blue/a"));
  EXPECT_EQ(parse_host_reference("hostA").value(), "hostA");
  EXPECT_EQ(parse_host_reference("hosts/hostA").value(), "hostA");
  EXPECT_EQ(parse_endpoint_reference("a").value(), (EndpointName{"", "a"}));
  EXPECT_EQ(parse_endpoint_reference("blue/a").value(), (EndpointName{"blue", "a"}));
  EXPECT_EQ(parse_endpoint_reference("vpcs/blue/endpoints/a").value(), (EndpointName{"blue", "a"}));
  for (std::string text : {"", "/a", "blue/", "a/b/c", "vpcs/blue/endpoint/a", "A"}) {
    EXPECT_FALSE(parse_endpoint_reference(text)) << text;
  }
}

}  // namespace
}  // namespace qmasq
