// SPDX-License-Identifier: Apache-2.0
#include "qos/backends/tc/codec.h"

#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

namespace qmasq::qos::tc {
namespace {

// tcm_ifindex of the device that the expected bytes were made for.
constexpr int kDevice = 2;
constexpr std::uint32_t kSequence = 7;

std::string hex(Bytes bytes) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i > 0 && i % 4 == 0) text += ' ';
    auto value = std::to_integer<unsigned>(bytes[i]);
    text += kDigits[value >> 4U];
    text += kDigits[value & 15U];
  }
  return text;
}

std::string encoded(const Operation& operation) {
  return hex(encode(operation, kDevice, kSequence));
}

// What follows is what tc(8) of iproute2 6.1 sends for the same, sequence and device apart.

// tc qdisc add dev DEV root handle 716d: htb
TEST(TcEncode, RootQdisc) {
  EXPECT_EQ(encoded(AddQdisc{kOurs}),
            "48000000 24000506 07000000 00000000 "
            "00000000 02000000 00006d71 ffffffff 00000000 "
            "08000100 68746200 "
            "1c000280 18000200 03000000 0a000000 00000000 00000000 00000000");
  EXPECT_EQ(encoded(DeleteQdisc{kOurs}),
            "24000000 25000500 07000000 00000000 "
            "00000000 02000000 00006d71 ffffffff 00000000");
}

// tc filter add dev DEV parent 716d: protocol ip prio 10 handle 0x64 flower skip_hw ip_proto udp
// dst_port 4791 src_port 49152/0xfff0 classid 716d:12
TEST(TcEncode, Filter) {
  Filter filter;
  filter.priority = 10;
  filter.protocol = 0x0800;
  filter.handle = 100;
  filter.target = with_minor(0x12);
  filter.match = Filter::Match{4791, 49152, 0xfff0};
  EXPECT_EQ(encoded(AddFilter{filter}),
            "6c000000 2c000506 07000000 00000000 "
            "00000000 02000000 64000000 00006d71 08000a00 "
            "0b000100 666c6f77 65720000 "
            "3c000280 05000900 11000000 06001500 12b70000 06001400 c0000000 06002500 fff00000 "
            "08000100 12006d71 08001600 01000000 06000800 08000000");
  // Of any port, IPv6.
  filter.protocol = 0x86dd;
  filter.match->source_mask = 0;
  EXPECT_EQ(encoded(AddFilter{filter}),
            "5c000000 2c000506 07000000 00000000 "
            "00000000 02000000 64000000 00006d71 86dd0a00 "
            "0b000100 666c6f77 65720000 "
            "2c000280 05000900 11000000 06001500 12b70000 "
            "08000100 12006d71 08001600 01000000 06000800 86dd0000");
  EXPECT_EQ(encoded(DeleteFilter{10, 0x0800, 100}),
            "30000000 2d000500 07000000 00000000 "
            "00000000 02000000 64000000 00006d71 08000a00 "
            "0b000100 666c6f77 65720000");
}

