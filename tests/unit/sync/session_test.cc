// SPDX-License-Identifier: Apache-2.0
#include "vbond/sync/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "tests/support/controller_model.h"

namespace qmasq::vbond {
namespace {

using test::ControllerModel;
using test::WorldState;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ModelFollower final : public Follower {
 public:
  void welcomed(HostUid host) override { host_ = host; }
  Status check(const Change& change) override {
    if (refuse_.empty()) return {};
    (void)change;
    return fail(Code::kInvalidArgument, refuse_);
  }
  void apply(const Change& change) override {
    if (change.snapshot && change.vpcs.empty()) ++emptied_;
    apply_to(state_, vpc_of_endpoint_, change);
    ++applied_;
  }
  void in_sync() override { ++in_syncs_; }

  WorldState state_;
  std::map<std::uint64_t, std::uint64_t> vpc_of_endpoint_;
  HostUid host_;
  std::string refuse_;
  int applied_ = 0;
  int emptied_ = 0;
  int in_syncs_ = 0;
};

void grow(ControllerModel& model, std::mt19937& random) {
  switch (random() % 6) {
    case 0: {
      auto uid = 1 + random() % 3;
      model.put_vpc(uid, "vpc" + std::to_string(uid), 4096 + static_cast<std::uint32_t>(uid));
      break;
    }
    case 1:
      model.remove_vpc(1 + random() % 3);
      break;
    case 2:
      model.remove_endpoint(10 + random() % 10);
      break;
    case 3: {
      auto uid = 100 + random() % 2;
      model.put_host(uid, "host" + std::to_string(uid),
                     "192.0.2." + std::to_string(random() % 200 + 1));
      break;
    }
    default: {
      // Each endpoint lives in the VPC that its number says, so that names stay with uids.
      auto number = random() % 9;
      auto vpc = 1 + number % 3;
      model.put_vpc(vpc, "vpc" + std::to_string(vpc), 4096 + static_cast<std::uint32_t>(vpc));
      model.put_endpoint(
          10 + number, vpc, "e" + std::to_string(number),
          "host" + std::to_string(100 + random() % 2),
          {"10.0." + std::to_string(number) + "." + std::to_string(1 + random() % 9)});
      break;
    }
  }
}

ControllerModel small_world(const std::string& store = "store-1") {
  ControllerModel model(store);
  model.put_host(100, "host100", "192.0.2.1");
  model.put_host(101, "host101", "192.0.2.2");
  model.put_vpc(1, "vpc1", 4097);
  model.put_endpoint(10, 1, "e0", "host100", {"10.0.0.1"});
  model.put_endpoint(13, 1, "e3", "host101", {"10.0.0.2", "10.0.0.3"});
  return model;
}

class SessionTest : public ::testing::Test {
 protected:
  // One stream from Hello to InSync.
  void follow(const ControllerModel& model, std::size_t part = 100) {
    auto hello = session_.open();
    ASSERT_TRUE(session_.receive(model.welcome(100, 1000)).has_value());
    for (const auto& message : model.catch_up(hello, part)) {
      auto reaction = session_.receive(message);
      ASSERT_TRUE(reaction.has_value()) << reaction.error().message;
      ASSERT_FALSE(reaction->rejected.has_value()) << reaction->rejected->message;
    }
  }

