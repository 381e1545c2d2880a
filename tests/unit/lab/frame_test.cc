// SPDX-License-Identifier: Apache-2.0
#include "lab/exec/frame.h"

#include <gtest/gtest.h>

#include <random>

namespace qmasq::lab {
namespace {

std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
  std::vector<std::byte> bytes;
  for (const int value : values)
    bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

StartRequest sample() {
  StartRequest request;
  request.token = "secret";
  request.terminal = true;
  request.window = {50, 132};
  request.directory = "/tmp";
  request.arguments = {"echo", "", "two words"};
  request.environment = {"A=1"};
  return request;
}

std::vector<std::byte> payload_of(const std::vector<std::byte>& framed) {
  return {framed.begin() + 5, framed.end()};
}

TEST(Frame, GoldenBytes) {
  EXPECT_EQ(encode_u8(FrameType::kExited, 137), bytes_of({0, 0, 0, 2, 20, 137}));
  EXPECT_EQ(encode_window({24, 300}), bytes_of({0, 0, 0, 5, 5, 0, 24, 1, 44}));
  EXPECT_EQ(encode_text(FrameType::kStdout, "hi"), bytes_of({0, 0, 0, 3, 18, 'h', 'i'}));
}

TEST(Frame, StartComesBackAsItWent) {
  const auto decoded = decode_start(payload_of(encode_start(sample())));
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->token, "secret");
  EXPECT_TRUE(decoded->terminal);
  EXPECT_EQ(decoded->window.rows, 50);
  EXPECT_EQ(decoded->window.columns, 132);
  EXPECT_EQ(decoded->directory, "/tmp");
  EXPECT_EQ(decoded->arguments, sample().arguments);
  EXPECT_EQ(decoded->environment, sample().environment);
}

TEST(Frame, EveryTruncatedStartIsRefused) {
  const auto payload = payload_of(encode_start(sample()));
  for (std::size_t size = 0; size < payload.size(); ++size) {
    EXPECT_FALSE(decode_start(std::span(payload).first(size))) << size;
  }
  auto longer = payload;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(decode_start(longer));
}

TEST(Frame, StartWithoutCommandOrWithZeroByteIsRefused) {
  StartRequest request = sample();
  request.arguments.clear();
  EXPECT_FALSE(decode_start(payload_of(encode_start(request))));
  request.arguments = {std::string("a\0b", 3)};
  EXPECT_FALSE(decode_start(payload_of(encode_start(request))));
}

TEST(Frame, AListLongerThanItsFrameIsRefusedBeforeMemoryIsTaken) {
  auto payload = payload_of(encode_start(sample()));
  // token: 4 + 6, terminal 1, window 4, directory 4 + 4: then the count of arguments.
  for (std::size_t i = 23; i < 27; ++i)
    payload[i] = std::byte{0xff};
  EXPECT_FALSE(decode_start(payload));
}

TEST(FrameReader, CutsTheStreamWhereverItIsSplit) {
  std::vector<std::byte> stream;
  for (int i = 0; i < 50; ++i) {
    const auto framed = encode_text(FrameType::kStdout, std::string(static_cast<size_t>(i), 'x'));
    stream.insert(stream.end(), framed.begin(), framed.end());
  }
  for (std::size_t step : {1U, 2U, 3U, 7U, 64U, 4096U}) {
    FrameReader reader;
    std::size_t seen = 0;
    for (std::size_t at = 0; at < stream.size(); at += step) {
      reader.feed(std::span(stream).subspan(at, std::min(step, stream.size() - at)));
      while (true) {
        auto frame = reader.next();
        ASSERT_TRUE(frame);
        if (!*frame) break;
        EXPECT_EQ((*frame)->type, FrameType::kStdout);
        EXPECT_EQ((*frame)->payload.size(), seen++);
      }
    }
    EXPECT_EQ(seen, 50U);
  }
}

TEST(FrameReader, RefusesLengthsThatNoHonestPeerSends) {
  for (const auto& bytes : {bytes_of({0, 0, 0, 0}), bytes_of({0xff, 0xff, 0xff, 0xff, 1})}) {
    FrameReader reader;
    reader.feed(bytes);
    EXPECT_FALSE(reader.next());
  }
}

TEST(Frame, RandomBytesNeverDoHarm) {
  std::mt19937 random(7);
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> bytes(random() % 64);
    for (std::byte& byte : bytes)
      byte = static_cast<std::byte>(random() % 4 == 0 ? random() : 0);
    (void)decode_start(bytes);
    (void)decode_window(bytes);
    (void)decode_u8(bytes);
  }
}

}  // namespace
}  // namespace qmasq::lab
