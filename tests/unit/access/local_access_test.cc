// SPDX-License-Identifier: Apache-2.0
#include "vbond/access/local_access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vbond/rename/peer_map.h"

namespace qmasq::vbond {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr HostUid kHost{100};

class LocalAccessTest : public ::testing::Test {
 protected:
  LocalAccessTest() {
    endpoints_.set_host(kHost, "hosts/hostA");
    change_.snapshot = true;
    change_.revision = Revision{1};
    for (std::uint64_t vpc : {1, 2}) {
      change_.vpcs.push_back({VpcUid{vpc},
                              vpc == 1 ? "vpcs/blue" : "vpcs/red",
                              Vni{static_cast<std::uint32_t>(4095 + vpc)},
                              {},
                              0});
    }
    put(11, 1, "vpcs/blue/endpoints/a", {1000}, {});
    put(12, 1, "vpcs/blue/endpoints/b", {1001}, {500});
    put(21, 2, "vpcs/red/endpoints/a", {}, {});
    endpoints_.apply(change_);
    sync_.mark_in_sync(Revision{1});
  }
  void put(std::uint64_t uid, std::uint64_t vpc, const std::string& name,
           std::vector<std::uint32_t> users, std::vector<std::uint32_t> groups) {
    EndpointView view;
    view.uid = EndpointUid{uid};
    view.vpc = VpcUid{vpc};
    view.name = name;
    view.host = kHost;
    view.mac = *parse_mac("02:71:00:00:00:0a");
    view.user_ids = std::move(users);
    view.group_ids = std::move(groups);
    change_.endpoints.push_back(view);
  }
  static LocalPeer user(uid_t uid, std::vector<gid_t> groups = {}) {
    return {42, uid, uid, std::move(groups)};
  }

  conntrack::GroupSets sets_;
  PeerMap peers_{sets_};
  SyncState sync_;
  EndpointTable endpoints_{peers_, sync_};
  Change change_;
  bool tenant_ = false;
  std::optional<gid_t> admins_ = 77;
  LocalAccess access_{
      endpoints_, sync_, {[this](pid_t) { return tenant_; }, [this] { return admins_; }}};
};

TEST_F(LocalAccessTest, RootAndTheGroupMayAll) {
  for (const LocalPeer& peer : {user(0), user(5, {1, 77}), LocalPeer{42, 5, 77, {}}}) {
    EXPECT_TRUE(access_.find(peer, "red/a"));
    EXPECT_TRUE(access_.sight_of(peer).all);
  }
  admins_ = {};
  EXPECT_FALSE(access_.find(user(5, {1, 77}), "red/a"));
  EXPECT_TRUE(access_.find(user(0), "red/a"));
  // A group qmasq of number 0 would be root's, in which many services are.
  admins_ = 0;
  EXPECT_FALSE(access_.find(user(5, {0}), "red/a"));
}

TEST_F(LocalAccessTest, AUserMayWhatIsTheirs) {
  EXPECT_TRUE(access_.find(user(1000), "blue/a"));
  EXPECT_TRUE(access_.find(user(1000), "a")) << "the other a is not theirs, so it is not ambiguous";
  EXPECT_THAT(access_.sight_of(user(1000)).endpoints, ElementsAre("vpcs/blue/endpoints/a"));
  // By the group of the process, and by a supplementary one.
  EXPECT_TRUE(access_.find(LocalPeer{42, 9, 500, {}}, "blue/b"));
  EXPECT_TRUE(access_.find(user(9, {3, 500}), "blue/b"));
  EXPECT_FALSE(access_.find(user(500), "red/a")) << "a user's number is no group's";
  EXPECT_TRUE(access_.sight_of(user(9)).endpoints.empty());
}

TEST_F(LocalAccessTest, OfOthersItDoesNotSayWhetherTheyAreThere) {
  auto theirs = access_.find(user(1000), "blue/b");
  auto nowhere = access_.find(user(1000), "blue/c");
  ASSERT_FALSE(theirs);
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(theirs.error().code, Code::kPermissionDenied);
  EXPECT_EQ(nowhere.error().code, Code::kPermissionDenied);
  EXPECT_THAT(theirs.error().message,
              HasSubstr("no endpoint 'blue/b' on this host is for user 1000"));
  EXPECT_THAT(theirs.error().message, HasSubstr("qmasq endpoint update blue/b --user 1000"));
  EXPECT_THAT(nowhere.error().message,
              HasSubstr("no endpoint 'blue/c' on this host is for user 1000"));
}

TEST_F(LocalAccessTest, SightGoesByWholeNames) {
  LocalAccess::Sight sight = access_.sight_of(user(1000));
  EXPECT_TRUE(sight.sees("vpcs/blue/endpoints/a"));
  EXPECT_FALSE(sight.sees("vpcs/blue/endpoints/aa"));
  EXPECT_FALSE(sight.sees(""));
  EXPECT_TRUE(sight.sees_any_of(""));
  EXPECT_TRUE(sight.sees_any_of("vpcs/blue"));
  EXPECT_TRUE(sight.sees_any_of("vpcs/blue/endpoints/a"));
  EXPECT_FALSE(sight.sees_any_of("vpcs/bl"));
  EXPECT_FALSE(sight.sees_any_of("vpcs/red"));
  EXPECT_FALSE(access_.sight_of(user(5)).sees_any_of(""));
}

TEST_F(LocalAccessTest, ChangesOfUsersCountAtOnce) {
  change_.endpoints[0].user_ids = {1002};
  change_.revision = Revision{2};
  endpoints_.apply(change_);
  EXPECT_FALSE(access_.find(user(1000), "blue/a"));
  EXPECT_TRUE(access_.find(user(1002), "blue/a"));
}

TEST_F(LocalAccessTest, ProgramsOfTenantsMayNothing) {
  EXPECT_TRUE(access_.admit(user(0)));
  tenant_ = true;
  auto refused = access_.admit(user(0));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kPermissionDenied);
  EXPECT_THAT(refused.error().message, HasSubstr("qmasq run"));
}

TEST_F(LocalAccessTest, KnowsThePeerOfASocket) {
  int ends[2] = {};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
  auto peer = peer_of(ends[0]);
  ASSERT_TRUE(peer) << peer.error().message;
  EXPECT_EQ(peer->pid, getpid());
  EXPECT_EQ(peer->uid, geteuid());
  EXPECT_EQ(peer->gid, getegid());
  std::vector<gid_t> groups(static_cast<std::size_t>(getgroups(0, nullptr)));
  ASSERT_EQ(getgroups(static_cast<int>(groups.size()), groups.data()),
            static_cast<int>(groups.size()));
  EXPECT_THAT(peer->groups, ::testing::UnorderedElementsAreArray(groups));
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace qmasq::vbond
