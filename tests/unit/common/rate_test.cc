// SPDX-License-Identifier: Apache-2.0
#include "common/rate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace qmasq {
namespace {

using ::testing::HasSubstr;

TEST(Rate, IsReadAsPeopleWriteIt) {
  EXPECT_EQ(parse_rate("20Mbit")->value, 20'000'000U);
  EXPECT_EQ(parse_rate("12.5Gbit")->value, 12'500'000'000U);
  EXPECT_EQ(parse_rate("800kbit/s")->value, 800'000U);
  EXPECT_EQ(parse_rate("1gbitps")->value, 1'000'000'000U);
  EXPECT_EQ(parse_rate("1bit")->value, 1U);
  EXPECT_EQ(parse_rate("10Tbit")->value, 10'000'000'000'000U);
  EXPECT_EQ(parse_rate("0Mbit")->value, 0U);  // whether it makes sense is for others to say
}

TEST(Rate, IsRefusedWhereItIsNone) {
  for (const char* text : {"", "20", "Mbit", "-1Mbit", "1.Mbit", ".5Mbit", "1.5bit", "1e3Mbit",
                           "20 Mbit", "20MB", "11Tbit", "1.2.3Mbit", "99999999999999999999999Mbit",
                           "20Mbit20Mbit", "20ps", "/s", "0x10Mbit", "1.0000000000001Gbit"}) {
    auto rate = parse_rate(text);
    EXPECT_FALSE(rate) << text;
    if (!rate) {
      EXPECT_EQ(rate.error().code, Code::kInvalidArgument);
      EXPECT_THAT(rate.error().message, HasSubstr("12.5Gbit"));
    }
  }
  EXPECT_THAT(parse_rate("\x1b[2J").error().message, HasSubstr("'?[2J'"));
}

TEST(Rate, IsWrittenAsShortAsIsExact) {
  EXPECT_EQ(to_string(BitsPerSecond{20'000'000}), "20Mbit");
  EXPECT_EQ(to_string(BitsPerSecond{12'500'000'000}), "12.5Gbit");
  EXPECT_EQ(to_string(BitsPerSecond{1'500'001}), "1500001bit");
  EXPECT_EQ(to_string(BitsPerSecond{999}), "999bit");
  EXPECT_EQ(to_string(BitsPerSecond{0}), "0bit");
}

TEST(Rate, ComesBackAsItWas) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t value = (random() >> (random() % 40)) % 10'000'000'000'000;
    EXPECT_EQ(parse_rate(to_string(BitsPerSecond{value}))->value, value);
    EXPECT_EQ(parse_size(size_to_string(value)).value(), value);
  }
}

TEST(Size, IsReadAndWritten) {
  EXPECT_EQ(parse_size("64KiB").value(), 65536U);
  EXPECT_EQ(parse_size("1MB").value(), 1'000'000U);
  EXPECT_EQ(parse_size("1.5GiB").value(), 1'610'612'736U);
  EXPECT_EQ(parse_size("1500").value(), 1500U);
  EXPECT_EQ(size_to_string(65536), "64KiB");
  EXPECT_EQ(size_to_string(1500), "1500B");
  EXPECT_FALSE(parse_size("2EiB"));
  EXPECT_FALSE(parse_size("-1"));
  EXPECT_FALSE(parse_size(""));
  EXPECT_FALSE(parse_size("1.5"));
}

}  // namespace
}  // namespace qmasq
