// SPDX-License-Identifier: Apache-2.0
#include "vbond/sync/backoff.h"

#include <gtest/gtest.h>

namespace qmasq::vbond {
namespace {

using std::chrono::milliseconds;

TEST(Backoff, DoublesUpToTheLongest) {
  Backoff backoff({milliseconds(100), milliseconds(350), milliseconds(1000)}, [] { return 0.0; });
  EXPECT_EQ(backoff.next(), milliseconds(50));
  EXPECT_EQ(backoff.next(), milliseconds(100));
  EXPECT_EQ(backoff.next(), milliseconds(175));
  EXPECT_EQ(backoff.next(), milliseconds(175));
  backoff.reset();
  EXPECT_EQ(backoff.next(), milliseconds(50));
}

TEST(Backoff, SpreadsOverTheUpperHalf) {
  double random = 0.0;
  Backoff backoff({milliseconds(1000), milliseconds(1000), milliseconds(60'000)},
                  [&] { return random; });
  EXPECT_EQ(backoff.next(), milliseconds(500));
  random = 0.5;
  EXPECT_EQ(backoff.next(), milliseconds(750));
  random = 0.999;
  EXPECT_EQ(backoff.next(), milliseconds(999));
  random = 7;  // a bad generator does no harm
  EXPECT_EQ(backoff.next(), milliseconds(1000));
}

TEST(Backoff, ARefusalWaitsLongAndLeavesTheRestAlone) {
  Backoff backoff({milliseconds(100), milliseconds(800), milliseconds(60'000)}, [] { return 0.0; });
  EXPECT_EQ(backoff.after_refusal(), milliseconds(30'000));
  EXPECT_EQ(backoff.next(), milliseconds(50));
}

}  // namespace
}  // namespace qmasq::vbond
