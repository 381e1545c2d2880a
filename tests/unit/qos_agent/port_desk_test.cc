// SPDX-License-Identifier: Apache-2.0
#include "vbond/qos/port_desk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <set>

#include "tests/fake_netlink/manual_loop.h"

namespace qmasq::vbond {
namespace {

using ::testing::ElementsAre;

GovernedPtr governed(std::uint64_t uid, std::optional<std::uint8_t> dscp = std::nullopt) {
  auto out = std::make_shared<GovernedEndpoint>();
  out->uid = EndpointUid{uid};
  if (dscp) {
    auto policy = std::make_shared<qos::Policy>();
    policy->dscp = dscp;
    out->own = policy;
  }
  return out;
}

class PortDeskTest : public ::testing::Test {
 protected:
  std::uint16_t port_of(std::uint64_t uid, std::uint32_t qpn) {
    auto marks = wire_.marks({EndpointUid{uid}, EndpointUid{99}, Qpn{qpn}, Qpn{5}});
    EXPECT_TRUE(marks.has_value());
    return marks ? udp_source_port(marks->flow_label) : 0;
  }
  // Every port there is.
  void take_all() {
    PolicyTable::Changed all;
    for (std::uint64_t uid = 1000; uid < 1000 + 20'000; ++uid)
      all.emplace_back(EndpointUid{uid}, governed(uid));
    desk_.follow(all);
    ASSERT_GT(desk_.waiting(), 0U);
  }

  test::ManualClock clock_;
  PortBlockPolicy wire_;
  PortDesk desk_{wire_, clock_};
};

TEST_F(PortDeskTest, MarksComeFromTheBlockAndThePolicy) {
  auto before = wire_.marks({EndpointUid{1}, EndpointUid{2}, Qpn{1}, Qpn{2}});
  ASSERT_FALSE(before.has_value());
  EXPECT_EQ(before.error().err, EAGAIN);
  desk_.follow({{EndpointUid{1}, governed(1, 46)}, {EndpointUid{2}, governed(2)}});
  const qos::PortBlock block = *desk_.find(EndpointUid{1});
  std::set<std::uint16_t> seen;
  for (std::uint32_t qpn = 0; qpn < 400; ++qpn)
    seen.insert(port_of(1, qpn));
  EXPECT_EQ(seen.size(), block.count) << "all of the block is used";
  EXPECT_GE(*seen.begin(), block.first);
  EXPECT_LT(*seen.rbegin(), block.first + block.count);
  EXPECT_EQ(port_of(1, 7), port_of(1, 7));
  auto marks = wire_.marks({EndpointUid{1}, EndpointUid{2}, Qpn{1}, Qpn{2}});
  EXPECT_EQ(marks->traffic_class, 46 << 2);
  EXPECT_EQ(marks->sl, 0);
  EXPECT_EQ(wire_.marks({EndpointUid{2}, EndpointUid{1}, Qpn{1}, Qpn{2}})->traffic_class, 0);
  desk_.follow({{EndpointUid{1}, governed(1, 0)}});
  EXPECT_EQ(*desk_.find(EndpointUid{1}), block) << "queue pairs have it for life";
  EXPECT_EQ(wire_.marks({EndpointUid{1}, EndpointUid{2}, Qpn{1}, Qpn{2}})->traffic_class, 0);
}

TEST_F(PortDeskTest, ABlockRestsBeforeAnotherGetsIt) {
  desk_.follow({{EndpointUid{1}, governed(1)}});
  const qos::PortBlock block = *desk_.find(EndpointUid{1});
  desk_.follow({{EndpointUid{1}, nullptr}});
  EXPECT_FALSE(desk_.find(EndpointUid{1}).has_value());
  EXPECT_FALSE(wire_.marks({EndpointUid{1}, EndpointUid{2}, Qpn{1}, Qpn{2}}).has_value());
  desk_.follow({{EndpointUid{2}, governed(2)}});
  EXPECT_NE(*desk_.find(EndpointUid{2}), block);
  desk_.follow({{EndpointUid{1}, governed(1)}});
  EXPECT_EQ(*desk_.find(EndpointUid{1}), block) << "it came back in time";
  desk_.follow({{EndpointUid{1}, nullptr}});
  clock_.advance(PortDesk::kRest);
  EXPECT_TRUE(desk_.settle().empty());
  desk_.follow({{EndpointUid{3}, governed(3)}});
  EXPECT_EQ(*desk_.find(EndpointUid{3}), block);
}

TEST_F(PortDeskTest, WithoutPortsAnEndpointIsRefusedAndWaits) {
  take_all();
  const std::size_t waiting = desk_.waiting();
  desk_.follow({{EndpointUid{1}, governed(1)}});
  EXPECT_FALSE(desk_.find(EndpointUid{1}).has_value());
  auto marks = wire_.marks({EndpointUid{1}, EndpointUid{2}, Qpn{1}, Qpn{2}});
  ASSERT_FALSE(marks.has_value());
  EXPECT_EQ(marks.error().err, EAGAIN);
  EXPECT_THAT(marks.error().reason, ::testing::HasSubstr("all UDP source ports are taken"));
  EXPECT_EQ(desk_.waiting(), waiting + 1);
  desk_.follow({{EndpointUid{1000}, nullptr}});
  // What rests is all there is: it is not kept back from who needs it.
  EXPECT_THAT(desk_.settle(), ::testing::Contains(EndpointUid{1}));
  EXPECT_TRUE(wire_.marks({EndpointUid{1}, EndpointUid{2}, Qpn{1}, Qpn{2}}).has_value());
}

TEST_F(PortDeskTest, AdoptsWhatQueuePairsCarry) {
  desk_.adopt(EndpointUid{5}, {0xc100, 4});
  EXPECT_FALSE(desk_.find(EndpointUid{5}).has_value()) << "the endpoint is not known yet";
  desk_.adopt(EndpointUid{6}, {0xc102, 2});  // taken: it gets another
  desk_.follow({{EndpointUid{5}, governed(5)}, {EndpointUid{6}, governed(6)}});
  EXPECT_EQ(*desk_.find(EndpointUid{5}), (qos::PortBlock{0xc100, 4}));
  EXPECT_NE(desk_.find(EndpointUid{6})->first, 0xc102);
}

}  // namespace
}  // namespace qmasq::vbond