  SyncState state_;
  ModelFollower follower_;
  Session session_{{"hosts/host100", "0.1.0", "6.1.0"}, {}, state_, follower_};
};

TEST_F(SessionTest, FirstHelloHoldsNothing) {
  auto hello = session_.open();
  EXPECT_EQ(hello.protocol_version(), 3U);
  EXPECT_EQ(hello.host(), "hosts/host100");
  EXPECT_EQ(hello.agent_version(), "0.1.0");
  EXPECT_EQ(hello.kernel_release(), "6.1.0");
  EXPECT_EQ(hello.store_id(), "");
  EXPECT_EQ(hello.held_revision(), 0U);
  EXPECT_EQ(hello.held_vpc_uids_size(), 0);
}

TEST_F(SessionTest, CatchesUpAndFollows) {
  auto model = small_world();
  auto hello = session_.open();
  auto welcome = session_.receive(model.welcome(100, 1000));
  ASSERT_TRUE(welcome.has_value());
  EXPECT_EQ(welcome->heartbeat, std::chrono::milliseconds(1000));
  EXPECT_EQ(follower_.host_, HostUid{100});
  EXPECT_TRUE(state_.status().connected);
  EXPECT_FALSE(state_.in_sync());

  auto messages = model.catch_up(hello, 100);
  ASSERT_EQ(messages.size(), 2U);
  auto batch = session_.receive(messages[0]);
  ASSERT_TRUE(batch.has_value());
  ASSERT_TRUE(batch->answer.has_value());
  EXPECT_EQ(batch->answer->ack().revision(), model.revision());
  EXPECT_FALSE(state_.in_sync()) << "not before the controller says so";
  ASSERT_TRUE(session_.receive(messages[1]).has_value());
  EXPECT_TRUE(state_.in_sync());
  EXPECT_EQ(follower_.in_syncs_, 1);
  EXPECT_EQ(follower_.state_, model.state());

  auto before = model.revision();
  model.put_endpoint(16, 1, "e6", "host100", {"10.0.0.9"});
  auto delta = model.changes(before, model.revision(), 100);
  ASSERT_EQ(delta.size(), 1U);
  ASSERT_TRUE(session_.receive(delta[0]).has_value());
  EXPECT_EQ(follower_.state_, model.state());
  EXPECT_EQ(state_.status().held, Revision{model.revision()});
  EXPECT_EQ(session_.phase(), SyncPhase::kFollowing);
}

TEST_F(SessionTest, AppliesOnlyWholeBatches) {
  auto model = small_world();
  auto hello = session_.open();
  ASSERT_TRUE(session_.receive(model.welcome(100, 1000)).has_value());
  auto messages = model.catch_up(hello, 2);
  ASSERT_GT(messages.size(), 3U);
  for (std::size_t i = 0; i + 2 < messages.size(); ++i) {
    auto reaction = session_.receive(messages[i]);
    ASSERT_TRUE(reaction.has_value());
    EXPECT_FALSE(reaction->answer.has_value());
    EXPECT_EQ(follower_.applied_, 0);
  }
  auto last = session_.receive(messages[messages.size() - 2]);
  ASSERT_TRUE(last.has_value());
  EXPECT_TRUE(last->answer->has_ack());
  EXPECT_EQ(follower_.applied_, 1);
}

TEST_F(SessionTest, SaysOnTheNextStreamWhatItHolds) {
  auto model = small_world();
  model.put_vpc(2, "vpc2", 5000);
  follow(model);
  session_.closed("connection reset");
  EXPECT_FALSE(state_.status().connected);
  EXPECT_TRUE(state_.in_sync()) << "what is held stays in use";
  EXPECT_EQ(state_.status().last_error, "connection reset");
  auto hello = session_.open();
  EXPECT_EQ(hello.store_id(), "store-1");
  EXPECT_EQ(hello.held_revision(), model.revision());
  EXPECT_THAT(hello.held_vpc_uids(), ElementsAre(1, 2));
}

TEST_F(SessionTest, AnInSyncWithoutChangeMovesTheHeldRevision) {
  auto model = small_world();
  follow(model);
  auto later = model.in_sync();
  later.mutable_in_sync()->set_revision(99);
  auto reaction = session_.receive(later);
  ASSERT_TRUE(reaction.has_value());
  EXPECT_EQ(state_.status().held, Revision{99});
  session_.closed("");
  EXPECT_EQ(session_.open().held_revision(), 99U);
}

TEST_F(SessionTest, ReplacesAllFromAnotherStore) {
  follow(small_world("store-1"));
  session_.closed("");
  ControllerModel other("store-2");
  other.put_host(200, "host100", "192.0.2.1");
  other.put_vpc(1, "vpc9", 9999);
  follow(other);
  EXPECT_EQ(follower_.state_, other.state());
  EXPECT_EQ(follower_.emptied_, 1) << "uid 1 of one store is not uid 1 of another";
  EXPECT_EQ(follower_.host_, HostUid{100});
  EXPECT_EQ(session_.open().store_id(), "store-2");
}

TEST_F(SessionTest, AnotherStoreMustSendASnapshot) {
  follow(small_world("store-1"));
  session_.closed("");
  auto other = small_world("store-2");
  auto before = follower_.state_;
  (void)session_.open();
  ASSERT_TRUE(session_.receive(other.welcome(777, 1000)).has_value());
  EXPECT_FALSE(session_.receive(other.in_sync()).has_value());
  EXPECT_EQ(follower_.host_, HostUid{100}) << "nothing changes before the snapshot is here";
  session_.closed("");
  (void)session_.open();
  ASSERT_TRUE(session_.receive(other.welcome(100, 1000)).has_value());
  auto delta = session_.receive(other.changes(0, other.revision(), 100).at(0));
  ASSERT_TRUE(delta.has_value());
  EXPECT_TRUE(delta->rejected.has_value());
  EXPECT_EQ(follower_.state_, before);
}

TEST_F(SessionTest, AnotherStoreThatHasNothingForUsEmptiesUs) {
  follow(small_world("store-1"));
  session_.closed("");
  ControllerModel empty("store-2");
  follow(empty);
  EXPECT_EQ(follower_.state_, WorldState{});
}

TEST_F(SessionTest, AHostMadeAnewAsksForEverything) {
  auto model = small_world();
  follow(model);
  session_.closed("");
  (void)session_.open();
  auto welcome = session_.receive(model.welcome(555, 1000));
  ASSERT_FALSE(welcome.has_value());
  EXPECT_EQ(welcome.error().code, Code::kAborted);
  session_.closed("");
  auto hello = session_.open();
  EXPECT_EQ(hello.store_id(), "");
  ASSERT_TRUE(session_.receive(model.welcome(555, 1000)).has_value());
  EXPECT_EQ(follower_.host_, HostUid{100});
  for (const auto& message : model.catch_up(hello, 100)) {
    ASSERT_TRUE(session_.receive(message).has_value());
  }
  EXPECT_EQ(follower_.host_, HostUid{555});
  EXPECT_EQ(follower_.emptied_, 0);
  EXPECT_EQ(follower_.state_, model.state());
}

TEST_F(SessionTest, AStoreThatWentBackIsTakenWhole) {
  auto model = small_world();
  follow(model);
  auto later = model.in_sync();
  later.mutable_in_sync()->set_revision(50);
  ASSERT_TRUE(session_.receive(later).has_value());
  session_.closed("");
  (void)session_.open();
  ASSERT_TRUE(session_.receive(model.welcome(100, 1000)).has_value());
  EXPECT_FALSE(session_.receive(model.in_sync()).has_value());
  session_.closed("");
  follow(model);
  EXPECT_EQ(follower_.state_, model.state());
  EXPECT_EQ(state_.status().held, Revision{model.revision()});
}

TEST_F(SessionTest, RejectsABadBatchAndKeepsWhatItHas) {
  auto model = small_world();
  follow(model);
  auto before = model.revision();
  model.put_endpoint(16, 1, "e6", "host100", {"10.0.0.9"});
  auto delta = model.changes(before, model.revision(), 100);
  delta[0].mutable_batch()->mutable_endpoints(0)->set_addresses(0, "nonsense");
  auto held = follower_.state_;
  auto reaction = session_.receive(delta[0]);
  ASSERT_TRUE(reaction.has_value());
  ASSERT_TRUE(reaction->rejected.has_value());
  EXPECT_EQ(reaction->answer->reject().revision(), model.revision());
  EXPECT_THAT(reaction->answer->reject().reason(), HasSubstr("nonsense"));
  EXPECT_EQ(follower_.state_, held);
  auto status = state_.status();
  EXPECT_EQ(status.held, Revision{before});
  EXPECT_EQ(status.newest, Revision{model.revision()});

  // A change that is right in itself has nothing to stand on now.
  model.put_endpoint(19, 1, "e9", "host100", {"10.0.0.10"});
  reaction = session_.receive(model.changes(model.revision() - 1, model.revision(), 100).at(0));
  ASSERT_TRUE(reaction.has_value());
  EXPECT_TRUE(reaction->rejected.has_value());
  EXPECT_EQ(follower_.state_, held);
  // A snapshot on the same stream mends it.
  for (const auto& message : model.catch_up({}, 2)) {
    reaction = session_.receive(message);
    ASSERT_TRUE(reaction.has_value());
    ASSERT_FALSE(reaction->rejected.has_value());
  }
  EXPECT_EQ(follower_.state_, model.state());
  EXPECT_EQ(follower_.emptied_, 0);
  EXPECT_EQ(state_.status().last_error, "");
}

TEST_F(SessionTest, AsksForASnapshotOnTheNextStreamAfterAReject) {
  auto model = small_world();
  follow(model);
  auto before = model.revision();
  model.put_endpoint(16, 1, "e6", "host100", {"10.0.0.9"});
  follower_.refuse_ = "no";
  auto reaction = session_.receive(model.changes(before, model.revision(), 100).at(0));
  ASSERT_TRUE(reaction.has_value() && reaction->rejected.has_value());
  EXPECT_FALSE(session_.receive(model.in_sync()).has_value()) << "it is not";
  session_.closed("");
  follower_.refuse_.clear();
  EXPECT_EQ(session_.open().store_id(), "");
  session_.closed("");
  follow(model);
  EXPECT_EQ(follower_.state_, model.state());
}

TEST_F(SessionTest, AFirstBatchThatIsRejectedIsNotBuiltUpon) {
  auto model = small_world();
  auto hello = session_.open();
  ASSERT_TRUE(session_.receive(model.welcome(100, 1000)).has_value());
  follower_.refuse_ = "no";
  ASSERT_TRUE(session_.receive(model.catch_up(hello, 100).at(0))->rejected.has_value());
  follower_.refuse_.clear();
  auto before = model.revision();
  model.put_host(102, "host102", "192.0.2.9");
  auto reaction = session_.receive(model.changes(before, model.revision(), 100).at(0));
  ASSERT_TRUE(reaction.has_value());
  EXPECT_TRUE(reaction->rejected.has_value());
  EXPECT_EQ(follower_.applied_, 0);
}

TEST_F(SessionTest, AnObserverMayRefuse) {
  auto model = small_world();
  auto hello = session_.open();
  ASSERT_TRUE(session_.receive(model.welcome(100, 1000)).has_value());
  follower_.refuse_ = "address 10.0.0.1 is already that of e3";
  auto reaction = session_.receive(model.catch_up(hello, 100).at(0));
  ASSERT_TRUE(reaction.has_value());
  EXPECT_THAT(reaction->answer->reject().reason(), HasSubstr("already that of e3"));
  EXPECT_EQ(follower_.applied_, 0);
}

TEST_F(SessionTest, KeepsToTheProtocol) {
  auto model = small_world();
  struct Case {
    const char* what;
    std::vector<v1::SyncResponse> messages;
  };
  auto batch = model.changes(0, model.revision(), 100).at(0);
  auto part = batch;
  part.mutable_batch()->set_more(true);
  v1::SyncResponse nameless = model.welcome(100, 1000);
  nameless.mutable_welcome()->clear_store_id();
  v1::SyncResponse no_host = model.welcome(0, 1000);
  std::vector<Case> cases = {
      {"batch before Welcome", {batch}},
      {"InSync before Welcome", {model.in_sync()}},
      {"two Welcomes", {model.welcome(100, 1000), model.welcome(100, 1000)}},
      {"InSync inside a batch", {model.welcome(100, 1000), part, model.in_sync()}},
      {"unknown kind", {model.welcome(100, 1000), v1::SyncResponse{}}},
      {"no store", {nameless}},
      {"no host", {no_host}},
  };
  for (const auto& one : cases) {
    (void)session_.open();
    for (std::size_t i = 0; i < one.messages.size(); ++i) {
      auto reaction = session_.receive(one.messages[i]);
      EXPECT_EQ(reaction.has_value(), i + 1 < one.messages.size()) << one.what;
    }
    session_.closed("");
    EXPECT_EQ(follower_.applied_, 0) << one.what;
  }
  follow(model);
  EXPECT_EQ(follower_.state_, model.state());
}

TEST_F(SessionTest, KeepsHeartbeatsWithinReason) {
  auto model = small_world();
  for (auto [told, kept] : {std::pair{0U, 100}, {50U, 100}, {3000U, 3000}, {4000000000U, 60000}}) {
    (void)session_.open();
    auto reaction = session_.receive(model.welcome(100, told));
    ASSERT_TRUE(reaction.has_value());
    EXPECT_EQ(reaction->heartbeat, std::chrono::milliseconds(kept));
    session_.closed("");
  }
}

// Whatever the stream is cut at, the agent ends where the controller is, and never shows a state
// that the controller never had.
TEST_F(SessionTest, ADisconnectAtAnyPointLeavesNoGap) {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    std::mt19937 random(seed);
    SyncState state;
    ModelFollower follower;
    Session session({"hosts/host100", "0.1.0", "6.1.0"}, {}, state, follower);
    auto model = small_world();
    std::map<std::uint64_t, WorldState> history = {{model.revision(), model.state()}};
    for (int stream = 0; stream < 12; ++stream) {
      auto hello = session.open();
      auto messages = model.catch_up(hello, 1 + random() % 4);
      messages.insert(messages.begin(), model.welcome(100, 1000));
      // Changes while the stream stands.
      auto sent = model.revision();
      for (unsigned i = 0; i < random() % 4; ++i) {
        for (unsigned j = 0; j < 1 + random() % 3; ++j)
          grow(model, random);
        history[model.revision()] = model.state();
        auto more = model.changes(sent, model.revision(), 1 + random() % 3);
        messages.insert(messages.end(), more.begin(), more.end());
        messages.push_back(model.in_sync());
        sent = model.revision();
      }
      bool last = stream == 11;
      std::size_t cut = last ? messages.size() : random() % (messages.size() + 1);
      for (std::size_t i = 0; i < cut; ++i) {
        auto reaction = session.receive(messages[i]);
        ASSERT_TRUE(reaction.has_value()) << seed << ": " << reaction.error().message;
        ASSERT_FALSE(reaction->rejected.has_value()) << seed << ": " << reaction->rejected->message;
        if (follower.applied_ > 0) {
          ASSERT_EQ(follower.state_, history.at(session.held().revision.value)) << seed;
        }
      }
      session.closed("cut");
      // And while it does not.
      if (!last && random() % 2 == 0) {
        grow(model, random);
        history[model.revision()] = model.state();
      }
    }
    ASSERT_EQ(follower.state_, model.state()) << seed;
  }
}

}  // namespace
}  // namespace qmasq::vbond