// tc class add dev DEV parent 716d:1 classid 716d:12 htb rate 8kbit ceil 20mbit mpu ... quantum
// 42280. tc sends rate tables besides and their cell_log (3); the kernel wants none where the link
// layer is named.
TEST(TcEncode, Class) {
  Class spec;
  spec.id = with_minor(0x12);
  spec.parent = with_minor(1);
  spec.rate = 1000;
  spec.ceil = 2'500'000;
  spec.rate_mpu = 0x17;
  spec.ceil_mpu = 0x2d;
  spec.buffer = 0x3d090000;
  spec.cbuffer = 0x0002625a;
  spec.quantum = 42280;
  EXPECT_EQ(encoded(AddClass{spec}),
            "60000000 28000506 07000000 00000000 "
            "00000000 02000000 12006d71 01006d71 00000000 "
            "08000100 68746200 "
            "34000280 30000100 00010000 ffff1700 e8030000 00010000 ffff2d00 a0252600 "
            "0000093d 5a620200 28a50000 00000000 00000000");
  EXPECT_EQ(encoded(ChangeClass{spec}).substr(0, 35), "60000000 28000500 07000000 00000000");
  EXPECT_EQ(encoded(DeleteClass{spec.id}),
            "24000000 29000500 07000000 00000000 "
            "00000000 02000000 12006d71 00000000 00000000");
  // More than 32 bits of bytes per second: 400 Gbit/s. The old field is filled up.
  spec.ceil = 50'000'000'000;
  EXPECT_EQ(encoded(AddClass{spec}),
            "6c000000 28000506 07000000 00000000 "
            "00000000 02000000 12006d71 01006d71 00000000 "
            "08000100 68746200 "
            "40000280 0c000700 00743ba4 0b000000 "
            "30000100 00010000 ffff1700 e8030000 00010000 ffff2d00 ffffffff "
            "0000093d 5a620200 28a50000 00000000 00000000");
}

TEST(TcEncode, Dumps) {
  EXPECT_EQ(hex(encode_dump(Dump::kQdiscs, kOurs, kDevice, kSequence)),
            "24000000 26000103 07000000 00000000 "
            "00000000 02000000 00000000 00000000 00000000");
  EXPECT_EQ(hex(encode_dump(Dump::kClasses, kOurs, kDevice, kSequence)),
            "24000000 2a000103 07000000 00000000 "
            "00000000 02000000 00000000 00006d71 00000000");
  EXPECT_EQ(hex(encode_dump(Dump::kFilters, kOurs, kDevice, kSequence)),
            "24000000 2e000103 07000000 00000000 "
            "00000000 02000000 00000000 00006d71 00000000");
}

// What Linux 6.1 answered, on a device with index 2 and a root of two VPCs with an endpoint each
// (tests/fuzz/tc_parse/corpus; tests run in the repository).
class Recorded {
 public:
  explicit Recorded(const std::string& name) {
    std::ifstream file("tests/fuzz/tc_parse/corpus/" + name, std::ios::binary);
    std::string all{std::istreambuf_iterator<char>(file), {}};
    EXPECT_FALSE(all.empty()) << name;
    bytes_.resize(all.size());
    std::memcpy(bytes_.data(), all.data(), all.size());
  }
  template <typename T>
  std::vector<T> parse(std::uint16_t type, Result<std::optional<T>> (*parser)(Bytes, int),
                       int device = kDevice) const {
    std::vector<T> found;
    auto done = for_each_message(bytes_, [&](const Message& message) {
      if (message.type != type) return;
      auto one = parser(message.payload, device);
      ASSERT_TRUE(one) << one.error().message;
      if (*one) found.push_back(**one);
    });
    EXPECT_TRUE(done) << done.error().message;
    return found;
  }
  [[nodiscard]] Bytes bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

TEST(TcParse, Qdiscs) {
  Recorded recorded("qdiscs-0");
  auto found = recorded.parse(RTM_NEWQDISC, parse_qdisc);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0], (Qdisc{kOurs, kRoot, "htb"}));
  // The kernel tells of all devices.
  EXPECT_FALSE(recorded.parse(RTM_NEWQDISC, parse_qdisc, 1).empty());
  EXPECT_TRUE(recorded.parse(RTM_NEWQDISC, parse_qdisc, 99).empty());
}

TEST(TcParse, Classes) {
  auto found = Recorded("classes-0").parse(RTM_NEWTCLASS, parse_class);
  ASSERT_EQ(found.size(), 6U);
  const Class& endpoint = found.back();
  EXPECT_EQ(endpoint.id, with_minor(0x12));
  EXPECT_EQ(endpoint.parent, with_minor(0x10));
  EXPECT_EQ(endpoint.rate, 1000U);
  EXPECT_EQ(endpoint.ceil, 2'500'000U);
  EXPECT_EQ(endpoint.rate_mpu, 0x17);
  EXPECT_EQ(endpoint.ceil_mpu, 0x2d);
  EXPECT_EQ(endpoint.cbuffer, 10'000'000U / 64);
  EXPECT_EQ(endpoint.buffer & 0x7fU, 10U);
  EXPECT_EQ(endpoint.quantum, 42280U);
  EXPECT_EQ(endpoint.stats, ClassStats{});
}

