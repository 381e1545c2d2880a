// SPDX-License-Identifier: Apache-2.0
#include "qos/fit.h"

#include <gtest/gtest.h>

#include <limits>

namespace qmasq::qos {
namespace {

Bandwidth guarantee(std::uint64_t bps) {
  Bandwidth out;
  if (bps > 0) out.guaranteed = BitsPerSecond{bps};
  return out;
}

FitVpc vpc(std::uint64_t own, std::vector<std::uint64_t> endpoints) {
  FitVpc out{VpcUid{1}, guarantee(own), {}};
  for (std::uint64_t bps : endpoints)
    out.endpoints.push_back({EndpointUid{out.endpoints.size() + 1}, guarantee(bps)});
  return out;
}

TEST(Fit, NobodyIsPromisedNothing) {
  EXPECT_EQ(promised(std::span<const FitVpc>{}), BitsPerSecond{0});
  EXPECT_EQ(promised(vpc(0, {})), BitsPerSecond{0});
  EXPECT_EQ(promised(vpc(0, {0, 0})), BitsPerSecond{0});
}

TEST(Fit, OnlyGuaranteesCount) {
  FitVpc blue = vpc(0, {0});
  blue.bandwidth.maximum = BitsPerSecond{100};
  blue.endpoints[0].bandwidth.maximum = BitsPerSecond{50};
  EXPECT_EQ(promised(blue), BitsPerSecond{0});
}

TEST(Fit, AVpcIsPromisedItsOwnOrItsEndpointsWhateverIsMore) {
  EXPECT_EQ(promised(vpc(30, {10, 5})), BitsPerSecond{30});
  EXPECT_EQ(promised(vpc(30, {10, 20})), BitsPerSecond{30});
  EXPECT_EQ(promised(vpc(30, {10, 21})), BitsPerSecond{31});
  EXPECT_EQ(promised(vpc(0, {10, 0, 21})), BitsPerSecond{31});
}

TEST(Fit, VpcsAddUp) {
  const std::vector<FitVpc> all = {vpc(30, {10}), vpc(5, {4, 4}), vpc(0, {})};
  EXPECT_EQ(promised(all), BitsPerSecond{38});
}

TEST(Fit, SumsStopAtTheLargestNumber) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(promised(vpc(1, {kMost, 1})), BitsPerSecond{kMost});
  const std::vector<FitVpc> all = {vpc(kMost - 1, {}), vpc(0, {1, 1})};
  EXPECT_EQ(promised(all), BitsPerSecond{kMost});
}

}  // namespace
}  // namespace qmasq::qos
