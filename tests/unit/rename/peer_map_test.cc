// SPDX-License-Identifier: Apache-2.0
#include "vbond/rename/peer_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/rename/values.h"

namespace qmasq::vbond {
namespace {

using namespace qmasq::vbond::testing;  // NOLINT(google-build-using-namespace): values to test with
using ::testing::HasSubstr;

const LocalNic kLocal{"rxe0", parse_gid("192.168.0.1").value()};
constexpr Vni kBlue{100};
constexpr Vni kRed{200};

Change two_vpcs() {
  Change change;
  change.snapshot = true;
  change.vpcs = {vpc(1, "blue", 100), vpc(2, "red", 200)};
  change.hosts = {host(10, "hostA", {{"rxe0", "192.168.0.1"}}),
                  host(11, "hostB", {{"rxe0", "192.168.0.2"}})};
  change.endpoints = {endpoint(101, 1, "blue/a", 10, {"10.0.0.1"}),
                      endpoint(102, 1, "blue/b", 11, {"10.0.0.2", "fd00::2"}),
                      endpoint(201, 2, "red/a", 11, {"10.0.0.1"}),
                      endpoint(202, 2, "red/b", 10, {"10.0.0.2"})};
  return change;
}

class PeerMapTest : public ::testing::Test {
 protected:
  void take(const Change& change) {
    Status status = map_.check(change);
    ASSERT_TRUE(status) << status.error().message;
    map_.apply(change);
  }
  // "uid@physical", or why not.
  std::string find(Vni vni, const std::string& address, const LocalNic& local = kLocal) {
    auto peer = map_.find(vni, gid(address), local);
    if (!peer) return peer.error() == NoPeer::kNoVpc ? "no vpc" : "no address";
    if (peer->physical.is_zero()) return std::to_string(peer->endpoint.value) + "@nothing";
    return std::to_string(peer->endpoint.value) + "@" + to_string(peer->physical.address());
  }
  std::string refused(const Change& change) {
    Status status = map_.check(change);
    return status ? "accepted" : status.error().message;
  }
  conntrack::GroupSets sets_;
  PeerMap map_{sets_};
};

TEST_F(PeerMapTest, TheSameAddressInTwoVpcsIsTwoPeers) {
  take(two_vpcs());
  EXPECT_EQ(find(kBlue, "10.0.0.1"), "101@192.168.0.1");
  EXPECT_EQ(find(kRed, "10.0.0.1"), "201@192.168.0.2");
  EXPECT_EQ(find(kBlue, "fd00::2"), "102@192.168.0.2");
  EXPECT_EQ(find(kRed, "fd00::2"), "no address");
  EXPECT_EQ(find(Vni{300}, "10.0.0.1"), "no vpc");
  EXPECT_EQ(map_.size().entries, 5U);
  EXPECT_EQ(map_.size().endpoints, 4U);
}

TEST_F(PeerMapTest, DescribesAnEndpoint) {
  take(two_vpcs());
  auto info = map_.describe(EndpointUid{102});
  ASSERT_TRUE(info);
  EXPECT_EQ(info->name, "vpcs/blue/endpoints/b");
  EXPECT_EQ(info->host, "hosts/hostB");
  EXPECT_EQ(info->host_uid, HostUid{11});
  EXPECT_FALSE(map_.describe(EndpointUid{999}));
}

TEST_F(PeerMapTest, ALinkLocalGidIsFoundByItsMac) {
  take(two_vpcs());
  auto ll = [](std::uint64_t uid) { return to_string(Gid::link_local(mac(uid)).address()); };
  EXPECT_EQ(find(kBlue, ll(102)), "102@192.168.0.2");
  EXPECT_EQ(find(kRed, ll(102)), "no address");
  Change change;
  change.endpoints = {endpoint(102, 1, "blue/b", 11, {"10.0.0.2"})};
  change.endpoints[0].mac = mac(77);
  take(change);
  EXPECT_EQ(find(kBlue, ll(102)), "no address");
  EXPECT_EQ(find(kBlue, ll(77)), "102@192.168.0.2");
  change = {};
  change.removed_endpoints = {EndpointUid{102}};
  take(change);
  EXPECT_EQ(find(kBlue, ll(77)), "no address");
}

TEST_F(PeerMapTest, TakesTheNicOfOurNameElseTheFirstOfOurFamily) {
  Change change = two_vpcs();
  change.hosts[1] = host(11, "hostB",
                         {{"mlx5_9", ""},
                          {"mlx5_0", "fd00:99::2"},
                          {"mlx5_1", "192.168.0.3"},
                          {"mlx5_2", "192.168.0.4"}});
  take(change);
  Gid v4 = gid("192.168.0.1");
  Gid v6 = gid("fd00:99::1");
  EXPECT_EQ(find(kBlue, "10.0.0.2", {"mlx5_2", v4}), "102@192.168.0.4");
  EXPECT_EQ(find(kBlue, "10.0.0.2", {"rxe0", v4}), "102@192.168.0.3");
  EXPECT_EQ(find(kBlue, "10.0.0.2", {"mlx5_9", v4}), "102@192.168.0.3");
  EXPECT_EQ(find(kBlue, "10.0.0.2", {"rxe0", v6}), "102@fd00:99::2");
  EXPECT_EQ(find(kBlue, "10.0.0.1", {"rxe0", v6}), "101@nothing");
}

TEST_F(PeerMapTest, FollowsMovesAddressesAndHosts) {
  take(two_vpcs());
  std::uint32_t generation = map_.describe(EndpointUid{101})->generation;
  Change move;
  move.endpoints = {endpoint(101, 1, "blue/a", 11, {"10.0.0.1"})};
  take(move);
  EXPECT_EQ(find(kBlue, "10.0.0.1"), "101@192.168.0.2");
  EXPECT_GT(map_.describe(EndpointUid{101})->generation, generation);

  Change renumber;
  renumber.endpoints = {endpoint(101, 1, "blue/a", 11, {"10.0.0.7", "10.0.0.8"})};
  take(renumber);
  EXPECT_EQ(find(kBlue, "10.0.0.1"), "no address");
  EXPECT_EQ(find(kBlue, "10.0.0.7"), "101@192.168.0.2");
  EXPECT_EQ(find(kBlue, "10.0.0.8"), "101@192.168.0.2");

  Change nic;
  nic.hosts = {host(11, "hostB", {{"rxe0", "192.168.0.22"}})};
  take(nic);
  EXPECT_EQ(find(kBlue, "10.0.0.7"), "101@192.168.0.22");
  nic.hosts = {};
  nic.removed_hosts = {HostUid{11}};
  take(nic);
  EXPECT_EQ(find(kBlue, "10.0.0.7"), "101@nothing");
}

TEST_F(PeerMapTest, AnAddressCanGoFromOneEndpointToAnotherInOneChange) {
  take(two_vpcs());
  Change swap;
  swap.endpoints = {endpoint(101, 1, "blue/a", 10, {"10.0.0.2"}),
                    endpoint(102, 1, "blue/b", 11, {"10.0.0.1"})};
  take(swap);
  EXPECT_EQ(find(kBlue, "10.0.0.1"), "102@192.168.0.2");
  EXPECT_EQ(find(kBlue, "10.0.0.2"), "101@192.168.0.1");
  EXPECT_EQ(find(kBlue, "fd00::2"), "no address");

  Change heir;
  heir.removed_endpoints = {EndpointUid{101}};
  heir.endpoints = {endpoint(103, 1, "blue/c", 10, {"10.0.0.2"})};
  take(heir);
  EXPECT_EQ(find(kBlue, "10.0.0.2"), "103@192.168.0.1");
}

TEST_F(PeerMapTest, AVpcTakesItsEndpointsAlong) {
  take(two_vpcs());
  Change change;
  change.removed_vpcs = {VpcUid{1}};
  take(change);
  EXPECT_EQ(find(kBlue, "10.0.0.1"), "no vpc");
  EXPECT_FALSE(map_.describe(EndpointUid{101}));
  EXPECT_EQ(find(kRed, "10.0.0.1"), "201@192.168.0.2");
  EXPECT_EQ(map_.size().endpoints, 2U);
}

TEST_F(PeerMapTest, AVniCanPassToAnotherVpcInOneChange) {
  take(two_vpcs());
  Change change;
  change.removed_vpcs = {VpcUid{1}};
  change.vpcs = {vpc(3, "green", 100)};
  change.endpoints = {endpoint(301, 3, "green/x", 10, {"10.0.0.1"})};
  take(change);
  EXPECT_EQ(find(kBlue, "10.0.0.1"), "301@192.168.0.1");
  EXPECT_EQ(find(kBlue, "10.0.0.2"), "no address");
}

TEST_F(PeerMapTest, ASnapshotReplacesAll) {
  take(two_vpcs());
  Change change;
  change.snapshot = true;
  change.vpcs = {vpc(2, "red", 200)};
  change.hosts = {host(12, "hostC", {{"rxe0", "192.168.0.3"}})};
  change.endpoints = {endpoint(203, 2, "red/c", 12, {"10.0.0.1"})};
  take(change);
  EXPECT_EQ(find(kBlue, "10.0.0.1"), "no vpc");
  EXPECT_EQ(find(kRed, "10.0.0.1"), "203@192.168.0.3");
  EXPECT_EQ(find(kRed, "10.0.0.2"), "no address");
  auto size = map_.size();
  EXPECT_EQ(size.entries, 1U);
  EXPECT_EQ(size.endpoints, 1U);
  EXPECT_EQ(size.vpcs, 1U);
  EXPECT_EQ(size.hosts, 1U);
}

TEST_F(PeerMapTest, AHostMayBeDescribedLater) {
  Change change = two_vpcs();
  change.hosts.clear();
  take(change);
  EXPECT_EQ(find(kBlue, "10.0.0.1"), "101@nothing");
  EXPECT_EQ(map_.describe(EndpointUid{101})->host, "");
  Change hosts;
  hosts.hosts = {host(10, "hostA", {{"rxe0", "192.168.0.1"}})};
  take(hosts);
  EXPECT_EQ(find(kBlue, "10.0.0.1"), "101@192.168.0.1");
}

TEST_F(PeerMapTest, RefusesWhatIsNotOneMap) {
  take(two_vpcs());
  Change change;
  change.endpoints = {endpoint(103, 1, "blue/c", 10, {"10.0.0.1"})};
  EXPECT_THAT(refused(change), HasSubstr("vpcs/blue/endpoints/c has address 10.0.0.1 of "
                                         "vpcs/blue/endpoints/a"));
  change.endpoints = {endpoint(103, 1, "blue/c", 10, {"10.0.0.9"}),
                      endpoint(104, 1, "blue/d", 10, {"10.0.0.9"})};
  EXPECT_THAT(refused(change), HasSubstr("both have address 10.0.0.9"));
  change.endpoints = {endpoint(103, 9, "grey/c", 10, {"10.0.0.1"})};
  EXPECT_THAT(refused(change), HasSubstr("VPC uid 9, which is not held"));
  change.endpoints = {};
  change.vpcs = {vpc(3, "green", 200)};
  EXPECT_THAT(refused(change), HasSubstr("both have VNI 200"));
  change.vpcs = {vpc(3, "green", 0)};
  EXPECT_THAT(refused(change), HasSubstr("out of range"));
  change.vpcs = {};
  change.endpoints = {endpoint(103, 1, "blue/" + std::string(300, 'x'), 10, {})};
  EXPECT_THAT(refused(change), HasSubstr("out of range"));
  // A snapshot is judged by itself.
  Change snapshot;
  snapshot.snapshot = true;
  snapshot.endpoints = {endpoint(101, 1, "blue/a", 10, {"10.0.0.1"})};
  EXPECT_THAT(refused(snapshot), HasSubstr("not held"));
}

TEST_F(PeerMapTest, FindsEndpointsByIdForMessages) {
  take(two_vpcs());
  auto any = map_.find_named("", "a", 10);
  ASSERT_EQ(any.size(), 2U);
  auto red = map_.find_named("red", "a", 10);
  ASSERT_EQ(red.size(), 1U);
  EXPECT_EQ(red[0].name, "vpcs/red/endpoints/a");
  EXPECT_EQ(red[0].host, "hosts/hostB");
  EXPECT_EQ(map_.find_named("", "a", 1).size(), 1U);
  EXPECT_TRUE(map_.find_named("blue", "zz", 10).empty());
}

TEST_F(PeerMapTest, KeepsNamesOfAnUnusualForm) {
  Change change = two_vpcs();
  change.endpoints[0].name = "elsewhere/x";
  take(change);
  EXPECT_EQ(map_.describe(EndpointUid{101})->name, "elsewhere/x");
  EXPECT_EQ(map_.find_named("", "x", 10).size(), 1U);
}

// The order of unrelated steps and repeats of them change nothing.
TEST_F(PeerMapTest, OrderOfUnrelatedChangesDoesNotMatter) {
  std::vector<Change> steps(6);
  steps[0].hosts = {host(10, "hostA", {{"rxe0", "192.168.0.99"}})};
  steps[1].endpoints = {endpoint(102, 1, "blue/b", 10, {"10.0.0.2"})};
  steps[2].endpoints = {endpoint(103, 1, "blue/c", 11, {"10.0.0.3"})};
  steps[3].removed_endpoints = {EndpointUid{101}};
  steps[4].removed_vpcs = {VpcUid{2}};
  steps[5].vpcs = {vpc(3, "green", 300)};
  auto picture = [&](const PeerMap& map) {
    std::string out;
    for (Vni vni : {kBlue, kRed, Vni{300}}) {
      for (int i = 1; i < 5; ++i) {
        auto peer = map.find(vni, gid("10.0.0." + std::to_string(i)), kLocal);
        out += peer ? std::to_string(peer->endpoint.value) + to_string(peer->physical) : "-";
        out += ' ';
      }
    }
    auto size = map.size();
    return out + std::to_string(size.entries) + " " + std::to_string(size.endpoints) + " " +
           std::to_string(size.vpcs) + " " + std::to_string(size.hosts);
  };
  std::string expected;
  std::vector<std::size_t> order = {0, 1, 2, 3, 4, 5};
  do {
    PeerMap map{sets_};
    map.apply(two_vpcs());
    for (std::size_t i : order) {
      ASSERT_TRUE(map.check(steps[i]));
      map.apply(steps[i]);
      if (i % 2 == 0) map.apply(steps[i]);
    }
    map.apply(steps[order[0]]);
    if (expected.empty()) expected = picture(map);
    ASSERT_EQ(picture(map), expected);
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_THAT(expected, HasSubstr("103"));
}

}  // namespace
}  // namespace qmasq::vbond
