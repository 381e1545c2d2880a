// SPDX-License-Identifier: Apache-2.0
#include "vbond/vpc_gids/vpc_addresses.h"

#include <gtest/gtest.h>

#include "tests/fake_netlink/fake_kernel.h"
#include "tests/fake_netlink/manual_loop.h"
#include "vbond/nic/vpc_gid.h"
#include "vbond/rename/peer_map.h"

namespace qmasq::vbond {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const Gid kPrefix = parse_gid("fd00:0:0:1:c000:201::").value();

// hostA with eth1 below rxe0; blue has the VNI 100, red 200.
class VpcAddressesTest : public ::testing::Test {
 protected:
  VpcAddressesTest() {
    netlink::AddLink link;
    link.link.name = "eth1";
    EXPECT_TRUE(host_->apply(std::vector<netlink::Operation>{link})[0]);
    endpoints_.set_host(HostUid{10}, "hosts/hostA");
    change_.snapshot = true;
    change_.hosts = {{HostUid{10}, "hosts/hostA", {}, {}}};
    for (auto [uid, name, vni] : {std::tuple{1U, "blue", 100U}, {2U, "red", 200U}}) {
      VpcView vpc;
      vpc.uid = VpcUid{uid};
      vpc.name = std::string("vpcs/") + name;
      vpc.vni = Vni{vni};
      vpc.ranges = {parse_prefix("10.0.0.0/24").value()};
      change_.vpcs.push_back(vpc);
    }
  }
  EndpointView endpoint(std::uint64_t uid, std::uint64_t vpc, const std::string& address) {
    EndpointView out;
    out.uid = EndpointUid{uid};
    out.vpc = VpcUid{vpc};
    out.name = change_.vpcs[vpc - 1].name + "/endpoints/e" + std::to_string(uid);
    out.host = HostUid{10};
    out.mac = Mac{{2, 0, 0, 0, 0, static_cast<std::uint8_t>(uid)}};
    out.addresses = {parse_ip(address).value()};
    return out;
  }
  void apply(std::vector<EndpointView> endpoints) {
    change_.endpoints = std::move(endpoints);
    for (ChangeObserver* each :
         {static_cast<ChangeObserver*>(&peers_), static_cast<ChangeObserver*>(&endpoints_),
          static_cast<ChangeObserver*>(&*addresses_)}) {
      auto status = each->check(change_);
      ASSERT_TRUE(status) << status.error().message;
      each->apply(change_);
    }
    loop_.run();
  }
  static HostNics nics() {
    HostNics out;
    Nic nic;
    nic.device = "rxe0";
    nic.netdev = "eth1";
    nic.vpc_prefix = kPrefix;
    out.nics = {nic};
    return out;
  }
  std::set<std::string> there() {
    std::set<std::string> out;
    const auto addresses = host_->addresses();
    for (const netlink::Address& address : *addresses) {
      if (!address.ip.is_v4()) out.insert(to_string(IpPrefix{address.ip, address.prefix}));
    }
    return out;
  }
  void add_by_hand(const std::string& address) {
    netlink::AddAddress add{"eth1", parse_ip(address).value(), 64};
    ASSERT_TRUE(host_->apply(std::vector<netlink::Operation>{add})[0]);
  }

  test::ManualClock clock_;
  test::ManualLoop loop_{clock_};
  test::FakeKernel kernel_;
  std::unique_ptr<netlink::Netlink> host_ = kernel_.connect(-1).value();
  SyncState sync_;
  conntrack::GroupSets sets_;
  PeerMap peers_{sets_};
  EndpointTable endpoints_{peers_, sync_};
  Change change_;
  std::vector<std::set<Vni>> told_;
  std::optional<VpcAddresses> addresses_{
      std::in_place,
      VpcAddresses::Options{parse_prefix("fd00:0:0:1::/64").value()},
      endpoints_,
      kernel_,
      loop_,
      clock_,
      [this](std::set<Vni> vpcs) { told_.push_back(std::move(vpcs)); }};
};

TEST_F(VpcAddressesTest, EachVpcOfThisHostHasOne) {
  addresses_->set_nics(nics());
  apply({endpoint(1, 1, "10.0.0.1"), endpoint(2, 1, "10.0.0.2"), endpoint(3, 2, "10.0.0.1")});
  EXPECT_EQ(there(),
            (std::set<std::string>{"fd00::1:c000:201:0:64/64", "fd00::1:c000:201:0:c8/64"}));
  EXPECT_EQ(told_.back(), (std::set<Vni>{Vni{100}, Vni{200}}));
}

TEST_F(VpcAddressesTest, WhatNoVpcHasAnyMoreGoesOnceAllIsKnown) {
  addresses_->set_nics(nics());
  // Of an agent before this one; an administrator's; and one beside the prefix.
  add_by_hand("fd00:0:0:1:c000:201:0:7");
  add_by_hand("fd00:0:0:1:c000:202:0:7");
  apply({endpoint(1, 1, "10.0.0.1"), endpoint(3, 2, "10.0.0.1")});
  EXPECT_EQ(there().size(), 4U);
  apply({endpoint(3, 2, "10.0.0.1")});
  EXPECT_EQ(there().size(), 4U) << "not in sync: another batch may bring the endpoint";
  addresses_->in_sync();
  loop_.run();
  EXPECT_EQ(there(),
            (std::set<std::string>{"fd00::1:c000:201:0:c8/64", "fd00::1:c000:202:0:7/64"}));
  apply({});
  EXPECT_EQ(there(), (std::set<std::string>{"fd00::1:c000:202:0:7/64"}));
}

TEST_F(VpcAddressesTest, NothingIsDoneWithoutANicThatHasThem) {
  apply({endpoint(1, 1, "10.0.0.1")});
  EXPECT_TRUE(there().empty());
  addresses_->set_nics(nics());
  loop_.run();
  EXPECT_EQ(there().size(), 1U);
}

TEST_F(VpcAddressesTest, WhatTheKernelDropsOrRefusesIsTriedAgain) {
  addresses_->set_nics(nics());
  kernel_.fail_next("fd00::1:c000", ENOBUFS, 1);
  apply({endpoint(1, 1, "10.0.0.1")});
  EXPECT_TRUE(there().empty());
  EXPECT_EQ(kernel_.failures_left(), 0);
  loop_.pass_time(milliseconds(1100));
  EXPECT_EQ(there().size(), 1U);
  // An interface that was down comes up without its IPv6 addresses; the NIC looks different then.
  netlink::DeleteAddress drop{"eth1", vpc_gid(kPrefix, Vni{100}).address(), 64};
  ASSERT_TRUE(host_->apply(std::vector<netlink::Operation>{drop})[0]);
  addresses_->set_nics(nics());
  loop_.run();
  EXPECT_EQ(there().size(), 1U);
  ASSERT_TRUE(host_->apply(std::vector<netlink::Operation>{drop})[0]);
  loop_.pass_time(seconds(61));
  EXPECT_EQ(there().size(), 1U);
}

}  // namespace
}  // namespace qmasq::vbond
