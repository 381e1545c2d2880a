// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

#include "tests/integration/keeper/service_manager.h"
#include "tests/support/eventually.h"
#include "tests/support/keeper_contract.h"
#include "tests/support/keeper_process.h"
#include "vbond/keeper/keeper.h"

// One keeper process after another under a service manager that has a descriptor store.
namespace qmasq::test {
namespace {

using std::chrono::milliseconds;
using vbond::Keeper;
using Names = std::vector<std::string>;

constexpr milliseconds kSoon{10'000};

class KeeperHandover : public ::testing::Test {
 protected:
  // `read_notes`: the service manager knew what the last process told it.
  void start(bool read_notes = true) {
    if (read_notes) manager_.pump();
    ASSERT_TRUE(process_.start({}, manager_.passes()));
    ASSERT_TRUE(eventually([&] {
      manager_.pump();
      return manager_.ready();
    }));
    session_.reset();
    auto session = vbond::connect_keeper(process_.socket(), kSoon);
    ASSERT_TRUE(session) << session.error().message;
    session_ = std::move(*session);
  }
  std::vector<Keeper::Held> list() {
    auto held = session_->list();
    EXPECT_TRUE(held);
    return held ? std::move(*held) : std::vector<Keeper::Held>{};
  }
  Names stored() {
    manager_.pump();
    return manager_.names();
  }

  FakeServiceManager manager_;
  KeeperProcess process_{QMASQ_KEEPER};
  std::unique_ptr<Keeper> session_;
};

TEST_F(KeeperHandover, NothingIsLostHoweverItEnds) {
  start();
  Witness one;
  Witness two;
  Witness gone;
  auto first = session_->put("one", one.descriptor());
  auto dropped = session_->put("gone", gone.descriptor());
  auto second = session_->put("two", two.descriptor());
  ASSERT_TRUE(first && dropped && second);
  ASSERT_TRUE(session_->retag(*first, "one, later"));
  ASSERT_TRUE(session_->drop(*dropped));
  gone.close();
  EXPECT_EQ(stored(), (Names{"1", "3", "tag-table"}));
  EXPECT_TRUE(gone.closed(kSoon)) << "the service manager has it still";

  Keeper::Id last = *second;
  for (int signal : {SIGTERM, SIGKILL, SIGKILL}) {
    EXPECT_EQ(process_.end(signal), signal == SIGTERM ? 0 : 128 + signal);
    EXPECT_EQ(session_->list().error().code, Code::kUnavailable);
    start();
    auto held = list();
    ASSERT_EQ(held.size(), 2U);
    EXPECT_EQ(held[0].id, *first);
    EXPECT_EQ(held[0].tag, "one, later");
    EXPECT_TRUE(one.is(held[0].descriptor.get()));
    EXPECT_EQ(held[1].id, *second);
    EXPECT_EQ(held[1].tag, "two");
    EXPECT_TRUE(two.is(held[1].descriptor.get()));
    // Numbers go on where they were.
    Witness more;
    auto next = session_->put("more", more.descriptor());
    ASSERT_TRUE(next);
    EXPECT_GT(*next, last);
    last = *next;
    ASSERT_TRUE(session_->drop(*next));
  }
}

TEST_F(KeeperHandover, WhatIsDroppedLaterIsDroppedEverywhere) {
  start();
  Witness file;
  auto id = session_->put("", file.descriptor());
  ASSERT_TRUE(id);
  file.close();
  process_.end(SIGKILL);
  start();
  EXPECT_FALSE(file.closed(milliseconds(50)));
  ASSERT_TRUE(session_->drop(*id));
  EXPECT_EQ(stored(), (Names{"tag-table"}));
  EXPECT_TRUE(file.closed(kSoon));
}

// Died after a tag was written and before its descriptor was stored: put() was not answered.
TEST_F(KeeperHandover, ATagWithoutADescriptorIsNothing) {
  start();
  Witness file;
  ASSERT_TRUE(session_->put("half", file.descriptor()));
  Witness other;
  ASSERT_TRUE(session_->put("whole", other.descriptor()));
  process_.end(SIGKILL);
  manager_.pump();
  manager_.forget("1");
  start();
  auto held = list();
  ASSERT_EQ(held.size(), 1U);
  EXPECT_EQ(held[0].tag, "whole");
  auto next = session_->put("next", file.descriptor());
  ASSERT_TRUE(next);
  EXPECT_EQ(*next, 3U);
}

// Died after a tag was taken away and before the store was told.
TEST_F(KeeperHandover, ADescriptorWithoutATagWasDropped) {
  start();
  Witness file;
  ASSERT_TRUE(session_->put("", file.descriptor()));
  Witness other;
  ASSERT_TRUE(session_->put("", other.descriptor()));
  manager_.pump();
  ASSERT_TRUE(session_->drop(1));
  // The note on that is on its way, and is not read before the next process starts.
  process_.end(SIGKILL);
  file.close();
  EXPECT_EQ(manager_.names(), (Names{"1", "2", "tag-table"}));
  start(false);
  EXPECT_EQ(list().size(), 1U);
  EXPECT_EQ(stored(), (Names{"2", "tag-table"}));
  EXPECT_TRUE(file.closed(kSoon));
}

// What cannot be read is not thrown away: only drop() gives up what is held.
TEST_F(KeeperHandover, LostTagsDoNotLoseDescriptors) {
  start();
  Witness file;
  auto id = session_->put("lost", file.descriptor());
  ASSERT_TRUE(id);
  ASSERT_EQ(process_.end(SIGKILL), 128 + SIGKILL);
  manager_.pump();
  const std::uint64_t other_format = 1;
  ASSERT_EQ(::pwrite(manager_.descriptor("tag-table"), &other_format, sizeof(other_format), 0),
            ssize_t{sizeof(other_format)});
  for (int round = 0; round < 2; ++round) {
    start();
    auto held = list();
    ASSERT_EQ(held.size(), 1U);
    EXPECT_EQ(held[0].id, *id);
    EXPECT_EQ(held[0].tag, "");
    EXPECT_TRUE(file.is(held[0].descriptor.get()));
    Witness more;
    auto next = session_->put("", more.descriptor());
    ASSERT_TRUE(next);
    EXPECT_GT(*next, *id);
    ASSERT_TRUE(session_->drop(*next));
    EXPECT_EQ(stored(), (Names{"1", "tag-table"}));
    process_.end(SIGKILL);
  }
  EXPECT_NE(process_.log().find("the tags of 1 descriptors are lost"), std::string::npos);
}

// A service manager that does not read for a while holds nothing up and gets all in the end.
TEST_F(KeeperHandover, ASlowServiceManager) {
  start();
  std::vector<Witness> files(300);
  std::vector<Keeper::Id> ids;
  for (std::size_t i = 0; i < files.size(); ++i) {
    auto id = session_->put(std::to_string(i), files[i].descriptor());
    ASSERT_TRUE(id);
    ids.push_back(*id);
  }
  for (std::size_t i = 0; i < files.size(); i += 2)
    ASSERT_TRUE(session_->drop(ids[i]));
  ASSERT_TRUE(eventually([&] { return stored().size() == files.size() / 2 + 1; }))
      << stored().size();
  process_.end(SIGKILL);
  start();
  auto held = list();
  ASSERT_EQ(held.size(), files.size() / 2);
  for (std::size_t i = 0; i < held.size(); ++i) {
    EXPECT_EQ(held[i].tag, std::to_string(2 * i + 1));
    EXPECT_TRUE(files[2 * i + 1].is(held[i].descriptor.get()));
  }
}

TEST_F(KeeperHandover, StatusTellsWhoIsThere) {
  start();
  manager_.pump();
  EXPECT_EQ(manager_.status(), "serves agent " + std::to_string(::getpid()));
  session_.reset();
  EXPECT_TRUE(eventually([&] {
    manager_.pump();
    return manager_.status() == "0 descriptors, no agent";
  })) << manager_.status();
}

}  // namespace
}  // namespace qmasq::test
