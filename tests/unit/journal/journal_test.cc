// SPDX-License-Identifier: Apache-2.0
#include "vbond/journal/journal.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temp_dir.h"
#include "vbond/journal/record.h"

namespace qmasq::vbond {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

JournaledConnection connection(std::uint64_t context, std::uint32_t handle,
                               const std::string& peer = "vpcs/blue/endpoints/b") {
  JournaledConnection out;
  out.key = {context, handle};
  out.type = uverbs::QpType::kRc;
  out.qpn = Qpn{17};
  out.asked_access = 7;
  out.since = std::chrono::system_clock::time_point(std::chrono::seconds(1'700'000'000));
  JournaledConnection::Leg leg;
  leg.path.virt.local = Gid::from_ip(parse_ip("10.0.0.1").value());
  leg.path.virt.remote = Gid::from_ip(parse_ip("10.0.0.2").value());
  leg.path.phys.remote = Gid::from_ip(parse_ip("192.0.2.2").value());
  leg.path.phys.flow_label = 0x4711;
  leg.path.peer = EndpointUid{12};
  leg.path.peer_host = HostUid{2};
  leg.path.peer_name = peer;
  leg.path.peer_host_name = "hosts/hostB";
  leg.peer_qpn = Qpn{99};
  leg.asked_access = 7;
  out.next = leg;
  return out;
}

class JournalTest : public ::testing::Test {
 protected:
  [[nodiscard]] Journal::Opened open(UniqueFd memory = {}) {
    auto out = Journal::open(directory_.path(), std::move(memory));
    EXPECT_TRUE(out.has_value());
    return std::move(*out);
  }
  // As the keeper would hold it.
  static UniqueFd memory_of(const Journal& journal) {
    return UniqueFd(::fcntl(journal.descriptor(), F_DUPFD_CLOEXEC, 0));
  }
  [[nodiscard]] std::string file() const { return directory_.file("journal.db"); }
  // A journal with two connections in the file and nothing in memory.
  void write_two() {
    auto opened = open();
    opened.journal->put(connection(1, 1));
    opened.journal->put(connection(1, 2));
    ASSERT_TRUE(opened.journal->flush(milliseconds(5000)));
  }

  testing::TempDir directory_;
};

TEST_F(JournalTest, ARecordIsTheSameWhenItIsRead) {
  const JournaledConnection before = connection(3, 4);
  auto after = decode_record(before.key, encode_record(before));
  ASSERT_TRUE(after.has_value());
  EXPECT_EQ(after->type, before.type);
  EXPECT_EQ(after->qpn, before.qpn);
  EXPECT_EQ(after->since, before.since);
  EXPECT_FALSE(after->now.has_value());
  ASSERT_TRUE(after->next.has_value());
  EXPECT_EQ(after->next->path.virt, before.next->path.virt);
  EXPECT_EQ(after->next->path.phys, before.next->path.phys);
  EXPECT_EQ(after->next->path.peer, before.next->path.peer);
  EXPECT_EQ(after->next->path.peer_name, before.next->path.peer_name);
  EXPECT_EQ(after->next->peer_qpn, before.next->peer_qpn);
  const std::string bytes = encode_record(before);
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(decode_record(before.key, bytes.substr(0, size)).has_value()) << size;
}

TEST_F(JournalTest, TheFileTellsTheNextAgent) {
  write_two();
  auto again = open();
  EXPECT_THAT(again.complaints, IsEmpty());
  EXPECT_EQ(again.connections[1].size(), 2U);
  again.journal->remove({1, 1});
  ASSERT_TRUE(again.journal->flush(milliseconds(5000)));
  again = {};
  EXPECT_EQ(open().connections[1].size(), 1U);
}

// Killed between put() and the disk: the memory has it.
TEST_F(JournalTest, NothingThatWasPutIsLostByKill) {
  int ends[2] = {};
  ASSERT_EQ(pipe(ends), 0);
  auto opened = open();
  UniqueFd memory = memory_of(*opened.journal);
  opened.journal->put(connection(7, 1));
  ASSERT_TRUE(opened.journal->flush(milliseconds(5000)));
  // What the process after the kill finds: the file as it was, the ring with one more.
  auto log = MemoryLog::adopt(UniqueFd(::fcntl(memory.get(), F_DUPFD_CLOEXEC, 0)));
  ASSERT_TRUE(log.has_value());
  ASSERT_TRUE((*log)->append({7, 2}, encode_record(connection(7, 2))));
  ASSERT_TRUE((*log)->append({7, 1}, {}));
  opened = {};
  auto again = open(std::move(memory));
  EXPECT_FALSE(again.fresh_memory);
  ASSERT_EQ(again.connections[7].size(), 1U);
  EXPECT_EQ(again.connections[7][0].key.handle, 2U);
}

TEST_F(JournalTest, ADamagedFileIsSetAsideAndBegunAnew) {
  for (std::uintmax_t keep : {std::uintmax_t{100}, std::uintmax_t{4096}, std::uintmax_t{6000}}) {
    std::filesystem::remove(file());
    write_two();
    std::filesystem::resize_file(file(), keep);
    auto again = open();
    ASSERT_FALSE(again.complaints.empty()) << keep;
    EXPECT_THAT(again.complaints[0], HasSubstr("set aside"));
    EXPECT_THAT(again.connections, IsEmpty());
    EXPECT_TRUE(std::filesystem::exists(file() + ".set-aside"));
    again.journal->put(connection(2, 1));
    EXPECT_TRUE(again.journal->flush(milliseconds(5000)));
  }
}

TEST_F(JournalTest, GarbageIsSetAside) {
  std::ofstream(file()) << std::string(20'000, 'x');
  auto again = open();
  ASSERT_EQ(again.complaints.size(), 1U);
  EXPECT_THAT(again.complaints[0], HasSubstr("set aside"));
  again.journal->put(connection(2, 1));
  EXPECT_TRUE(again.journal->flush(milliseconds(5000)));
}

TEST_F(JournalTest, ANewerVersionIsSetAsideNotTouched) {
  write_two();
  sqlite3* handle = nullptr;
  ASSERT_EQ(sqlite3_open(file().c_str(), &handle), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(handle, "PRAGMA user_version = 99", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(handle);
  auto again = open();
  ASSERT_EQ(again.complaints.size(), 1U);
  EXPECT_THAT(again.complaints[0], HasSubstr("version 99"));
  EXPECT_THAT(again.connections, IsEmpty());
}

TEST_F(JournalTest, RowsOfAnotherBootAndUnreadableOnesAreDropped) {
  write_two();
  sqlite3* handle = nullptr;
  ASSERT_EQ(sqlite3_open(file().c_str(), &handle), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(handle, "UPDATE connections SET record = x'ff00' WHERE handle = 1",
                         nullptr, nullptr, nullptr),
            SQLITE_OK);
  auto again = open();
  EXPECT_THAT(again.complaints, ElementsAre(HasSubstr("1 entries")));
  EXPECT_EQ(again.connections[1].size(), 1U);
  again = {};
  ASSERT_EQ(sqlite3_exec(handle, "UPDATE boot SET id = 'another'", nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(handle);
  EXPECT_THAT(open().connections, IsEmpty());
}

// A file system of 64 KiB: full after some rows.
TEST_F(JournalTest, AFullDiskStopsNobodyAndIsCaughtUpWith) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root: mounts a small file system";
  if (::mount("none", directory_.path().c_str(), "tmpfs", 0, "size=96k") != 0)
    GTEST_SKIP() << "cannot mount here";
  {
    auto opened = open();
    UniqueFd memory = memory_of(*opened.journal);
    for (std::uint32_t i = 0; i < 2000; ++i)
      opened.journal->put(connection(1, i));
    EXPECT_FALSE(opened.journal->flush(milliseconds(1500)));
    auto health = opened.journal->health();
    EXPECT_THAT(health.error, HasSubstr("full"));
    EXPECT_EQ(health.lost, 0U) << "all of it is in memory";
    opened = {};
    // The next agent finds it in memory.
    auto again = open(std::move(memory));
    EXPECT_EQ(again.connections[1].size(), 2000U);
    ASSERT_EQ(::mount("none", directory_.path().c_str(), "tmpfs", MS_REMOUNT, "size=16m"), 0);
    EXPECT_TRUE(again.journal->flush(milliseconds(10'000)));
    EXPECT_THAT(again.journal->health().error, IsEmpty());
  }
  EXPECT_EQ(::umount2(directory_.path().c_str(), MNT_DETACH), 0);
}

TEST_F(JournalTest, ADirectoryThatCannotBeWrittenIsSaid) {
  auto opened = Journal::open("/proc/no/such/place", {});
  ASSERT_TRUE(opened.has_value());
  ASSERT_EQ(opened->complaints.size(), 1U);
  opened->journal->put(connection(1, 1));
  EXPECT_FALSE(opened->journal->flush(milliseconds(200)));
  EXPECT_THAT(opened->journal->health().error, HasSubstr("/proc/no/such/place"));
}

TEST_F(JournalTest, TheRingSaysWhenItHadNoRoom) {
  auto log = MemoryLog::create().value();
  const std::string record(1000, 'r');
  std::uint32_t fitted = 0;
  while (log->append({1, fitted}, record))
    ++fitted;
  EXPECT_GT(fitted, 3000U);
  EXPECT_TRUE(log->lost());
  std::uint32_t read = 0;
  EXPECT_TRUE(log->replay([&](QpKey key, std::string_view bytes) {
    EXPECT_EQ(key.handle, read++);
    EXPECT_EQ(bytes.size(), record.size());
  }));
  EXPECT_EQ(read, fitted);
  // Around its end, many times.
  log->trim(log->position());
  for (std::uint32_t i = 0; i < 20'000; ++i) {
    ASSERT_TRUE(log->append({2, i}, std::string(i % 700, 'x')));
    if (i % 100 == 99) {
      std::uint32_t next = i - 99;
      ASSERT_TRUE(log->replay([&](QpKey key, std::string_view bytes) {
        EXPECT_EQ(key.handle, next);
        EXPECT_EQ(bytes.size(), next++ % 700);
      }));
      ASSERT_EQ(next, i + 1);
      log->trim(log->position());
    }
  }
}

}  // namespace
}  // namespace qmasq::vbond
