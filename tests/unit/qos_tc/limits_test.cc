// SPDX-License-Identifier: Apache-2.0
#include "qos/backends/tc/limits.h"

#include <gtest/gtest.h>

#include <random>

#include "qos/policy.h"

namespace qmasq::qos::tc {
namespace {

Node node(std::uint64_t guaranteed, std::uint64_t maximum, std::uint64_t burst,
          std::uint32_t weight = kDefaultWeight) {
  Node made;
  made.id = NodeId::endpoint(EndpointUid{5});
  made.parent = NodeId::vpc(VpcUid{1});
  made.guaranteed = BitsPerSecond{guaranteed};
  made.maximum = BitsPerSecond{maximum};
  made.burst = burst;
  made.weight = weight;
  made.ports = {0xc000, 16};
  return made;
}

TEST(TcLimits, RatesAreBytesPerSecondRoundedDown) {
  Class spec = to_class(node(20'000'007, 20'000'015, 65536), with_minor(16), with_minor(3), 10);
  EXPECT_EQ(spec.rate, 2'500'000U);
  EXPECT_EQ(spec.ceil, 2'500'001U);
  EXPECT_EQ(to_class(node(0, 7, 1), 1, 1, 10).rate, 1U);
  EXPECT_EQ(limits_of(spec).guaranteed, BitsPerSecond{20'000'000});
  EXPECT_EQ(limits_of(spec).maximum, BitsPerSecond{20'000'008});
}

TEST(TcLimits, BurstIsTimeAtTheMaximum) {
  // 25000 bytes at 2.5 MB/s are 10 ms. 100 ms of slack.
  Class spec = to_class(node(8000, 20'000'000, 25'000), with_minor(16), with_minor(3), 10);
  EXPECT_EQ(spec.cbuffer, 110'000'000U / 64);
  // At the guaranteed rate these would be 25 s; ahead of its guarantee it may be one.
  EXPECT_EQ(spec.buffer & ~0x7fU, (1'100'000'000U / 64 + 127) / 128 * 128);
  EXPECT_EQ(spec.buffer & 0x7fU, kDefaultWeight);
  // Of a fast one the slack is 512 KiB: at 8 Gbit/s 524.288 us.
  EXPECT_EQ(to_class(node(8000, 8'000'000'000, 64'000), 1, 1, 10).cbuffer,
            (524'288U + 64'000) / 64);
  // 272 s are all there is room for.
  EXPECT_EQ(as_programmed(node(8000, 8000, 1U << 30U)).burst, 272'877U);
}

TEST(TcLimits, WhatPeopleWriteComesBackAsItWas) {
  for (std::uint64_t rate :
       {8'000ULL, 1'000'000ULL, 20'000'000ULL, 1'000'000'000ULL, 12'500'000'000ULL,
        25'000'000'000ULL, 100'000'000'000ULL, 400'000'000'000ULL}) {
    for (unsigned long long burst : {16384ULL, 65536ULL, 131072ULL, 262144ULL, 1048576ULL,
                                     100'000ULL, 200'000ULL, 2'000'000ULL, rate / 800ULL}) {
      // A class remembers 274 s.
      if (burst == 0 || burst * 8 > rate * 270) continue;
      Node one = node(8000, rate, burst, 42);
      EXPECT_EQ(as_programmed(one), one) << rate << " " << burst;
    }
  }
}

TEST(TcLimits, WhatIsReadBackIsProgrammedTheSame) {
  std::mt19937_64 random(4);
  for (int i = 0; i < 100'000; ++i) {
    std::uint64_t maximum = 8000 + random() % (1ULL << (14 + random() % 26));
    Node one = node(8000 + random() % (maximum - 7999), maximum, 1 + random() % (1U << 30U),
                    1 + static_cast<std::uint32_t>(random() % kMaxWeight));
    Node there = as_programmed(one);
    ASSERT_EQ(as_programmed(there), there) << maximum << " " << one.burst;
    ASSERT_EQ(there.weight, one.weight);
    ASSERT_LE(there.maximum, one.maximum);
    Class a = to_class(one, 1, 1, 10);
    Class b = to_class(there, 1, 1, 10);
    ASSERT_EQ(a.cbuffer, b.cbuffer) << maximum << " " << one.burst;
  }
}

TEST(TcLimits, SharesAreInProportionAndAtLeastAFrame) {
  auto quantum = [](std::uint32_t weight, std::uint32_t parent) {
    return to_class(node(8000, 1'000'000, 65536, weight), 1, 1, parent).quantum;
  };
  EXPECT_EQ(quantum(1, 10), kFrame);
  EXPECT_EQ(quantum(3, 10), 3 * kFrame);
  EXPECT_EQ(quantum(100, 10), 100 * kFrame);
  EXPECT_EQ(quantum(10, 20), 20 * kFrame);
  EXPECT_EQ(quantum(1, 1), kFrame);
  // Of a VPC's own class its parent's weight is no factor.
  Node vpc = node(8000, 1'000'000, 65536, 30);
  vpc.id = NodeId::vpc(VpcUid{1});
  EXPECT_EQ(to_class(vpc, 1, 1, 77).quantum, 30 * kFrame);
}

TEST(TcLimits, ClassesOfOthersHaveNoMark) {
  Class spec = to_class(node(8000, 1'000'000, 65536), 1, 1, 10);
  EXPECT_TRUE(is_marked(spec));
  spec.ceil_mpu = 0;
  EXPECT_FALSE(is_marked(spec));
  // Whatever is in them is read as something.
  spec = {};
  Node read = limits_of(spec);
  EXPECT_EQ(read.weight, 1U);
  EXPECT_EQ(read.burst, 0U);
}

}  // namespace
}  // namespace qmasq::qos::tc
