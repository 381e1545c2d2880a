// SPDX-License-Identifier: Apache-2.0
#include "vbond/local/event_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qmasq::vbond {
namespace {

using ::testing::HasSubstr;

TEST(EventText, SaysAllOfAnEvent) {
  Event event;
  event.sequence = 7;
  event.time = std::chrono::system_clock::time_point(std::chrono::milliseconds(1500));
  event.type = EventType::kRefused;
  event.endpoint = "vpcs/blue/endpoints/a";
  event.verb = "MODIFY_QP";
  event.err = EHOSTUNREACH;
  event.reason = "no endpoint of vpcs/blue has address 10.0.0.9";
  event.pid = 42;
  event.command = "ibv_rc_pingpong";
  event.connection.emplace().virtual_gid = Gid::from_ip(*parse_ip("10.0.0.1"));
  event.connection->qpn = Qpn{17};
  auto proto = to_proto(event);
  EXPECT_EQ(proto.sequence(), 7U);
  EXPECT_EQ(proto.time().seconds(), 1);
  EXPECT_EQ(proto.time().nanos(), 500'000'000);
  EXPECT_EQ(proto.type(), "refused");
  EXPECT_EQ(proto.errno_name(), "EHOSTUNREACH");
  EXPECT_EQ(proto.connection().qpn(), 17U);
  EXPECT_EQ(proto.connection().virtual_gid(), "0000:0000:0000:0000:0000:ffff:0a00:0001");
  EXPECT_EQ(proto.connection().peer_virtual_gid(), "");
  EXPECT_EQ(proto.connection().command(), "ibv_rc_pingpong");
}

TEST(EventText, NamesErrnos) {
  EXPECT_EQ(errno_name(0), "");
  EXPECT_EQ(errno_name(EOPNOTSUPP), "EOPNOTSUPP");
  EXPECT_EQ(errno_name(99999), "99999");
}

TEST(EventText, KnowsWhatIsInAParent) {
  EXPECT_TRUE(is_in("vpcs/blue/endpoints/a", ""));
  EXPECT_TRUE(is_in("vpcs/blue/endpoints/a", "vpcs/blue"));
  EXPECT_TRUE(is_in("vpcs/blue/endpoints/a", "vpcs/blue/endpoints/a"));
  EXPECT_FALSE(is_in("vpcs/blue2/endpoints/a", "vpcs/blue"));
  EXPECT_FALSE(is_in("vpcs/blue/endpoints/ab", "vpcs/blue/endpoints/a"));
  EXPECT_FALSE(is_in("", "vpcs/blue"));
}

TEST(EventFilter, RefusesWhatItCannotMean) {
  v1::WatchEventsRequest request;
  request.set_parent("blue");
  auto parent = EventFilter::make(request);
  ASSERT_FALSE(parent.has_value());
  EXPECT_EQ(parent.error().field, "parent");
  request.set_parent("vpcs/blue");
  request.add_types("exploded");
  auto type = EventFilter::make(request);
  ASSERT_FALSE(type.has_value());
  EXPECT_THAT(type.error().message, HasSubstr("context-opened"));
}

TEST(EventFilter, MatchesTypeAndParent) {
  v1::WatchEventsRequest request;
  request.set_parent("vpcs/blue");
  request.add_types("refused");
  request.add_types("sync");
  auto filter = EventFilter::make(request);
  ASSERT_TRUE(filter.has_value());
  Event event;
  event.type = EventType::kRefused;
  event.endpoint = "vpcs/blue/endpoints/a";
  EXPECT_TRUE(filter->matches(event));
  event.type = EventType::kConnected;
  EXPECT_FALSE(filter->matches(event));
  event.type = EventType::kRefused;
  event.endpoint = "vpcs/red/endpoints/a";
  EXPECT_FALSE(filter->matches(event));
}

}  // namespace
}  // namespace qmasq::vbond
