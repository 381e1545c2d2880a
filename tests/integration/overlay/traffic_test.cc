// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "tests/fake_netlink/sandbox.h"
#include "tests/integration/overlay/test_host.h"
#include "tests/integration/overlay/wire.h"

namespace qmasq::test {
namespace {

using vbond::Change;

constexpr int kLong = 3000;  // ms: something must come, and comes at once
constexpr int kShort = 200;  // ms: nothing must come

// Of the VXLAN packets among them; the hosts' own ARP and the like are not meant.
std::set<Mac> inner_destinations(const std::vector<Frame>& seen) {
  std::set<Mac> inner;
  for (const Frame& frame : seen) {
    bool vxlan = frame.size() > 64 && frame[12] == 0x08 && frame[13] == 0x00 && frame[23] == 17 &&
                 frame[36] == 0x12 && frame[37] == 0xb5;  // UDP 4789
    if (!vxlan) continue;
    Mac mac;
    std::copy(frame.begin() + 50, frame.begin() + 56, mac.bytes.begin());
    inner.insert(mac);
  }
  return inner;
}

// Blue and red with the same addresses on both hosts; blue/c beside blue/a; red/x alone has its.
class TrafficTest : public ::testing::Test {
 protected:
  void build(const char* underlay_a = "192.0.2.1", const char* underlay_b = "192.0.2.2") {
    blue_.ranges.push_back(*parse_prefix("fd00:1::/64"));
    Change change;
    change.snapshot = true;
    change.vpcs = {blue_, red_};
    change.hosts = {host(1, "hostA", underlay_a), host(2, "hostB", underlay_b)};
    change.endpoints = {
        endpoint(1, blue_, "a", 1, "10.0.0.1"), endpoint(2, blue_, "b", 2, "10.0.0.2"),
        endpoint(3, red_, "a", 1, "10.0.0.1"),  endpoint(4, red_, "b", 2, "10.0.0.2"),
        endpoint(5, blue_, "c", 1, "10.0.0.3"), endpoint(6, red_, "x", 2, "10.0.0.7")};
    change.endpoints[0].addresses.push_back(*parse_ip("fd00:1::1"));
    change.endpoints[1].addresses.push_back(*parse_ip("fd00:1::2"));
    hosts_.apply(change);
    hosts_.in_sync();
    blue_a_ = hosts_.a->bind(1);
    blue_b_ = hosts_.b->bind(2);
    red_a_ = hosts_.a->bind(3);
    red_b_ = hosts_.b->bind(4);
    blue_c_ = hosts_.a->bind(5);
    red_x_ = hosts_.b->bind(6);
    for (std::uint64_t uid : {1, 3, 5}) {
      EXPECT_EQ(hosts_.a->status(uid).state, vbond::BondState::kBound)
          << hosts_.a->status(uid).message;
    }
    for (std::uint64_t uid : {2, 4, 6}) {
      EXPECT_EQ(hosts_.b->status(uid).state, vbond::BondState::kBound)
          << hosts_.b->status(uid).message;
    }
  }

  static int fd(const vbond::BoundNamespace& bound) { return bound.netns.get(); }

