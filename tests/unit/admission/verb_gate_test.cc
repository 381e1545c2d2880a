// SPDX-License-Identifier: Apache-2.0
#include "qos/admission/verb_gate.h"

#include <gtest/gtest.h>

#include "tests/support/manual_clock.h"

namespace qmasq::qos {
namespace {

using std::chrono::microseconds;

VerbRates rates(VerbKind kind, VerbRate rate) {
  VerbRates out;
  out.rates[static_cast<std::size_t>(kind)] = rate;
  return out;
}

TEST(TokenBucketTest, TheBurstThenTheRate) {
  testing::ManualClock clock;
  TokenBucket bucket({10, 3}, clock.now());
  auto take = [&] {
    const bool has = bucket.has(clock.now());
    if (has) bucket.take();
    return has;
  };
  EXPECT_TRUE(take() && take() && take());
  EXPECT_FALSE(take());
  clock.advance(microseconds(99'999));
  EXPECT_FALSE(take());
  clock.advance(microseconds(1));
  EXPECT_TRUE(take());
  EXPECT_FALSE(take());
  clock.advance(std::chrono::hours(1));
  EXPECT_TRUE(take() && take() && take());
  EXPECT_FALSE(take());  // no more than the burst
}

TEST(TokenBucketTest, ThirdsAreNotLost) {
  testing::ManualClock clock;
  TokenBucket bucket({3, 1}, clock.now());
  int taken = 0;
  for (int i = 0; i < 3'000'000; ++i) {  // 30 s in steps of 10 us
    if (bucket.has(clock.now())) {
      bucket.take();
      ++taken;
    }
    clock.advance(microseconds(10));
  }
  // 1 at once, then one each time that a third of a second is over; a step may be waited for.
  EXPECT_GE(taken, 89);
  EXPECT_LE(taken, 91);
}

TEST(TokenBucketTest, TheHighestRateAfterALongPause) {
  testing::ManualClock clock;
  TokenBucket bucket({1'000'000, 1'000'000}, clock.now());
  for (int i = 0; i < 1'000'000; ++i) {
    ASSERT_TRUE(bucket.has(clock.now()));
    bucket.take();
  }
  EXPECT_FALSE(bucket.has(clock.now()));
  clock.advance(std::chrono::hours(24L * 365 * 100));
  EXPECT_TRUE(bucket.has(clock.now()));
  clock.advance(microseconds(1));
}

TEST(TokenBucketTest, ANewRateKeepsWhatFits) {
  testing::ManualClock clock;
  TokenBucket bucket({1, 10}, clock.now());
  bucket.set_rate({1, 2}, clock.now());
  EXPECT_TRUE(bucket.has(clock.now()));
  bucket.take();
  bucket.take();
  EXPECT_FALSE(bucket.has(clock.now()));
  bucket.set_rate({1, 10}, clock.now());
  EXPECT_FALSE(bucket.has(clock.now()));  // a change is no present
}

TEST(VerbGateTest, AllOrNothingOverKindsAndLevels) {
  testing::ManualClock clock;
  VerbGate own;
  VerbGate of_vpc;
  own.set_rates(rates(VerbKind::kVerbs, {1, 5}), clock.now());
  of_vpc.set_rates(rates(VerbKind::kQueuePairs, {1, 1}), clock.now());
  const VerbKinds create{VerbKind::kVerbs, VerbKind::kQueuePairs};
  EXPECT_FALSE(admit(own, of_vpc, create, clock.now()));
  for (int i = 0; i < 100; ++i) {
    const auto over = admit(own, of_vpc, create, clock.now());
    ASSERT_TRUE(over);
    EXPECT_EQ(over->kind, VerbKind::kQueuePairs);
    EXPECT_TRUE(over->of_vpc);
    EXPECT_EQ(over->rate.per_second, 1U);
  }
  // The refused ones took no token of the endpoint's: 4 of 5 are left.
  for (int i = 0; i < 4; ++i)
    EXPECT_FALSE(admit(own, of_vpc, {VerbKind::kVerbs}, clock.now()));
  const auto over = admit(own, of_vpc, {VerbKind::kVerbs}, clock.now());
  ASSERT_TRUE(over);
  EXPECT_FALSE(over->of_vpc);
}

TEST(VerbGateTest, WithoutRatesEverythingPasses) {
  VerbGate own;
  VerbGate of_vpc;
  EXPECT_FALSE(own.limits());
  for (int i = 0; i < 10'000; ++i)
    EXPECT_FALSE(admit(own, of_vpc, {VerbKind::kVerbs, VerbKind::kContexts}, {}));
}

}  // namespace
}  // namespace qmasq::qos
