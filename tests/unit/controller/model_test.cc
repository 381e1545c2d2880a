// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "controller/model/address_rules.h"
#include "controller/model/allocator.h"
#include "controller/model/filter.h"
#include "controller/model/interval_set.h"
#include "controller/model/request_rules.h"

namespace qmasq::controller {
namespace {

using testing::HasSubstr;
using Texts = std::vector<std::string>;

// Every operation against a std::set, small numbers so that spans touch, split and merge.
TEST(IntervalSet, BehavesLikeASet) {
  std::mt19937 random(7);
  IntervalSet set;
  std::set<unsigned> model;
  for (int i = 0; i < 20'000; ++i) {
    unsigned value = random() % 64;
    if (random() % 2 == 0) {
      ASSERT_EQ(set.insert(value), model.insert(value).second);
    } else {
      ASSERT_EQ(set.erase(value), model.erase(value) == 1);
    }
    ASSERT_EQ(set.contains(value), model.contains(value));
    unsigned first = random() % 64;
    unsigned last = random() % 64;
    std::optional<U128> expected;
    for (unsigned n = first; n <= last && !expected; ++n) {
      if (!model.contains(n)) expected = n;
    }
    ASSERT_EQ(set.lowest_missing(first, last), expected) << first << ".." << last;
  }
}

TEST(IntervalSet, KeepsToTheEndsOfTheNumbers) {
  IntervalSet set;
  const U128 top = ~U128{0};
  EXPECT_TRUE(set.insert(top));
  EXPECT_TRUE(set.insert(0));
  EXPECT_TRUE(set.insert(top - 1));
  EXPECT_EQ(set.intervals(), 2U);
  EXPECT_FALSE(set.lowest_missing(top - 1, top).has_value());
  EXPECT_TRUE(set.erase(top));
  EXPECT_EQ(set.lowest_missing(top - 1, top), top);
}

struct RangeCase {
  Texts ranges;
  std::string field;
  std::string reason;
};

TEST(AddressRules, RefusesRangesWithFieldAndReason) {
  const std::vector<RangeCase> cases = {
      {{}, "vpc.ranges", "at least one"},
      {{"10.0.0.0"}, "vpc.ranges[0]", "10.0.0.0/24"},
      {{"10.0.0.0/24", "nonsense"}, "vpc.ranges[1]", "nonsense"},
      {{"10.0.0.1/24"}, "vpc.ranges[0]", "did you mean 10.0.0.0/24"},
      {{"10.0.0.0/33"}, "vpc.ranges[0]", "0 to 32"},
      {{"10.0.0.0/16", "10.0.3.0/24"}, "vpc.ranges[1]", "overlaps 10.0.0.0/16 (vpc.ranges[0])"},
      {{"10.0.3.0/24", "192.168.0.0/24", "10.0.0.0/16"}, "vpc.ranges[2]", "overlaps 10.0.3.0/24"},
      {{"fd00::/64", "fd00::/64"}, "vpc.ranges[1]", "overlaps"},
      {{"127.1.0.0/16"}, "vpc.ranges[0]", "loopback"},
      {{"224.0.0.0/24"}, "vpc.ranges[0]", "multicast"},
      {{"0.0.0.0/0"}, "vpc.ranges[0]", "cannot be used"},
      {{"ff02::/16"}, "vpc.ranges[0]", "multicast"},
      {{"fe80::/64"}, "vpc.ranges[0]", "link-local"},
      {{"::/64"}, "vpc.ranges[0]", "cannot be used"},
      {{std::string(100'000, '1')}, "vpc.ranges[0]", "no address range"},
      {Texts(kMaxRanges + 1, "10.0.0.0/24"), "vpc.ranges", "at most 64"},
  };
  for (const auto& c : cases) {
    auto ranges = check_ranges(c.ranges, "vpc.ranges");
    ASSERT_FALSE(ranges) << c.reason;
    EXPECT_EQ(ranges.error().code, Code::kInvalidArgument);
    EXPECT_EQ(ranges.error().field, c.field);
    EXPECT_THAT(ranges.error().message, HasSubstr(c.reason));
    EXPECT_LT(ranges.error().message.size(), 300U);
  }
  EXPECT_TRUE(check_ranges(Texts{"10.0.0.0/24", "10.0.1.0/24", "fd00::/48"}, "vpc.ranges"));
}

TEST(AddressRules, RefusesAddressesWithFieldAndReason) {
  auto ranges = check_ranges(Texts{"10.0.0.0/24", "10.9.0.0/31", "fd00::/64"}, "r").value();
  struct {
    Texts addresses;
    std::string field;
    std::string reason;
  } cases[] = {
      {{"10.0.1.1"}, "a[0]", "in no range of the VPC (10.0.0.0/24, 10.9.0.0/31, fd00::/64)"},
      {{"10.0.0.0"}, "a[0]", "network address of 10.0.0.0/24"},
      {{"10.0.0.255"}, "a[0]", "broadcast address of 10.0.0.0/24"},
      {{"fd00::"}, "a[0]", "network address of fd00::/64"},
      {{"10.0.0.1", "10.0.0.1"}, "a[1]", "twice"},
      {{"10.0.0.1", "::ffff:10.0.0.1"}, "a[1]", "twice"},
      {{"0.0.0.0"}, "a[0]", "unspecified"},
      {{"::"}, "a[0]", "unspecified"},
      {{"224.0.0.1"}, "a[0]", "multicast"},
      {{"ff02::1"}, "a[0]", "multicast"},
      {{"127.0.0.1"}, "a[0]", "loopback"},
      {{"::1"}, "a[0]", "loopback"},
      {{"10.0.0"}, "a[0]", "not an IPv4 or IPv6 address"},
      {{""}, "a[0]", "not an IPv4 or IPv6 address"},
      {Texts(kMaxAddresses + 1, "10.0.0.1"), "a", "at most 62"},
  };
  for (const auto& c : cases) {
    auto addresses = check_addresses(c.addresses, ranges, "a");
    ASSERT_FALSE(addresses) << c.reason;
    EXPECT_EQ(addresses.error().field, c.field);
    EXPECT_THAT(addresses.error().message, HasSubstr(c.reason));
  }
  // A /31 has neither network nor broadcast address.
  EXPECT_TRUE(check_addresses(Texts{"10.9.0.0", "10.9.0.1", "10.0.0.254", "fd00::1"}, ranges, "a"));
}

TEST(AddressRules, GapsAndReservedAddressesSurroundTheRanges) {
  auto ranges = check_ranges(Texts{"10.0.1.0/24", "10.0.0.0/24", "10.9.0.0/31"}, "r").value();
  auto number = [](const char* text) { return to_number(parse_ip(text).value()); };
  auto gaps = gaps_between(ranges);
  ASSERT_EQ(gaps.size(), 3U);
  EXPECT_EQ(gaps[0].first, U128{0});
  EXPECT_EQ(gaps[0].second, number("9.255.255.255"));
  EXPECT_EQ(gaps[1].first, number("10.0.2.0"));
  EXPECT_EQ(gaps[2].second, ~U128{0});
  EXPECT_THAT(reserved_in(ranges), testing::ElementsAre(number("10.0.1.0"), number("10.0.1.255"),
                                                        number("10.0.0.0"), number("10.0.0.255")));
}

VpcPtr make_vpc(std::uint64_t uid, std::uint32_t vni, Texts ranges) {
  Vpc vpc;
  vpc.uid = VpcUid{uid};
  vpc.id = "blue";
  vpc.vni = Vni{vni};
  vpc.ranges = check_ranges(ranges, "r").value();
  return std::make_shared<const Vpc>(vpc);
}

EndpointPtr make_endpoint(std::uint64_t uid, const VpcPtr& vpc, IpAddress address) {
  Endpoint endpoint;
  endpoint.uid = EndpointUid{uid};
  endpoint.vpc = vpc->uid;
  endpoint.addresses = {address};
  return std::make_shared<const Endpoint>(endpoint);
}

TEST(Allocator, GivesTheLowestFreeAddressHoweverFullTheRangeIs) {
  Allocator allocator;
  auto vpc = make_vpc(1, 4096, {"10.1.0.0/16"});
  allocator.apply({{}, {{nullptr, vpc}}, {}, {}});
  std::vector<EndpointPtr> endpoints;
  for (std::uint64_t i = 0; i < 65'534; ++i) {
    auto address = allocator.lowest_address(*vpc);
    ASSERT_TRUE(address) << i;
    ASSERT_EQ(address->v4(), 0x0a010001U + i);
    endpoints.push_back(make_endpoint(100 + i, vpc, *address));
    allocator.apply({{}, {}, {{nullptr, endpoints.back()}}, {}});
  }
  auto full = allocator.lowest_address(*vpc);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Code::kResourceExhausted);
  EXPECT_EQ(full.error().field, "endpoint.addresses");
  allocator.apply({{}, {}, {{endpoints[300], nullptr}}, {}});
  allocator.apply({{}, {}, {{endpoints[200], nullptr}}, {}});
  EXPECT_EQ(to_string(allocator.lowest_address(*vpc).value()), "10.1.0.201");
}

TEST(Allocator, MovesAnAddressInOneCommit) {
  Allocator allocator;
  auto vpc = make_vpc(1, 4096, {"10.1.0.0/24"});
  auto first = parse_ip("10.1.0.1").value();
  auto a = make_endpoint(10, vpc, first);
  auto b = make_endpoint(11, vpc, first);
  allocator.apply({{}, {{nullptr, vpc}}, {{nullptr, a}}, {}});
  allocator.apply({{}, {}, {{nullptr, b}, {a, nullptr}}, {}});
  EXPECT_EQ(to_string(allocator.lowest_address(*vpc).value()), "10.1.0.2");
}

TEST(Allocator, GivesTheLowestVniFrom4096) {
  Allocator allocator;
  EXPECT_EQ(allocator.lowest_vni().value().value, 4096U);
  auto low = make_vpc(1, 7, {"10.0.0.0/24"});
  auto first = make_vpc(2, 4096, {"10.0.0.0/24"});
  auto second = make_vpc(3, 4097, {"10.0.0.0/24"});
  allocator.apply({{}, {{nullptr, low}, {nullptr, first}, {nullptr, second}}, {}, {}});
  EXPECT_EQ(allocator.lowest_vni().value().value, 4098U);
  allocator.apply({{}, {{first, nullptr}}, {}, {}});
  EXPECT_EQ(allocator.lowest_vni().value().value, 4096U);
}

TEST(DerivedMac, IsLocalUnicastAndChangesWithTheAttempt) {
  EXPECT_EQ(to_string(derived_mac(EndpointUid{0x01020304}, 0)), "02:71:01:02:03:04");
  std::set<Mac> seen;
  for (std::uint32_t attempt = 0; attempt < 1000; ++attempt) {
    auto mac = derived_mac(EndpointUid{5}, attempt);
    EXPECT_FALSE(mac.is_multicast());
    EXPECT_TRUE(seen.insert(mac).second);
  }
}

TEST(RequestRules, NumbersAndTexts) {
  EXPECT_TRUE(check_vni(1, "f"));
  EXPECT_TRUE(check_vni(16777215, "f"));
  EXPECT_EQ(check_vni(0, "vpc.vni").error().field, "vpc.vni");
  EXPECT_FALSE(check_vni(16777216, "f"));
  for (std::uint32_t mtu : {0U, 1280U, 9000U})
    EXPECT_TRUE(check_mtu(mtu, "f")) << mtu;
  for (std::uint32_t mtu : {1U, 1279U, 9001U, ~0U})
    EXPECT_FALSE(check_mtu(mtu, "f")) << mtu;
  EXPECT_TRUE(check_description(std::string(1024, 'x'), "f"));
  EXPECT_FALSE(check_description(std::string(1025, 'x'), "f"));
  EXPECT_TRUE(check_mac("02:00:00:00:00:01", "f"));
  for (std::string mac : {"", "02:00:00:00:00", "01:00:5e:00:00:01", "00:00:00:00:00:00",
                          "ff:ff:ff:ff:ff:ff", "02-00-00-00-00-01"}) {
    auto checked = check_mac(mac, "endpoint.mac");
    ASSERT_FALSE(checked) << mac;
    EXPECT_EQ(checked.error().field, "endpoint.mac");
  }
}

TEST(RequestRules, RequestIdsAreUuids) {
  EXPECT_TRUE(check_request_id(""));
  EXPECT_TRUE(check_request_id("123e4567-e89b-12d3-A456-426614174000"));
  for (std::string id :
       {"x", "123e4567e89b12d3a456426614174000", "123e4567-e89b-12d3-a456-42661417400g",
        "123e4567-e89b-12d3-a456-4266141740000"}) {
    EXPECT_FALSE(check_request_id(id)) << id;
  }
}

TEST(RequestRules, EtagsChangeWithTheVersion) {
  EXPECT_NE(etag(1, 1), etag(1, 2));
  EXPECT_NE(etag(1, 1), etag(2, 1));
  EXPECT_TRUE(check_etag("", 1, 1, "vpcs/blue"));
  EXPECT_TRUE(check_etag(etag(1, 1), 1, 1, "vpcs/blue"));
  auto stale = check_etag(etag(1, 1), 1, 2, "vpcs/blue");
  ASSERT_FALSE(stale);
  EXPECT_EQ(stale.error().code, Code::kFailedPrecondition);
  EXPECT_THAT(stale.error().message, HasSubstr("vpcs/blue"));
}

TEST(RequestRules, MasksNameAllowedFieldsOnly) {
  constexpr std::string_view kAllowed[] = {"ranges", "mtu", "description"};
  EXPECT_EQ(check_mask({}, kAllowed, kAllowed).value().size(), 3U);
  EXPECT_EQ(check_mask(Texts{"mtu", "mtu"}, kAllowed, kAllowed).value(), Texts{"mtu"});
  auto wrong = check_mask(Texts{"vni"}, kAllowed, kAllowed);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().field, "update_mask");
  EXPECT_THAT(wrong.error().message, HasSubstr("ranges, mtu, description"));
}

TEST(RequestRules, PageTokensBelongToOneList) {
  auto token = make_page_token("vpcs?name=a*", "blue");
  EXPECT_EQ(read_page_token(token, "vpcs?name=a*").value(), "blue");
  EXPECT_EQ(read_page_token("", "vpcs").value(), "");
  for (const std::string& wrong :
       {std::string("x"), token + "0", token + "zz", token.substr(0, 15), std::string(5000, 'a')}) {
    auto read = read_page_token(wrong, "vpcs?name=a*");
    ASSERT_FALSE(read) << wrong;
    EXPECT_EQ(read.error().field, "page_token");
  }
  EXPECT_FALSE(read_page_token(token, "vpcs?name=b*"));
  EXPECT_EQ(check_page_size(0).value(), 100U);
  EXPECT_EQ(check_page_size(5000).value(), 1000U);
  EXPECT_FALSE(check_page_size(-1));
}

TEST(Filter, ReadsTermsAndMatches) {
  constexpr std::string_view kFields[] = {"name", "vni"};
  auto values = [](std::string_view field) {
    return field == "name" ? Texts{"vpcs/blue"} : Texts{"4096"};
  };
  auto matches = [&](std::string_view text) {
    auto filter = Filter::parse(text, kFields);
    EXPECT_TRUE(filter) << text;
    return filter && filter->matches(values);
  };
  EXPECT_TRUE(matches(""));
  EXPECT_TRUE(matches("name=vpcs/blue"));
  EXPECT_TRUE(matches("  name = vpcs/b*   AND vni=4096 "));
  EXPECT_TRUE(matches("name=*"));
  EXPECT_FALSE(matches("name=vpcs/b"));
  EXPECT_FALSE(matches("name=vpcs/blue AND vni=1"));
  EXPECT_EQ(*Filter::parse("vni=4096", kFields)->exact("vni"), "4096");
  EXPECT_EQ(Filter::parse("vni=4*", kFields)->exact("vni"), nullptr);
  for (std::string wrong : {"name", "mtu=3", "name=", "name=a AND", "AND", "name=a*b",
                            "name=a OR b", "name=a AND AND vni=1"}) {
    auto filter = Filter::parse(wrong, kFields);
    ASSERT_FALSE(filter) << wrong;
    EXPECT_EQ(filter.error().field, "filter");
  }
  EXPECT_FALSE(Filter::parse(std::string(2000, 'x'), kFields));
}

}  // namespace
}  // namespace qmasq::controller
