// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "tests/integration/overlay/test_host.h"
#include "tests/integration/overlay/wire.h"

namespace qmasq::test {
namespace {

using vbond::BondState;
using vbond::BondStatus;
using vbond::Change;
using vbond::netlink::AddAddress;
using vbond::netlink::AddLink;
using vbond::netlink::DeleteAddress;
using vbond::netlink::Link;
using vbond::netlink::LinkKind;

class LifecycleTest : public ::testing::Test {
 protected:
  LifecycleTest() {
    whole_.snapshot = true;
    whole_.vpcs = {blue_};
    whole_.hosts = {host(1, "hostA", "192.0.2.1"), host(2, "hostB", "192.0.2.2")};
    whole_.endpoints = {endpoint(1, blue_, "a", 1, "10.0.0.1"),
                        endpoint(2, blue_, "b", 2, "10.0.0.2")};
  }

  TwoHosts hosts_;
  vbond::VpcView blue_ = vpc(1, "blue", 100);
  Change whole_;
  const IpAddress one_ = *parse_ip("10.0.0.1");
  const IpAddress two_ = *parse_ip("10.0.0.2");
};

TEST_F(LifecycleTest, AddressesAreFollowed) {
  hosts_.apply(whole_);
  auto bound = hosts_.a->bind(1);
  auto& namespaces = hosts_.a->namespaces();
  EXPECT_EQ(hosts_.a->status(1).state, BondState::kBound) << hosts_.a->status(1).message;
  must(namespaces, bound.netns.get(), DeleteAddress{"eth0", one_, 24});
  BondStatus status =
      hosts_.a->wait_status(1, [](const BondStatus& s) { return s.state == BondState::kDegraded; });
  EXPECT_EQ(status.message, "address 10.0.0.1 is not on eth0");
  EXPECT_TRUE(status.observed_addresses.empty());
  must(namespaces, bound.netns.get(), AddAddress{"eth0", *parse_ip("10.0.0.9"), 24});
  must(namespaces, bound.netns.get(), AddAddress{"eth0", one_, 24});
  status =
      hosts_.a->wait_status(1, [](const BondStatus& s) { return s.state == BondState::kBound; });
  EXPECT_EQ(status.observed_addresses, std::vector<IpAddress>{one_});
  EXPECT_NE(status.message.find("10.0.0.9 on eth0 is not the endpoint's"), std::string::npos);
}

TEST_F(LifecycleTest, AnInterfaceThatWasDownWorksAgain) {
  hosts_.apply(whole_);
  auto a = hosts_.a->bind(1);
  auto b = hosts_.b->bind(2);
  vbond::netlink::SetLink set;
  set.name = "eth0";
  set.up = false;
  must(hosts_.a->namespaces(), a.netns.get(), set);
  hosts_.a->wait_status(1, [](const BondStatus& s) { return s.state == BondState::kDegraded; });
  set.up = true;
  must(hosts_.a->namespaces(), a.netns.get(), set);
  hosts_.a->wait_status(1, [](const BondStatus& s) { return s.state == BondState::kBound; });
  hosts_.a->settle();
  EXPECT_EQ(tcp_exchange(a.netns.get(), b.netns.get(), two_, "again", 3000), "again");
}

TEST_F(LifecycleTest, DeletingTheEndpointCleans) {
  hosts_.apply(whole_);
  hosts_.in_sync();
  auto a = hosts_.a->bind(1);
  hosts_.b->bind(2);
  Change gone;
  gone.removed_endpoints = {EndpointUid{1}};
  hosts_.apply(gone);
  EXPECT_FALSE(hosts_.a->namespaces().open("qm-blue-a"));
  EXPECT_FALSE(hosts_.a->overlay_namespace().valid());
  EXPECT_FALSE(has_link(hosts_.a->namespaces(), a.netns.get(), "eth0"));
  EXPECT_EQ(links_in(hosts_.a->namespaces(), hosts_.a->own()).size(), 2U);  // lo, wire
  // The other host forgets where it was.
  UniqueFd inside = hosts_.b->overlay_namespace();
  auto net = std::move(*hosts_.b->namespaces().connect(inside.get()));
  auto entries = net->fdb();
  ASSERT_TRUE(entries);
  EXPECT_TRUE(std::none_of(entries->begin(), entries->end(),
                           [](const auto& entry) { return entry.mac == mac_of(1); }));
}

TEST_F(LifecycleTest, ARestartedAgentAdoptsAndTrafficGoesOn) {
  hosts_.apply(whole_);
  auto a = hosts_.a->bind(1);
  auto b = hosts_.b->bind(2);
  UniqueFd inside = hosts_.a->overlay_namespace();
  auto indexes = [&] {
    std::vector<int> all;
    for (const Link& link : links_in(hosts_.a->namespaces(), inside.get())) {
      all.push_back(link.index);
    }
    return all;
  };
  std::vector<int> before = indexes();
  hosts_.a->stop_agent();
  EXPECT_EQ(tcp_exchange(a.netns.get(), b.netns.get(), two_, "alone", 3000), "alone");
  hosts_.a->start_agent();
  hosts_.a->apply(whole_);
  hosts_.a->in_sync();
  EXPECT_EQ(indexes(), before);  // nothing was made again
  EXPECT_EQ(hosts_.a->status(1).state, BondState::kBound) << hosts_.a->status(1).message;
  EXPECT_EQ(tcp_exchange(a.netns.get(), b.netns.get(), two_, "still", 3000), "still");
  // While it was away the endpoint went.
  hosts_.a->stop_agent();
  hosts_.a->start_agent();
  Change none;
  none.snapshot = true;
  hosts_.a->apply(none);
  EXPECT_TRUE(hosts_.a->namespaces().open("qm-blue-a"));
  hosts_.a->in_sync();
  EXPECT_FALSE(hosts_.a->namespaces().open("qm-blue-a"));
  EXPECT_FALSE(hosts_.a->overlay_namespace().valid());
}

TEST_F(LifecycleTest, ForeignObjectsAreLeftAlone) {
  // Another overlay of the host uses the number.
  AddLink vxlan;
  vxlan.link.name = "vx-other";
  vxlan.link.kind = LinkKind::kVxlan;
  vxlan.link.vxlan = vbond::netlink::VxlanOptions{Vni{100}, *parse_ip("192.0.2.1"), 4789, true};
  must(hosts_.a->namespaces(), hosts_.a->own(), vxlan);
  ASSERT_TRUE(hosts_.a->namespaces().create("qm-blue-c", "somebody's"));
  whole_.endpoints.push_back(endpoint(3, blue_, "c", 1, "10.0.0.3"));
  hosts_.apply(whole_);
  hosts_.in_sync();
  auto a = hosts_.a->bind(1);
  EXPECT_EQ(hosts_.a->status(1).state, BondState::kDegraded);
  EXPECT_NE(hosts_.a->status(1).message.find("add link qmx100"), std::string::npos)
      << hosts_.a->status(1).message;
  auto c = hosts_.a->binder().bind(EndpointUid{3});
  ASSERT_FALSE(c);
  EXPECT_EQ(c.error().code, Code::kAlreadyExists) << c.error().message;
  EXPECT_TRUE(hosts_.a->namespaces().open("qm-blue-c"));
  EXPECT_EQ(link_in(hosts_.a->namespaces(), hosts_.a->own(), "vx-other").vxlan->learning, true);
  // Out of the way, it heals by itself.
  must(hosts_.a->namespaces(), hosts_.a->own(), vbond::netlink::DeleteLink{"vx-other"});
  BondStatus status =
      hosts_.a->wait_status(1, [](const BondStatus& s) { return s.state == BondState::kBound; });
  EXPECT_EQ(status.state, BondState::kBound) << status.message;
}

TEST_F(LifecycleTest, TenThousandEndpointsElsewhere) {
  Change change = whole_;
  change.vpcs[0].ranges = {*parse_prefix("10.0.0.0/16")};
  for (std::uint64_t uid = 10; uid < 10010; ++uid) {
    auto low = static_cast<std::uint32_t>(uid);
    change.endpoints.push_back(endpoint(uid, blue_, "e" + std::to_string(uid), 2,
                                        to_string(IpAddress::from_v4(0x0a000100U + low))));
  }
  auto seconds = [](auto since) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
  };
  auto started = std::chrono::steady_clock::now();
  hosts_.a->apply(change);
  double filled = seconds(started);
  started = std::chrono::steady_clock::now();
  auto a = hosts_.a->bind(1);
  double bound = seconds(started);
  EXPECT_EQ(hosts_.a->status(1).state, BondState::kBound) << hosts_.a->status(1).message;
  Change one;
  one.endpoints = {endpoint(20000, blue_, "late", 2, "10.0.250.1")};
  started = std::chrono::steady_clock::now();
  hosts_.a->apply(one);
  double added = seconds(started);
  std::printf(
      "10000 endpoints elsewhere: forwarding %.3f s, bind with neighbours %.3f s, "
      "one more %.3f s\n",
      filled, bound, added);
  EXPECT_LT(filled, 30);  // room for sanitizers on a busy machine
  EXPECT_LT(bound, 30);
  UniqueFd inside = hosts_.a->overlay_namespace();
  auto net = std::move(*hosts_.a->namespaces().connect(inside.get()));
  EXPECT_GE(net->fdb()->size(), 20004U);
}

}  // namespace
}  // namespace qmasq::test
