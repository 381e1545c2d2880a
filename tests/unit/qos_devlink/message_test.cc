// SPDX-License-Identifier: Apache-2.0
#include "qos/backends/devlink/message.h"

#include <gtest/gtest.h>
#include <linux/netlink.h>

#include <cerrno>
#include <fstream>
#include <iterator>

namespace qmasq::qos::devlink {
namespace {

// What the kernel of Linux 6.1 with netdevsim sent to a generic netlink socket, one file for each
// answer; devlink was family 21 then.
std::vector<std::byte> recorded(const std::string& name) {
  std::ifstream file("tests/fuzz/devlink_parse/corpus/" + name, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  EXPECT_FALSE(text.empty()) << name;
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

std::string hex(const std::vector<std::byte>& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (std::byte byte : bytes) {
    text += kDigits[std::to_integer<unsigned>(byte) >> 4U];
    text += kDigits[std::to_integer<unsigned>(byte) & 15U];
  }
  return text;
}

const Target kTarget{21, {"netdevsim", "netdevsim10"}};
const std::string kHandle = "0e0001006e657464657673696d000000100002006e657464657673696d313000";

// These are the bytes to which the recorded answers came.
TEST(DevlinkMessage, Requests) {
  EXPECT_EQ(hex(ask_family(0x65)),
            "20000000100005006500000000000000030100000c0002006465766c696e6b00");
  EXPECT_EQ(hex(ask_objects(kTarget, 0x66)), "340000001500010366000000000000004a010000" + kHandle);
  EXPECT_EQ(hex(ask_object(kTarget, RateId::leaf(128), 0x67)),
            "3c0000001500050067000000000000004a010000" + kHandle + "0800030080000000");
  EXPECT_EQ(hex(set_object(kTarget, RateId::leaf(128), {{}, 1, {}, {}}, 0x68)),
            "480000001500050068000000000000004b010000" + kHandle +
                "0800030080000000"
                "0c00a7000100000000000000");
  EXPECT_EQ(hex(set_object(kTarget, RateId::leaf(128), {{}, {}, 5, {}}, 0x69)),
            "440000001500050069000000000000004b010000" + kHandle +
                "0800030080000000"
                "0800b20005000000");
  EXPECT_EQ(hex(delete_node(kTarget, "qmasq-vpc-17", 0x6a)),
            "48000000150005006a000000000000004d010000" + kHandle +
                "1100a800716d6173712d7670632d313700000000");
}

TEST(DevlinkMessage, RequestsOfNodes) {
  EXPECT_EQ(hex(new_node(kTarget, "qmasq-vpc-17", 1)),
            "480000001500050001000000000000004c010000" + kHandle +
                "1100a800716d6173712d7670632d313700000000");
  EXPECT_EQ(hex(set_object(kTarget, RateId::node("n"), {625000, 1250000, {}, "p"}, 2)),
            "5c0000001500050002000000000000004b010000" + kHandle +
                "0600a8006e000000"
                "0c00a6006889090000000000"
                "0c00a700d012130000000000"
                "0600a90070000000");
  // No parent is an empty name.
  EXPECT_EQ(hex(set_object(kTarget, RateId::leaf(1), {0, {}, {}, ""}, 3)),
            "500000001500050003000000000000004b010000" + kHandle +
                "0800030001000000"
                "0c00a6000000000000000000"
                "0500a90000000000");
  EXPECT_EQ(hex(ask_device(kTarget, 4)),
            "340000001500050004000000000000000101000" + ("0" + kHandle));
}

TEST(DevlinkMessage, LongNamesFit) {
  Target target{21, {std::string(1000, 'b'), std::string(2000, 'd')}};
  auto bytes = set_object(target, RateId::node(std::string(3000, 'n')),
                          {1, 2, 3, std::string(4000, 'p')}, 1);
  auto messages = split_messages(bytes);
  ASSERT_TRUE(messages);
  EXPECT_GT(bytes.size(), 10000U);
}

TEST(DevlinkMessage, Family) {
  auto bytes = recorded("family");
  auto messages = split_messages(bytes);
  ASSERT_TRUE(messages);
  ASSERT_EQ(messages->size(), 1U);
  EXPECT_EQ(parse_family(messages->front()).value(), 21);
  EXPECT_FALSE(parse_object(messages->front()));
  EXPECT_FALSE(parse_ack(messages->front()));
}

TEST(DevlinkMessage, Objects) {
  auto bytes = recorded("objects");
  auto messages = split_messages(bytes);
  ASSERT_TRUE(messages);
  ASSERT_EQ(messages->size(), 6U);
  std::vector<OwnedObject> objects;
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ((*messages)[i].sequence, 0x66U);
    auto object = parse_object((*messages)[i]);
    ASSERT_TRUE(object);
    ASSERT_TRUE(*object);
    objects.push_back(**object);
  }
  for (const OwnedObject& object : objects)
    EXPECT_EQ(object.handle, kTarget.handle);
  // 20 Mbit/s are 2500000 bytes.
  EXPECT_EQ(objects[0].object, (RateObject{RateId::node("qmasq-vpc-17"), 0, 2'500'000, {}, {}}));
  EXPECT_EQ(objects[1].object,
            (RateObject{RateId::leaf(128), 625'000, 1'250'000, {}, "qmasq-vpc-17"}));
  EXPECT_EQ(objects[4].object, (RateObject{RateId::leaf(131), 0, 0, {}, {}}));
  EXPECT_EQ(messages->back().type, NLMSG_DONE);
  EXPECT_EQ(parse_ack(messages->back()).value().err, 0);
}

TEST(DevlinkMessage, ErrorsCarryTheKernelsWords) {
  struct Case {
    const char* name;
    int err;
    const char* text;
  };
  for (const Case& c :
       {Case{"set-not-unit", EINVAL, "netdevsim: TX rate value not in link speed units of 1Mbps."},
        Case{"weight", EINVAL, "Unknown attribute type"},
        Case{"busy", EBUSY, "leftover: Node has children. Cannot delete node."},
        Case{"nodev", ENODEV, ""}, Case{"done", 0, ""}}) {
    auto bytes = recorded(c.name);
    auto messages = split_messages(bytes);
    ASSERT_TRUE(messages) << c.name;
    auto ack = parse_ack(messages->front());
    ASSERT_TRUE(ack) << c.name;
    EXPECT_EQ(ack->err, c.err) << c.name;
    EXPECT_EQ(ack->text, c.text) << c.name;
  }
}

// A newer kernel's object: with priority and weight (attributes 177 and 178).
TEST(DevlinkMessage, Weight) {
  auto bytes = recorded("leaf");
  for (unsigned char more : {8, 0, 177, 0, 0, 0, 0, 0, 8, 0, 178, 0, 7, 0, 0, 0}) {
    bytes.push_back(std::byte{more});
  }
  bytes[0] = std::byte(bytes.size());
  auto messages = split_messages(bytes);
  ASSERT_TRUE(messages);
  auto object = parse_object(messages->front());
  ASSERT_TRUE(object && *object);
  EXPECT_EQ((*object)->object.tx_weight, 7U);
}

TEST(DevlinkMessage, ForeignTypesOfObjectsAreNone) {
  auto bytes = recorded("leaf");
  // DEVLINK_ATTR_RATE_TYPE's value, behind its header.
  constexpr std::size_t kType = 20 + 16 + 16 + 4;
  ASSERT_EQ(bytes[kType - 2], std::byte{165});
  bytes[kType] = std::byte{9};
  auto messages = split_messages(bytes);
  ASSERT_TRUE(messages);
  auto object = parse_object(messages->front());
  ASSERT_TRUE(object);
  EXPECT_FALSE(*object);
}

// Cut anywhere: an error or less, never a read outside (the sanitizers watch).
TEST(DevlinkMessage, CutAnswers) {
  for (const char* name : {"family", "objects", "leaf", "busy", "done"}) {
    auto bytes = recorded(name);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      std::vector<std::byte> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_EQ(split_messages(cut).has_value() && size != 0,
                size != 0 && std::string(name) == "objects" && size % 4 == 0 &&
                    (size == 104 || size == 216 || size == 308 || size == 400 || size == 492))
          << name << " " << size;
      if (size < 16) continue;
      // The lengths inside are now wrong, the outer one is not.
      Message message{NLMSG_ERROR, NLM_F_ACK_TLVS, 1, cut};
      (void)parse_object(message);
      (void)parse_family(message);
      (void)parse_ack(message);
    }
  }
}

}  // namespace
}  // namespace qmasq::qos::devlink
