// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <google/protobuf/util/time_util.h>
#include <gtest/gtest.h>

#include "cli/qos/samples.h"
#include "cli/qos/screen.h"

namespace qmasq::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Optional;

constexpr std::int64_t kSecond = 1'000'000'000;

v1::HostQos& add_host(v1::ShowQosResponse& answer, const std::string& id, std::int64_t time_ns) {
  v1::HostQos& host = *answer.add_hosts();
  host.set_host("hosts/" + id);
  *host.mutable_time() = google::protobuf::util::TimeUtil::NanosecondsToTimestamp(time_ns);
  v1::NicQos& nic = *host.add_nics();
  nic.set_device("rxe0");
  nic.set_rate_bps(30'000'000);
  v1::QosNode& root = *nic.add_nodes();
  root.set_kind(v1::QosNode::NIC);
  root.set_name("rxe0");
  root.mutable_observed()->set_bytes(999'999'999);
  return host;
}

v1::QosNode& add_node(v1::HostQos& host, v1::QosNode::Kind kind, const std::string& name,
                      std::uint64_t bytes = 0, std::uint64_t overlimits = 0) {
  v1::QosNode& node = *host.mutable_nics(0)->add_nodes();
  node.set_kind(kind);
  node.set_name(name);
  node.mutable_observed()->set_bytes(bytes);
  node.mutable_observed()->set_overlimits(overlimits);
  return node;
}

// One host with one endpoint.
v1::ShowQosResponse answer(std::int64_t time_ns, std::uint64_t bytes, std::uint64_t overlimits = 0,
                           const std::string& host = "hostA") {
  v1::ShowQosResponse out;
  add_node(add_host(out, host, time_ns), v1::QosNode::ENDPOINT, "vpcs/blue/endpoints/a", bytes,
           overlimits);
  return out;
}

v1::ShowQosResponse silence(const std::string& host) {
  v1::ShowQosResponse out;
  out.add_hosts()->set_host("hosts/" + host);
  out.mutable_hosts(0)->set_error("no answer within 3 s");
  return out;
}

TEST(TopSamples, RatesAreOfTheTimeBetweenTwoLooksOfTheHost) {
  TopSamples samples;
  TopFrame first = samples.add(answer(10 * kSecond, 1000));
  ASSERT_EQ(first.rows.size(), 1U);
  EXPECT_FALSE(first.rows[0].rate_bps);
  EXPECT_FALSE(first.rows[0].share());
  TopFrame second = samples.add(answer(12 * kSecond + kSecond / 2, 1000 + 2'500'000, 50));
  EXPECT_THAT(second.rows[0].rate_bps, Optional(8e6));  // 2.5 MB in 2.5 s
  EXPECT_THAT(second.rows[0].throttled, Optional(20.0));
  EXPECT_THAT(second.rows[0].share(), Optional(8e6 / 30e6));
  EXPECT_EQ(second.time_ns, 12 * kSecond + kSecond / 2);
  // From the last answer on, not from the first.
  EXPECT_THAT(
      samples.add(answer(13 * kSecond + kSecond / 2, 1000 + 2'500'000, 50)).rows[0].rate_bps,
      Optional(0.0));
}

TEST(TopSamples, ALookThatIsNotNewRepeatsTheLastRates) {
  TopSamples samples;
  (void)samples.add(answer(1 * kSecond, 0));
  EXPECT_THAT(samples.add(answer(2 * kSecond, 1'000'000)).rows[0].rate_bps, Optional(8e6));
  EXPECT_THAT(samples.add(answer(2 * kSecond, 1'000'000)).rows[0].rate_bps, Optional(8e6));
  EXPECT_THAT(samples.add(answer(3 * kSecond, 1'500'000)).rows[0].rate_bps, Optional(4e6));
}

