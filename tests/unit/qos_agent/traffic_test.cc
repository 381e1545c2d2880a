// SPDX-License-Identifier: Apache-2.0
#include "vbond/qos/traffic.h"

#include <gtest/gtest.h>

namespace qmasq::vbond {
namespace {

using qos::NodeId;
using std::chrono::seconds;
using Samples = std::map<NodeId, qos::Counters>;

const NodeId kNode = NodeId::endpoint(EndpointUid{7});
const std::chrono::steady_clock::time_point kStart{seconds(1000)};

TEST(TrafficTotals, AddsUpAndTellsTheRate) {
  TrafficTotals totals;
  totals.added(kNode);
  totals.sample({{kNode, {1000, 10, 1, 0, 0}}}, kStart);
  ASSERT_NE(totals.find(kNode), nullptr);
  EXPECT_EQ(totals.find(kNode)->bytes, 1000U) << "all of it since we made the node";
  EXPECT_EQ(totals.find(kNode)->rate_bps, 0U) << "one sample has no rate";
  totals.sample({{kNode, {3000, 30, 1, 4, 500}}}, kStart + seconds(2));
  const Traffic& traffic = *totals.find(kNode);
  EXPECT_EQ(traffic.bytes, 3000U);
  EXPECT_EQ(traffic.packets, 30U);
  EXPECT_EQ(traffic.drops, 1U);
  EXPECT_EQ(traffic.overlimits, 4U);
  EXPECT_EQ(traffic.backlog, 500U);
  EXPECT_EQ(traffic.rate_bps, 8000U);
  EXPECT_EQ(traffic.throttled, seconds(2));
  totals.sample({{kNode, {3000, 30, 1, 4, 0}}}, kStart + seconds(3));
  EXPECT_EQ(totals.find(kNode)->rate_bps, 0U);
  EXPECT_EQ(totals.find(kNode)->throttled, seconds(2)) << "nothing waited";
}

TEST(TrafficTotals, GoesOnOverAClassThatStartsAnew) {
  TrafficTotals totals;
  totals.added(kNode);
  totals.sample({{kNode, {5000, 50, 5, 5, 0}}}, kStart);
  totals.sample({{kNode, {100, 1, 0, 0, 0}}}, kStart + seconds(1));
  EXPECT_EQ(totals.find(kNode)->bytes, 5100U);
  EXPECT_EQ(totals.find(kNode)->packets, 51U);
  EXPECT_EQ(totals.find(kNode)->drops, 5U);
  totals.removed(kNode);
  totals.sample({}, kStart + seconds(2));
  EXPECT_EQ(totals.find(kNode)->bytes, 5100U) << "what was counted stays";
  EXPECT_EQ(totals.find(kNode)->rate_bps, 0U);
  totals.added(kNode);
  totals.sample({{kNode, {70, 1, 0, 0, 0}}}, kStart + seconds(3));
  EXPECT_EQ(totals.find(kNode)->bytes, 5170U);
}

TEST(TrafficTotals, WhatWasThereBeforeUsIsNotOurs) {
  TrafficTotals totals;
  totals.sample({{kNode, {5000, 50, 0, 9, 0}}}, kStart);
  EXPECT_EQ(totals.find(kNode)->bytes, 0U);
  totals.sample({{kNode, {5600, 56, 0, 9, 0}}}, kStart + seconds(1));
  EXPECT_EQ(totals.find(kNode)->bytes, 600U);
  EXPECT_EQ(totals.find(kNode)->overlimits, 0U);
  totals.forget(kNode);
  EXPECT_EQ(totals.find(kNode), nullptr);
}

}  // namespace
}  // namespace qmasq::vbond
