// SPDX-License-Identifier: Apache-2.0
#include "tests/support/keeper_contract.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <future>
#include <set>
#include <thread>

namespace qmasq::test {

using std::chrono::milliseconds;
using vbond::Keeper;

namespace {

constexpr milliseconds kNow{0};
constexpr milliseconds kSoon{10'000};
constexpr milliseconds kStays{50};

}  // namespace

Witness::Witness() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
  read_.reset(ends[0]);
  write_.reset(ends[1]);
}

bool Witness::closed(milliseconds limit) const {
  pollfd wait{read_.get(), 0, 0};
  return ::poll(&wait, 1, static_cast<int>(limit.count())) == 1 && (wait.revents & POLLHUP) != 0;
}

bool Witness::is(int fd) const {
  return ::syscall(SYS_kcmp, ::getpid(), ::getpid(), KCMP_FILE, write_.get(), fd) == 0;
}

void KeeperContract::SetUp() {
  world_ = GetParam()();
}

std::unique_ptr<Keeper> KeeperContract::connect() {
  auto keeper = world_->connect(kSoon);
  EXPECT_TRUE(keeper) << keeper.error().message;
  return keeper ? std::move(*keeper) : nullptr;
}

std::vector<Keeper::Held> KeeperContract::list(Keeper& keeper) {
  auto held = keeper.list();
  EXPECT_TRUE(held) << held.error().message;
  return held ? std::move(*held) : std::vector<Keeper::Held>{};
}

TEST_P(KeeperContract, HoldsNothingAtFirst) {
  auto keeper = connect();
  ASSERT_TRUE(keeper);
  EXPECT_TRUE(list(*keeper).empty());
}

TEST_P(KeeperContract, GivesBackTheSameOpenFile) {
  auto keeper = connect();
  ASSERT_TRUE(keeper);
  Witness one;
  Witness two;
  auto first = keeper->put("one", one.descriptor());
  auto second = keeper->put("two", two.descriptor());
  ASSERT_TRUE(first && second);
  EXPECT_NE(*first, 0U);
  EXPECT_LT(*first, *second);
  auto held = list(*keeper);
  ASSERT_EQ(held.size(), 2U);
  EXPECT_EQ(held[0].id, *first);
  EXPECT_EQ(held[0].tag, "one");
  EXPECT_TRUE(one.is(held[0].descriptor.get()));
  EXPECT_EQ(held[1].id, *second);
  EXPECT_TRUE(two.is(held[1].descriptor.get()));
  EXPECT_FALSE(one.is(held[1].descriptor.get()));
  EXPECT_NE(::fcntl(held[0].descriptor.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_P(KeeperContract, HoldsUntilItIsDropped) {
  auto keeper = connect();
  ASSERT_TRUE(keeper);
  Witness file;
  auto id = keeper->put("", file.descriptor());
  ASSERT_TRUE(id);
  file.close();
  EXPECT_FALSE(file.closed(kStays));
  ASSERT_TRUE(keeper->drop(*id));
  EXPECT_TRUE(file.closed(kSoon));
  EXPECT_TRUE(list(*keeper).empty());
}

TEST_P(KeeperContract, HoldsAfterTheSession) {
  auto keeper = connect();
  ASSERT_TRUE(keeper);
  Witness file;
  auto id = keeper->put("tag", file.descriptor());
  ASSERT_TRUE(id);
  keeper.reset();
  keeper = connect();
  ASSERT_TRUE(keeper);
  auto held = list(*keeper);
  ASSERT_EQ(held.size(), 1U);
  EXPECT_EQ(held[0].id, *id);
  EXPECT_EQ(held[0].tag, "tag");
  EXPECT_TRUE(file.is(held[0].descriptor.get()));
}

TEST_P(KeeperContract, TagsAreBytes) {
  auto keeper = connect();
  ASSERT_TRUE(keeper);
  Witness file;
  std::string all;
  for (int i = 0; i < 256; ++i)
    all.push_back(static_cast<char>(i));
  const std::string longest(Keeper::kMaxTag, 'x');
  auto id = keeper->put(all, file.descriptor());
  ASSERT_TRUE(id);
  for (const std::string& tag : {all, std::string(), longest, std::string("short again")}) {
    ASSERT_TRUE(keeper->retag(*id, tag));
    auto held = list(*keeper);
    ASSERT_EQ(held.size(), 1U);
    EXPECT_EQ(held[0].tag, tag);
    EXPECT_EQ(held[0].id, *id);
  }
}

TEST_P(KeeperContract, WrongArgumentsEndNothing) {
  auto keeper = connect();
  ASSERT_TRUE(keeper);
  Witness file;
  const std::string too_long(Keeper::kMaxTag + 1, 'x');
  auto id = keeper->put("tag", file.descriptor());
  ASSERT_TRUE(id);
  EXPECT_EQ(keeper->put(too_long, file.descriptor()).error().code, Code::kInvalidArgument);
  EXPECT_EQ(keeper->put("", -1).error().code, Code::kInvalidArgument);
  EXPECT_EQ(keeper->put("", 1'000'000).error().code, Code::kInvalidArgument);
  EXPECT_EQ(keeper->retag(*id, too_long).error().code, Code::kInvalidArgument);
  EXPECT_EQ(keeper->retag(*id + 1, "").error().code, Code::kNotFound);
  EXPECT_EQ(keeper->drop(*id + 1).error().code, Code::kNotFound);
  EXPECT_EQ(keeper->drop(0).error().code, Code::kNotFound);
  auto held = list(*keeper);
  ASSERT_EQ(held.size(), 1U);
  EXPECT_EQ(held[0].tag, "tag");
}

TEST_P(KeeperContract, HoldsAsManyAsItMay) {
  auto keeper = connect();
  ASSERT_TRUE(keeper);
  Witness file;
  std::set<Keeper::Id> ids;
  for (std::size_t i = 0; i < KeeperWorld::kMost; ++i) {
    auto id = keeper->put(std::to_string(i), file.descriptor());
    ASSERT_TRUE(id) << id.error().message;
    ids.insert(*id);
  }
  EXPECT_EQ(ids.size(), KeeperWorld::kMost);
  EXPECT_EQ(keeper->put("", file.descriptor()).error().code, Code::kResourceExhausted);
  // What is there can still be changed, and what goes makes room.
  EXPECT_TRUE(keeper->retag(*ids.rbegin(), "last"));
  ASSERT_TRUE(keeper->drop(*ids.begin()));
  auto more = keeper->put("more", file.descriptor());
  ASSERT_TRUE(more);
  EXPECT_GT(*more, *ids.rbegin()) << "an id was used twice";

  auto held = list(*keeper);
  ASSERT_EQ(held.size(), KeeperWorld::kMost);
  for (std::size_t i = 0; i + 2 < held.size(); ++i) {
    EXPECT_EQ(held[i].tag, std::to_string(i + 1));
    EXPECT_LT(held[i].id, held[i + 1].id);
  }
  EXPECT_EQ(held[held.size() - 2].tag, "last");
  EXPECT_EQ(held.back().tag, "more");
}

TEST_P(KeeperContract, IdsAreNotUsedAgain) {
  auto keeper = connect();
  ASSERT_TRUE(keeper);
  Witness file;
  Keeper::Id last = 0;
  for (int i = 0; i < 3; ++i) {
    auto id = keeper->put("", file.descriptor());
    ASSERT_TRUE(id);
    EXPECT_GT(*id, last);
    last = *id;
    ASSERT_TRUE(keeper->drop(*id));
    EXPECT_EQ(keeper->drop(*id).error().code, Code::kNotFound);
    keeper.reset();
    keeper = connect();
    ASSERT_TRUE(keeper);
  }
}

TEST_P(KeeperContract, OneAgentAtATime) {
  auto keeper = connect();
  ASSERT_TRUE(keeper);
  for (auto patience : {kNow, milliseconds(30)}) {
    auto other = world_->connect(patience);
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().code, Code::kFailedPrecondition);
    EXPECT_NE(other.error().message.find(std::to_string(::getpid())), std::string::npos)
        << other.error().message;
  }
  // It lost nothing by that.
  EXPECT_TRUE(keeper->list());
}

TEST_P(KeeperContract, WaitsForTheOtherAgentToEnd) {
  auto keeper = connect();
  ASSERT_TRUE(keeper);
  Witness file;
  ASSERT_TRUE(keeper->put("left", file.descriptor()));
  auto next = std::async(std::launch::async, [&] { return world_->connect(kSoon); });
  EXPECT_EQ(next.wait_for(kStays), std::future_status::timeout);
  keeper.reset();
  auto other = next.get();
  ASSERT_TRUE(other) << other.error().message;
  EXPECT_EQ(list(**other).size(), 1U);
}

TEST_P(KeeperContract, AnyThreadMayCall) {
  auto keeper = connect();
  ASSERT_TRUE(keeper);
  constexpr int kThreads = 4;
  constexpr int kEach = 25;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&keeper, t] {
      Witness file;
      for (int i = 0; i < kEach; ++i) {
        auto id = keeper->put("new", file.descriptor());
        ASSERT_TRUE(id);
        ASSERT_TRUE(keeper->retag(*id, std::to_string(t)));
        ASSERT_TRUE(keeper->list());
        if (i % 2 == 0) {
          ASSERT_TRUE(keeper->drop(*id));
        }
      }
    });
  }
  for (auto& thread : threads)
    thread.join();
  std::vector<int> by_thread(kThreads);
  for (const auto& one : list(*keeper))
    ++by_thread[static_cast<std::size_t>(std::stoi(one.tag))];
  EXPECT_EQ(by_thread, std::vector<int>(kThreads, kEach / 2));
}

TEST_P(KeeperContract, ADeadKeeperTakesOnlyItsOwn) {
  auto keeper = connect();
  ASSERT_TRUE(keeper);
  Witness kept;
  Witness ours;
  auto id = keeper->put("", kept.descriptor());
  ASSERT_TRUE(id);
  ASSERT_TRUE(keeper->put("", ours.descriptor()));
  kept.close();
  world_->die();
  EXPECT_TRUE(kept.closed(kSoon));
  EXPECT_FALSE(ours.closed(kStays));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(keeper->list().error().code, Code::kUnavailable);
    EXPECT_EQ(keeper->put("", ours.descriptor()).error().code, Code::kUnavailable);
    EXPECT_EQ(keeper->retag(*id, "").error().code, Code::kUnavailable);
    EXPECT_EQ(keeper->drop(*id).error().code, Code::kUnavailable);
  }
  EXPECT_EQ(world_->connect(kNow).error().code, Code::kUnavailable);
}

}  // namespace qmasq::test