TEST(TopSamples, CountersThatBeginAnewHaveNoRateForOnce) {
  TopSamples samples;
  (void)samples.add(answer(1 * kSecond, 5'000'000, 10));
  TopFrame restarted = samples.add(answer(2 * kSecond, 1000, 0));
  EXPECT_FALSE(restarted.rows[0].rate_bps);
  EXPECT_FALSE(restarted.rows[0].throttled);
  EXPECT_THAT(samples.add(answer(3 * kSecond, 126'000, 0)).rows[0].rate_bps, Optional(1e6));
  // Bytes have passed the old figure already; the other counter shows it.
  TopFrame fast = samples.add(answer(4 * kSecond, 500'000, 5));
  EXPECT_TRUE(fast.rows[0].rate_bps);
  EXPECT_FALSE(samples.add(answer(5 * kSecond, 9'000'000, 4)).rows[0].rate_bps);
}

TEST(TopSamples, AHostThatGoesAwayIsNamedAndBeginsAnew) {
  TopSamples samples;
  (void)samples.add(answer(1 * kSecond, 0));
  TopFrame gone = samples.add(silence("hostA"));
  EXPECT_THAT(gone.rows, IsEmpty());
  EXPECT_THAT(gone.unanswered, ElementsAre(Unanswered{"hosts/hostA", "no answer within 3 s"}));
  EXPECT_EQ(gone.time_ns, 0);
  TopFrame back = samples.add(answer(61 * kSecond, 1'000'000));
  ASSERT_EQ(back.rows.size(), 1U);
  EXPECT_FALSE(back.rows[0].rate_bps);
  EXPECT_THAT(samples.add(answer(62 * kSecond, 2'000'000)).rows[0].rate_bps, Optional(8e6));
  // One that is not in the answer at all is no row, either.
  EXPECT_THAT(samples.add({}).rows, IsEmpty());
  EXPECT_FALSE(samples.add(answer(64 * kSecond, 3'000'000)).rows[0].rate_bps);
}

TEST(TopSamples, AClockThatGoesBackHasNoRateForOnce) {
  TopSamples samples;
  (void)samples.add(answer(100 * kSecond, 0));
  EXPECT_FALSE(samples.add(answer(40 * kSecond, 1'000'000)).rows[0].rate_bps);
  EXPECT_THAT(samples.add(answer(41 * kSecond, 2'000'000)).rows[0].rate_bps, Optional(8e6));
}

TEST(TopSamples, AnEndpointThatMovesIsAnother) {
  TopSamples samples;
  (void)samples.add(answer(1 * kSecond, 1'000'000));
  TopFrame moved = samples.add(answer(2 * kSecond, 5'000'000, 0, "hostB"));
  ASSERT_EQ(moved.rows.size(), 1U);
  EXPECT_EQ(moved.rows[0].host, "hosts/hostB");
  EXPECT_FALSE(moved.rows[0].rate_bps);
}

TEST(TopSamples, WithoutCountersThereIsNoRate) {
  TopSamples samples;
  v1::ShowQosResponse blind = answer(1 * kSecond, 0);
  blind.mutable_hosts(0)->mutable_nics(0)->mutable_nodes(1)->clear_observed();
  (void)samples.add(blind);
  *blind.mutable_hosts(0)->mutable_time() =
      google::protobuf::util::TimeUtil::NanosecondsToTimestamp(2 * kSecond);
  EXPECT_FALSE(samples.add(blind).rows[0].rate_bps);
}

TEST(TopSamples, ANicOfUnknownRateHasNoShares) {
  TopSamples samples;
  for (std::int64_t second : {1, 2}) {
    v1::ShowQosResponse one = answer(second * kSecond, 0);
    one.mutable_hosts(0)->mutable_nics(0)->set_rate_bps(0);
    TopFrame frame = samples.add(one);
    EXPECT_FALSE(frame.rows[0].share());
  }
}

TEST(TopSamples, FastestFirstThenByNameThenThoseWithout) {
  TopSamples samples;
  auto at = [](std::int64_t second, std::uint64_t bytes, bool late) {
    v1::ShowQosResponse out;
    v1::HostQos& host = add_host(out, "hostA", second * kSecond);
    add_node(host, v1::QosNode::VPC, "vpcs/blue", 77);
    add_node(host, v1::QosNode::ENDPOINT, "vpcs/blue/endpoints/slow", bytes / 100);
    add_node(host, v1::QosNode::ENDPOINT, "vpcs/blue/endpoints/b", 0);
    add_node(host, v1::QosNode::ENDPOINT, "vpcs/blue/endpoints/a", 0);
    if (late) add_node(host, v1::QosNode::ENDPOINT, "vpcs/blue/endpoints/0new", bytes);
    add_node(host, v1::QosNode::ENDPOINT, "vpcs/blue/endpoints/z-fast", bytes);
    add_node(host, v1::QosNode::OTHER, "", 55);
    return out;
  };
  (void)samples.add(at(1, 0, false));
  std::vector<std::string> names;
  for (const TopRow& row : samples.add(at(2, 1'000'000, true)).rows)
    names.push_back(row.endpoint.substr(row.endpoint.rfind('/') + 1));
  EXPECT_THAT(names, ElementsAre("z-fast", "slow", "a", "b", "0new"));
}

TEST(TopSamples, TheLimitIsTheTighterOfBothAndSaysWhetherItHolds) {
  struct Case {
    std::uint64_t vpc_wanted, vpc_is, own_wanted, own_is;  // Mbit, 0: not set
    std::optional<std::uint64_t> limit;
    bool enforced;
  };
  const Case cases[] = {
      {0, 30, 0, 30, std::nullopt, true},
      {20, 20, 0, 20, 20, true},
      {20, 20, 5, 5, 5, true},
      {5, 5, 20, 5, 5, true},
      {20, 0, 0, 0, 20, false},
      {20, 20, 5, 20, 5, false},
      {20, 30, 0, 30, 20, false},
  };
  auto set = [](v1::QosNode& node, std::uint64_t wanted, std::uint64_t is) {
    if (wanted != 0) node.mutable_configured()->set_maximum_bps(wanted * 1'000'000);
    if (is != 0) node.mutable_programmed()->set_maximum_bps(is * 1'000'000);
  };
  for (const Case& one : cases) {
    v1::ShowQosResponse told;
    v1::HostQos& host = add_host(told, "hostA", kSecond);
    // Another VPC's limits are not its.
    set(add_node(host, v1::QosNode::VPC, "vpcs/blu"), 1, 1);
    set(add_node(host, v1::QosNode::VPC, "vpcs/blue"), one.vpc_wanted, one.vpc_is);
    set(add_node(host, v1::QosNode::ENDPOINT, "vpcs/blue/endpoints/a"), one.own_wanted, one.own_is);
    TopSamples samples;
    const TopRow row = samples.add(told).rows[0];
    EXPECT_EQ(row.limit_bps.has_value(), one.limit.has_value());
    if (one.limit) {
      EXPECT_EQ(row.limit_bps, *one.limit * 1'000'000);
    }
    EXPECT_EQ(row.limit_enforced, one.enforced);
  }
}

TopFrame two_rows() {
  TopFrame frame;
  frame.time_ns = 1'000'000'000 * kSecond;
  frame.rows.push_back({"vpcs/blue/endpoints/a", "hosts/hostA", "rxe0", 19'847'213.0, 123.4,
                        30'000'000, 20'000'000, true});
  frame.rows.push_back({"vpcs/red/endpoints/\033[2Jb",
                        "hosts/hostA",
                        "rxe0",
                        {},
                        {},
                        30'000'000,
                        10'000'000,
                        false});
  frame.unanswered.push_back({"hosts/hostB", "offline\nsince noon"});
  return frame;
}

TEST(TopScreen, OneLineForEachEndpoint) {
  EXPECT_EQ(frame_text(two_rows(), 100, false),
            "2001-09-09T01:46:40Z  endpoints 2, hosts 1, together 19.8 Mbit/s\n"
            "ENDPOINT                  HOST   NIC   RATE         SHARE  LIMIT                 "
            "THROTTLED\n"
            "blue/a                    hostA  rxe0  19.8 Mbit/s  66.2%  20Mbit                "
            "123/s\n"
            "vpcs/red/endpoints/?[2Jb  hostA  rxe0  -            -      10Mbit, not enforced  -\n"
            "hostB: no answer: offline?since noon\n");
}

TEST(TopScreen, WhatHasNoRoomIsCounted) {
  EXPECT_THAT(frame_text(two_rows(), 1, false), HasSubstr("123/s\nand 1 more\nhostB"));
  EXPECT_EQ(rows_that_fit(two_rows(), {24, 80}), 19U);
  EXPECT_EQ(rows_that_fit(two_rows(), {3, 80}), 1U);
}

TEST(TopScreen, InPlaceStaysInsideTheScreenAndChangesNoMode) {
  const std::string first = in_place("head\nabcdef\n\xc3\xbc\xc3\xbc\xc3\xbcxy\n", {24, 4}, true);
  EXPECT_EQ(first, "\033[H\033[2Jhead\033[K\nabcd\033[K\n\xc3\xbc\xc3\xbc\xc3\xbcx\033[K\n\033[J");
  EXPECT_THAT(in_place("a\n", {24, 80}, false), Not(HasSubstr("[2J")));
  EXPECT_EQ(in_place("1\n2\n3\n4\n", {3, 80}, false), "\033[H1\033[K\n2\033[K\n\033[J");
  EXPECT_EQ(in_place("\033[1mhead\033[0m\n", {24, 2}, false),
            "\033[H\033[1mhe\033[0m\033[K\n\033[J");
  EXPECT_EQ(in_place("", {1, 1}, false), "\033[H\033[J");
}

}  // namespace
}  // namespace qmasq::cli
