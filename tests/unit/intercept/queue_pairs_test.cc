// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/queue_pairs.h"

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include "tests/support/metric_values.h"

namespace qmasq::vbond {
namespace {

using uverbs::QpType;

class QueuePairsTest : public ::testing::Test {
 protected:
  double counted() {
    return test::metric_value(registry_, "qmasq_vbond_queue_pairs", {}).value_or(-1);
  }

  prometheus::Registry registry_;
  InterceptMetrics metrics_{registry_};
  QueuePairs one_{metrics_};
  QueuePairs two_{metrics_};
};

TEST_F(QueuePairsTest, EachIsCountedOnce) {
  one_.add(7);
  one_.add(7);
  one_.add(8);
  two_.add(7);
  EXPECT_EQ(one_.size(), 2U);
  EXPECT_TRUE(one_.contains(7));
  EXPECT_FALSE(one_.contains(9));
  EXPECT_EQ(counted(), 3);
  one_.remove(7);
  one_.remove(7);
  EXPECT_EQ(counted(), 2);
  one_.clear();
  EXPECT_EQ(one_.size(), 0U);
  EXPECT_EQ(counted(), 1);
}

TEST_F(QueuePairsTest, ATypeIsKnownWhereAllThatAreExpectedAgree) {
  EXPECT_EQ(one_.take_expected(), QpType{});
  one_.expect(QpType::kRc);
  one_.expect(QpType::kRc);
  EXPECT_EQ(one_.take_expected(), QpType::kRc);
  one_.expect(QpType::kUc);
  EXPECT_EQ(one_.take_expected(), QpType{});
  EXPECT_EQ(two_.take_expected(), QpType{});
}

TEST_F(QueuePairsTest, WhatIsNeverUsedIsForgottenInTheEnd) {
  one_.expect(QpType::kUc);
  for (int i = 0; i < 5000; ++i)
    one_.expect(QpType::kRc);
  EXPECT_EQ(one_.take_expected(), QpType::kRc);
}

}  // namespace
}  // namespace qmasq::vbond
