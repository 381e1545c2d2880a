// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "controller/store/sqlite/connection.h"
#include "controller/store/sqlite/sqlite_store.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/controller/failing_vfs.h"
#include "tests/unit/controller/store_support.h"

namespace qmasq::controller {
namespace {

using qmasq::testing::FailingVfs;
using testing::add_vpc;
using testing::dump;
using ::testing::HasSubstr;

class StoreFaultTest : public ::testing::Test {
 protected:
  Result<std::unique_ptr<Store>> open(const std::string& vfs = "") {
    sqlite::Options options;
    options.data_dir = dir_.path();
    options.vfs = vfs;
    options.busy_timeout = std::chrono::milliseconds(20);
    return sqlite::open_store(options, clock_);
  }
  // A change of several tables at once, big enough to touch several pages.
  static Status add(Store& store, int number) {
    return store.write([&](WriteView& view) -> Status {
      QMASQ_ASSIGN(auto vpc,
                   add_vpc(view, fmt::format("v{}", number), static_cast<unsigned>(number) + 1));
      QMASQ_ASSIGN(auto host, testing::add_host(view, fmt::format("h{}", number)));
      for (int i = 0; i < 8; ++i) {
        QMASQ_TRY(testing::add_endpoint(view, vpc, host, fmt::format("e{}", i),
                                        {fmt::format("10.0.0.{}", i + 1)}));
      }
      return {};
    });
  }

  qmasq::testing::TempDir dir_;
  qmasq::testing::ManualClock clock_;
};

struct FaultCase {
  FailingVfs::Fault fault;
  Code code;
  const char* text;
};

// The fault comes at every single write and sync of a change: before, in the middle, at the last.
TEST_F(StoreFaultTest, AFaultAtAnyWriteLeavesAllOrNothing) {
  FailingVfs vfs;
  for (const auto& c :
       {FaultCase{FailingVfs::Fault::kFull, Code::kResourceExhausted, "disk is full"},
        FaultCase{FailingVfs::Fault::kIoError, Code::kInternal, "failed"},
        FaultCase{FailingVfs::Fault::kReadOnly, Code::kFailedPrecondition, "cannot be written"}}) {
    qmasq::testing::TempDir dir;
    auto opened = sqlite::open_store({dir.path(), vfs.name()}, clock_);
    ASSERT_TRUE(opened) << opened.error().message;
    auto store = std::move(*opened);
    int number = 0;
    int reached = 0;
    for (int writes = 0;; ++writes) {
      std::string before = dump(*store);
      vfs.fail_after(writes, c.fault);
      auto status = add(*store, number);
      bool refused = vfs.refused() > 0;
      std::string during = dump(*store);
      vfs.heal();
      if (status) {
        ++number;
        EXPECT_NE(during, before);
        if (!refused) break;
        continue;
      }
      ++reached;
      EXPECT_EQ(status.error().code, c.code) << status.error().message;
      EXPECT_THAT(status.error().message, HasSubstr(c.text));
      EXPECT_THAT(status.error().message, HasSubstr("nothing was changed"));
      EXPECT_EQ(during, before) << "reads went on, and saw nothing of it";
      ASSERT_LT(writes, 500);
    }
    EXPECT_GT(reached, 3) << "the fault was hardly ever met";
    std::string last = dump(*store);
    ASSERT_TRUE(add(*store, 1000)) << "the store works again";
    std::string healed = dump(*store);
    EXPECT_NE(healed, last);
    store.reset();
    auto again = sqlite::open_store({dir.path(), vfs.name()}, clock_);
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(dump(**again), healed);
  }
}

TEST_F(StoreFaultTest, AFaultWhileOpeningIsNamedAndLeavesAFileThatOpensLater) {
  FailingVfs vfs;
  int reached = 0;
  for (int writes = 0;; ++writes) {
    qmasq::testing::TempDir dir;
    vfs.fail_after(writes, FailingVfs::Fault::kFull);
    auto store = sqlite::open_store({dir.path(), vfs.name()}, clock_);
    bool refused = vfs.refused() > 0;
    if (!store) {
      ++reached;
      EXPECT_EQ(store.error().code, Code::kResourceExhausted) << store.error().message;
      EXPECT_THAT(store.error().message, HasSubstr(dir.path()));
    }
    if (store) store->reset();
    vfs.heal();
    auto again = sqlite::open_store({dir.path(), vfs.name()}, clock_);
    ASSERT_TRUE(again) << again.error().message;
    ASSERT_TRUE(add(**again, 1));
    if (!refused) break;
    ASSERT_LT(writes, 500);
  }
  EXPECT_GT(reached, 3);
}

TEST_F(StoreFaultTest, ASecondProcessIsToldWhoUsesTheDirectory) {
  auto first = open();
  ASSERT_TRUE(first);
  auto second = open();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kFailedPrecondition);
  EXPECT_THAT(second.error().message, HasSubstr("another qmasq-controller uses " + dir_.path()));
  EXPECT_THAT(second.error().message, HasSubstr(std::to_string(::getpid())));
  first->reset();
  EXPECT_TRUE(open());
}

TEST_F(StoreFaultTest, ALockOfAnotherProgramIsSaid) {
  auto store = open();
  ASSERT_TRUE(store);
  auto other = sqlite::Connection::open(dir_.file("qmasq.db"), sqlite::Connection::Mode::kReadWrite,
                                        "", std::chrono::milliseconds(20));
  ASSERT_TRUE((*other)->exec("BEGIN IMMEDIATE"));
  auto status = add(**store, 1);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kUnavailable);
  EXPECT_THAT(status.error().message, HasSubstr("another process has locked it"));
  EXPECT_NE(dump(**store), "");
  (*other)->rollback();
  EXPECT_TRUE(add(**store, 1));
}

TEST_F(StoreFaultTest, ADamagedFileIsRefusedAtStart) {
  {
    auto store = open();
    for (int i = 0; i < 20; ++i)
      ASSERT_TRUE(add(**store, i));
  }
  std::string path = dir_.file("qmasq.db");
  auto size = std::filesystem::file_size(path);
  ASSERT_GT(size, 20'000U);
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(8192);
    file << std::string(8192, '\x5a');
  }
  auto store = open();
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Code::kInternal);
  EXPECT_THAT(store.error().message, HasSubstr("damaged"));
  EXPECT_THAT(store.error().message, HasSubstr(path));
}

TEST_F(StoreFaultTest, ADirectoryThatCannotBeIsNamed) {
  auto store = sqlite::open_store({dir_.file("no/such"), {}}, clock_);
  ASSERT_FALSE(store);
  EXPECT_THAT(store.error().message, HasSubstr(dir_.file("no/such")));
  std::ofstream(dir_.file("plain")) << "x";
  store = sqlite::open_store({dir_.file("plain"), {}}, clock_);
  ASSERT_FALSE(store);
  EXPECT_THAT(store.error().message, HasSubstr(dir_.file("plain")));
}

TEST_F(StoreFaultTest, AReadOnlyFileIsRefusedAtStart) {
  FailingVfs vfs;
  { ASSERT_TRUE(open(vfs.name())); }
  vfs.set_read_only_files(true);
  auto store = open(vfs.name());
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Code::kFailedPrecondition);
  EXPECT_THAT(store.error().message, HasSubstr(dir_.file("qmasq.db")));
  EXPECT_THAT(store.error().message, HasSubstr("cannot be written"));
  vfs.set_read_only_files(false);
  EXPECT_TRUE(open(vfs.name()));
}

}  // namespace
}  // namespace qmasq::controller
