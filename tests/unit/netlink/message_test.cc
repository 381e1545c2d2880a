// SPDX-License-Identifier: Apache-2.0
#include "vbond/netlink/message.h"

#include <gtest/gtest.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <initializer_list>

#include "vbond/netlink/encode.h"

namespace qmasq::vbond::netlink {
namespace {

std::vector<std::byte> bytes(std::initializer_list<int> values) {
  std::vector<std::byte> out;
  for (int value : values)
    out.push_back(static_cast<std::byte>(value));
  return out;
}

// Payload of the one message in it.
Bytes payload_of(const std::vector<std::byte>& message) {
  auto split = split_messages(message);
  EXPECT_TRUE(split);
  EXPECT_EQ(split->size(), 1U);
  return split->front().payload;
}

TEST(Encode, APermanentNeighbourByteForByte) {
  PutNeighbour put{"eth0", *parse_ip("10.0.0.2"), *parse_mac("02:71:00:00:00:02")};
  // linux/rtnetlink.h and linux/neighbour.h, little-endian.
  EXPECT_EQ(encode(put, 7).finish(0x01020304),
            bytes({0x38, 0, 0,  0, 28,  0,    0x05, 0x05, 4,    3, 2, 1, 0, 0, 0, 0,  // nlmsghdr
                   2,    0, 0,  0, 7,   0,    0,    0,    0x80, 0, 0, 0,              // ndmsg
                   8,    0, 1,  0, 10,  0,    0,    2,                                // NDA_DST
                   10,   0, 2,  0, 2,   0x71, 0,    0,    0,    2, 0, 0,              // NDA_LLADDR
                   5,    0, 12, 0, 113, 0,    0,    0}));  // NDA_PROTOCOL
}

TEST(Encode, ADeviceEntryByteForByte) {
  PutFdb put{"qmx1", FdbEntry::Table::kDevice, *parse_mac("02:71:00:00:00:02"),
             *parse_ip("192.0.2.9")};
  EXPECT_EQ(encode(put, 3).finish(1),
            bytes({0x30, 0,    0, 0, 28, 0, 0x05, 0x05, 1,    0, 0,        0, 0,   0, 0, 0,
                   7,    0,    0, 0, 3,  0, 0,    0,    0x80, 0, NTF_SELF, 0, 10,  0, 2, 0,
                   2,    0x71, 0, 0, 0,  2, 0,    0,    8,    0, 1,        0, 192, 0, 2, 9}));
}

TEST(Encode, WhatIsEncodedParsesBack) {
  AddLink add;
  add.link.name = "qmx4096";
  add.link.kind = LinkKind::kVxlan;
  add.link.mac = *parse_mac("02:71:00:00:00:02");
  add.link.mtu = 1450;
  add.link.group = kLinkGroup;
  add.link.vxlan = VxlanOptions{Vni{4096}, *parse_ip("fd00::9"), 4789, false};
  auto parsed = parse_link(payload_of(encode(add).finish(1)));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(*parsed, add.link);

  auto address =
      parse_address(payload_of(encode(AddAddress{"e", *parse_ip("10.1.2.3"), 24}, 5).finish(1)));
  ASSERT_TRUE(address);
  EXPECT_EQ(*address, (Address{5, *parse_ip("10.1.2.3"), 24, kProtocol}));
  auto neighbour = parse_neighbour(
      payload_of(encode(PutNeighbour{"e", *parse_ip("fe80::1"), add.link.mac}, 5).finish(1)));
  ASSERT_TRUE(neighbour && *neighbour);
  EXPECT_EQ(**neighbour, (Neighbour{5, *parse_ip("fe80::1"), add.link.mac, true, kProtocol}));
  auto entry = parse_fdb(
      payload_of(encode(PutFdb{"e", FdbEntry::Table::kBridge, add.link.mac, {}}, 5).finish(1)));
  ASSERT_TRUE(entry && *entry);
  EXPECT_EQ((*entry)->fixed, true);
  EXPECT_EQ((*entry)->local, false);
}

TEST(Parse, PortFlagsComeFromTheBridgesPartOnly) {
  auto message = [](const char* slave_kind) {
    return MessageBuilder(RTM_NEWLINK, 0, ifinfomsg{})
        .text(IFLA_IFNAME, "p")
        .nest(IFLA_LINKINFO,
              [&](MessageBuilder& info) {
                info.text(IFLA_INFO_KIND, "veth");
                info.text(IFLA_INFO_SLAVE_KIND, slave_kind);
                info.nest(IFLA_INFO_SLAVE_DATA, [](MessageBuilder& data) {
                  data.u8(IFLA_BRPORT_LEARNING, 0).u8(IFLA_BRPORT_LOCKED, 1);
                });
              })
        .finish(1);
  };
  auto link = parse_link(payload_of(message("bridge")));
  ASSERT_TRUE(link && link->port);
  EXPECT_FALSE(link->port->learning);
  EXPECT_TRUE(link->port->locked);
  EXPECT_TRUE(link->port->unicast_flood);  // not said: as the kernel has it
  link = parse_link(payload_of(message("bond")));
  ASSERT_TRUE(link);
  EXPECT_FALSE(link->port);
}

TEST(Parse, LengthsThatDoNotFitAreErrors) {
  auto whole = encode(AddAddress{"e", *parse_ip("10.1.2.3"), 24}, 5).finish(1);
  for (std::size_t cut = 0; cut < whole.size(); ++cut) {
    auto split = split_messages(Bytes(whole).first(cut));
    EXPECT_EQ(split.has_value(), cut == 0) << cut;
    if (cut >= 16) {
      // The header says less than there is: attributes end early or in the middle.
      Bytes payload = Bytes(whole).subspan(16, cut - 16);
      (void)parse_address(payload);
      (void)parse_link(payload);
      (void)parse_neighbour(payload);
      (void)parse_fdb(payload);
    }
  }
  // A message of length zero must not be read forever.
  EXPECT_FALSE(split_messages(bytes({0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})));
  // An attribute of length zero neither.
  EXPECT_FALSE(for_each_attribute(bytes({0, 0, 1, 0}), [](std::uint16_t, Bytes) {}));
}

TEST(Parse, AnAttributeOfAnotherSizeIsNotThere) {
  std::uint64_t wide = 1500;
  auto link = parse_link(payload_of(MessageBuilder(RTM_NEWLINK, 0, ifinfomsg{})
                                        .add(IFLA_MTU, &wide, sizeof wide)
                                        .add(IFLA_ADDRESS, &wide, sizeof wide)
                                        .finish(1)));
  ASSERT_TRUE(link);
  EXPECT_EQ(link->mtu, 0U);
  EXPECT_TRUE(link->mac.is_zero());
}

TEST(Parse, AcknowledgementWithTheKernelsWords) {
  nlmsgerr error{};
  error.error = -EEXIST;
  error.msg.nlmsg_len = 1000;  // of the request; capped
  auto datagram = MessageBuilder(NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS, error)
                      .text(NLMSGERR_ATTR_MSG, "already there")
                      .finish(9);
  auto split = split_messages(datagram);
  ASSERT_TRUE(split);
  auto ack = parse_ack(split->front());
  ASSERT_TRUE(ack);
  EXPECT_EQ(ack->err, EEXIST);
  EXPECT_EQ(ack->text, "already there");
  EXPECT_EQ(split->front().sequence, 9U);

  error.error = 5;  // never sent; must not read as done
  ack = parse_ack(split_messages(MessageBuilder(NLMSG_ERROR, 0, error).finish(1))->front());
  ASSERT_TRUE(ack);
  EXPECT_NE(ack->err, 0);
}

TEST(Describe, NamesTheObject) {
  EXPECT_EQ(describe(DeleteLink{"qmb1"}), "delete link qmb1");
  Operation put = PutNeighbour{"eth0", *parse_ip("10.0.0.2"), {}};
  EXPECT_EQ(describe(put), "set neighbour 10.0.0.2 on eth0");
  EXPECT_EQ(link_of(put), "eth0");
}

}  // namespace
}  // namespace qmasq::vbond::netlink