TEST(TcParse, Filters) {
  auto found = Recorded("filters-0").parse(RTM_NEWTFILTER, parse_filter);
  ASSERT_EQ(found.size(), 6U);
  EXPECT_EQ(found[0].handle, 100U);
  EXPECT_EQ(found[0].priority, 10);
  EXPECT_EQ(found[0].protocol, 0x0800);
  EXPECT_EQ(found[0].target, with_minor(0x12));
  EXPECT_EQ(found[0].match, (Filter::Match{4791, 49152, 0xfff0}));
  EXPECT_EQ(found[3].protocol, 0x86dd);
  EXPECT_EQ(found[5].match, (Filter::Match{4791, 0, 0}));
}

TEST(TcParse, AnErrorWithTheKernelsWords) {
  int seen = 0;
  ASSERT_TRUE(for_each_message(Recorded("error").bytes(), [&](const Message& message) {
    ++seen;
    EXPECT_EQ(message.type, NLMSG_ERROR);
    auto ack = parse_ack(message);
    ASSERT_TRUE(ack);
    EXPECT_NE(ack->err, 0);
    EXPECT_EQ(ack->text, "Invalid handle");
  }));
  EXPECT_EQ(seen, 1);
}

// Our own words for a filter are read as they were meant.
TEST(TcParse, WhatIsEncodedIsParsed) {
  Filter filter;
  filter.priority = 11;
  filter.protocol = 0x86dd;
  filter.handle = 0xffffffff;
  filter.target = with_minor(0xffff);
  filter.match = Filter::Match{4791, 0xffff, 0xffff};
  auto bytes = encode(AddFilter{filter}, kDevice, kSequence);
  ASSERT_TRUE(for_each_message(bytes, [&](const Message& message) {
    auto found = parse_filter(message.payload, kDevice);
    ASSERT_TRUE(found && *found);
    // Without the mask that the kernel adds it is not sure to be one of ours.
    EXPECT_FALSE((*found)->match);
    EXPECT_EQ((*found)->target, filter.target);
  }));
  Class spec;
  spec.id = with_minor(9);
  spec.rate = 5'000'000'000;
  spec.ceil = 50'000'000'000;
  bytes = encode(AddClass{spec}, kDevice, kSequence);
  ASSERT_TRUE(for_each_message(bytes, [&](const Message& message) {
    auto found = parse_class(message.payload, kDevice);
    ASSERT_TRUE(found && *found);
    EXPECT_EQ(**found, spec);
  }));
}

// Each message cut off at each byte, and with each byte turned over: an error or something else,
// never a read outside.
TEST(TcParse, StandsDamage) {
  for (const char* name : {"qdiscs-0", "classes-0", "filters-0", "error"}) {
    Recorded recorded(name);
    std::vector<std::byte> whole(recorded.bytes().begin(), recorded.bytes().end());
    auto parse = [](const std::vector<std::byte>& bytes) {
      (void)for_each_message(bytes, [](const Message& message) {
        (void)parse_qdisc(message.payload, kDevice);
        (void)parse_class(message.payload, kDevice);
        (void)parse_filter(message.payload, kDevice);
        (void)parse_ack(message);
      });
    };
    for (std::size_t i = 0; i < whole.size(); ++i) {
      parse({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(i)});
      auto turned = whole;
      turned[i] = ~turned[i];
      parse(turned);
    }
  }
  EXPECT_FALSE(parse_class({}, kDevice));
  EXPECT_FALSE(parse_ack({}));
}

}  // namespace
}  // namespace qmasq::qos::tc