  TwoHosts hosts_;
  vbond::VpcView blue_ = vpc(1, "blue", 100);
  vbond::VpcView red_ = vpc(2, "red", 200);
  vbond::BoundNamespace blue_a_, blue_b_, blue_c_, red_a_, red_b_, red_x_;
  const IpAddress one_ = *parse_ip("10.0.0.1");
  const IpAddress two_ = *parse_ip("10.0.0.2");
};

TEST_F(TrafficTest, TheSameAddressesLeadToDifferentTenants) {
  build();
  std::string large(20000, 'x');  // many full packets: the MTU fits
  EXPECT_EQ(tcp_exchange(fd(blue_a_), fd(blue_b_), two_, "blue" + large, kLong), "blue" + large);
  EXPECT_EQ(tcp_exchange(fd(red_a_), fd(red_b_), two_, "red" + large, kLong), "red" + large);
  EXPECT_EQ(tcp_exchange(fd(blue_b_), fd(blue_a_), one_, "back", kLong), "back");
  EXPECT_EQ(tcp_exchange(fd(blue_a_), fd(blue_b_), *parse_ip("fd00:1::2"), "v6", kLong), "v6");
  EXPECT_EQ(tcp_exchange(fd(blue_a_), fd(blue_c_), *parse_ip("10.0.0.3"), "local", kLong), "local");
  // Red has an endpoint 10.0.0.7, blue has none; and blue's own 10.0.0.2 is not red's.
  EXPECT_EQ(tcp_exchange(fd(blue_a_), fd(red_x_), *parse_ip("10.0.0.7"), "?", kShort),
            std::nullopt);
  EXPECT_EQ(tcp_exchange(fd(blue_a_), fd(red_b_), two_, "?", kShort), std::nullopt);
  EXPECT_EQ(tcp_exchange(fd(red_a_), fd(red_x_), *parse_ip("10.0.0.7"), "red", kLong), "red");
}

TEST_F(TrafficTest, OverAnIpv6Underlay) {
  build("fd00:9::1", "fd00:9::2");
  EXPECT_EQ(link_in(hosts_.a->namespaces(), fd(blue_a_), "eth0").mtu, 1430U);
  std::string large(20000, 'x');
  EXPECT_EQ(tcp_exchange(fd(blue_a_), fd(blue_b_), two_, large, kLong), large);
}

TEST_F(TrafficTest, NothingIsFlooded) {
  build();
  EXPECT_EQ(link_in(hosts_.a->namespaces(), fd(blue_a_), "eth0").mtu, 1450U);
  UniqueFd wire = packet_socket(hosts_.b->own(), "wire");
  UniqueFd neighbour = packet_socket(fd(blue_c_), "eth0");
  // Broadcast, multicast, an address that nobody has (ARP, neighbour discovery).
  UniqueFd v4 = udp_socket(fd(blue_a_), false, 0);
  UniqueFd v6 = udp_socket(fd(blue_a_), true, 0);
  udp_send(v4, *parse_ip("10.0.0.255"), 9, "broadcast");
  udp_send(v4, *parse_ip("224.0.0.251"), 9, "multicast");
  udp_send(v4, *parse_ip("10.0.0.77"), 9, "nobody");
  udp_send(v6, *parse_ip("fd00:1::77"), 9, "nobody");
  UniqueFd raw = packet_socket(fd(blue_a_), "eth0");
  // A MAC that nobody has, and one of red's.
  send_frame(raw, udp_frame(mac_of(77), mac_of(1), two_, one_, 9, "unknown unicast"));
  send_frame(raw, udp_frame(mac_of(4), mac_of(1), two_, one_, 9, "to red"));
  EXPECT_TRUE(inner_destinations(frames(wire, kShort)).empty());
  EXPECT_TRUE(frames(neighbour, 0).empty());

  // And what is for somebody is seen by nobody else.
  EXPECT_EQ(tcp_exchange(fd(blue_a_), fd(blue_b_), two_, "hello", kLong), "hello");
  EXPECT_EQ(inner_destinations(frames(wire, kShort)), std::set<Mac>{mac_of(2)});
  EXPECT_TRUE(frames(neighbour, 0).empty());
}

TEST_F(TrafficTest, ATenantCannotSendUnderAnotherMac) {
  build();
  UniqueFd server = udp_socket(fd(blue_b_), false, 5000);
  UniqueFd raw = packet_socket(fd(blue_a_), "eth0");
  send_frame(raw, udp_frame(mac_of(2), mac_of(5), two_, *parse_ip("10.0.0.3"), 5000, "spoofed"));
  send_frame(raw, udp_frame(mac_of(2), mac_of(99), two_, one_, 5000, "made up"));
  EXPECT_EQ(udp_receive(server, kShort), std::nullopt);
  send_frame(raw, udp_frame(mac_of(2), mac_of(1), two_, one_, 5000, "mine"));
  EXPECT_EQ(udp_receive(server, kLong), "mine");
}

// In the host's own namespace a bridge would hand such frames to the host's IP stack.
TEST_F(TrafficTest, ATenantCannotReachTheHost) {
  build();
  UniqueFd service = udp_socket(hosts_.a->own(), false, 5001);
  UniqueFd inside = hosts_.a->overlay_namespace();
  ASSERT_TRUE(inside.valid());
  UniqueFd bridge = packet_socket(inside.get(), "qmb100");
  UniqueFd raw = packet_socket(fd(blue_a_), "eth0");
  const Mac broadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
  for (const char* name : {"qmb100", "qmx100", "qmv1"}) {
    Mac door = link_in(hosts_.a->namespaces(), inside.get(), name).mac;
    send_frame(raw, udp_frame(door, mac_of(1), *parse_ip("192.0.2.1"), one_, 5001, "let me in"));
  }
  send_frame(raw, udp_frame(broadcast, mac_of(1), *parse_ip("192.0.2.1"), one_, 5001, "all"));
  EXPECT_EQ(udp_receive(service, kShort), std::nullopt);
  // The bridge did take them in; there is just no IP stack behind it. And the service is there.
  EXPECT_FALSE(frames(bridge, 0).empty());
  UniqueFd other = udp_socket(hosts_.b->own(), false, 0);
  udp_send(other, *parse_ip("192.0.2.1"), 5001, "from the underlay");
  EXPECT_EQ(udp_receive(service, kLong), "from the underlay");
}

}  // namespace
}  // namespace qmasq::test

int main(int argc, char** argv) {
  return qmasq::test::run_tests_in_sandbox(argc, argv);
}
