// SPDX-License-Identifier: Apache-2.0
#include "keeper/wire.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

namespace qmasq::keeper {
namespace {

struct Pair {
  Pair() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
    left.reset(ends[0]);
    right.reset(ends[1]);
  }
  UniqueFd left;
  UniqueFd right;
};

// What goes over the socket is fixed for ever: the two ends may be of different builds.
TEST(KeeperWire, GoldenBytes) {
  Pair pair;
  Header header;
  header.kind = static_cast<std::uint16_t>(Kind::kRetag);
  header.id = 0x1122334455667788;
  header.outcome = static_cast<std::uint32_t>(Outcome::kFull);
  ASSERT_EQ(send_message(pair.left.get(), header, "tag"), 0);
  std::array<unsigned char, 64> bytes{};
  ASSERT_EQ(::read(pair.right.get(), bytes.data(), bytes.size()), 27);
  const std::string got(bytes.begin(), bytes.begin() + 27);
  EXPECT_EQ(got, std::string("QMKP"
                             "\x01\x00\x04\x00"
                             "\x88\x77\x66\x55\x44\x33\x22\x11"
                             "\x02\x00\x00\x00"
                             "\x03\x00\x00\x00"
                             "tag",
                             27));
}

TEST(KeeperWire, LongestTextAndADescriptor) {
  Pair pair;
  Header header;
  header.kind = static_cast<std::uint16_t>(Kind::kPut);
  const std::string text(kMaxText, 'x');
  EXPECT_EQ(send_message(pair.left.get(), header, text + "x"), EMSGSIZE);
  ASSERT_EQ(send_message(pair.left.get(), header, text, STDERR_FILENO), 0);
  Message message;
  ASSERT_EQ(receive_message(pair.right.get(), message), 0);
  EXPECT_EQ(message.kind(), Kind::kPut);
  EXPECT_EQ(message.text, text);
  EXPECT_TRUE(message.descriptor.valid());
}

TEST(KeeperWire, WhatIsNoMessageIsRefused) {
  Header right;
  Header foreign;
  foreign.magic = 1;
  Header longer;
  longer.size = 1;
  auto bytes = [](const Header& header, std::size_t size) {
    std::string out(size, '\0');
    std::memcpy(out.data(), &header, std::min(size, sizeof(header)));
    return out;
  };
  for (const std::string& packet :
       {std::string("x"), bytes(right, sizeof(Header) - 1), bytes(right, sizeof(Header) + 1),
        bytes(foreign, sizeof(Header)), bytes(longer, sizeof(Header)), bytes(right, kMaxPacket + 1),
        bytes(right, 3 * kMaxPacket)}) {
    Pair pair;
    ASSERT_GT(::send(pair.left.get(), packet.data(), packet.size(), 0), 0);
    Message message;
    EXPECT_EQ(receive_message(pair.right.get(), message), EBADMSG) << packet.size();
  }
  Pair pair;
  pair.left.reset();
  Message message;
  EXPECT_EQ(receive_message(pair.right.get(), message), EPIPE);
}

// Its size may mean something else there.
TEST(KeeperWire, AnotherVersionIsSeenAsSuch) {
  Pair pair;
  Header header;
  header.version = kVersion + 1;
  std::string packet(sizeof(Header) + 99, '\0');
  std::memcpy(packet.data(), &header, sizeof(header));
  ASSERT_GT(::send(pair.left.get(), packet.data(), packet.size(), 0), 0);
  Message message;
  ASSERT_EQ(receive_message(pair.right.get(), message), 0);
  EXPECT_EQ(message.header.version, kVersion + 1);
}

}  // namespace
}  // namespace qmasq::keeper
