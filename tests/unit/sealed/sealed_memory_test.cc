// SPDX-License-Identifier: Apache-2.0
#include "vbond/sealed/sealed_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "vbond/sealed/trampoline.h"

namespace qmasq::vbond::sealed {
namespace {

class Memory : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: open_tree, mount_setattr";
    if (trampoline().empty()) GTEST_SKIP() << "not on this architecture";
    memory_ = SealedMemory::create("/dev/shm").value();
  }
  std::unique_ptr<SealedMemory> memory_;
};

TEST_F(Memory, NobodyWritesByTheReadableDescriptor) {
  const int fd = memory_->readable();
  const std::string again = "/proc/self/fd/" + std::to_string(fd);
  EXPECT_EQ(open(again.c_str(), O_RDWR), -1);
  EXPECT_EQ(errno, EROFS);
  EXPECT_EQ(open(again.c_str(), O_WRONLY | O_TRUNC), -1);
  EXPECT_EQ(truncate(again.c_str(), 0), -1);
  EXPECT_EQ(fchmod(fd, 0777), -1);
  EXPECT_EQ(ftruncate(fd, 0), -1);
  EXPECT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
  EXPECT_EQ(mmap(nullptr, kPage, PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
  void* mapped = mmap(nullptr, kPage, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  EXPECT_EQ(mprotect(mapped, kPage, PROT_READ | PROT_WRITE), -1);
  EXPECT_EQ(madvise(mapped, kPage, MADV_REMOVE), -1);
  const int self = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  EXPECT_EQ(pwrite(self, "x", 1, static_cast<off_t>(reinterpret_cast<std::uintptr_t>(mapped))), -1);
  close(self);
  EXPECT_EQ(std::memcmp(mapped, trampoline().data(), trampoline().size()), 0);
  (void)munmap(mapped, kPage);
}

TEST_F(Memory, IsTheNextAgentsAsItWasLeft) {
  UniqueFd writable(fcntl(memory_->writable(), F_DUPFD_CLOEXEC, 0));
  UniqueFd readable(fcntl(memory_->readable(), F_DUPFD_CLOEXEC, 0));
  const auto identity = memory_->identity();
  EXPECT_EQ(memory_->note(3).tid, 0);
  memory_->note(3, {17, 0x1234});
  memory_.reset();
  auto again = SealedMemory::adopt(std::move(writable), std::move(readable));
  ASSERT_TRUE(again);
  EXPECT_EQ((*again)->identity().inode, identity.inode);
  EXPECT_EQ((*again)->note(3).tid, 17);
  EXPECT_EQ((*again)->note(3).header, 0x1234U);
  EXPECT_EQ((*again)->note(2).tid, 0);
}

TEST_F(Memory, IsNotTakenForWhatItIsNot) {
  UniqueFd other(open("/dev/null", O_RDWR | O_CLOEXEC));
  UniqueFd writable(fcntl(memory_->writable(), F_DUPFD_CLOEXEC, 0));
  EXPECT_FALSE(SealedMemory::adopt(std::move(writable), std::move(other)));
  // Of another version: its code is not ours.
  ASSERT_EQ(pwrite(memory_->writable(), "x", 1, 0), 1);
  EXPECT_FALSE(SealedMemory::adopt(UniqueFd(fcntl(memory_->writable(), F_DUPFD_CLOEXEC, 0)),
                                   UniqueFd(fcntl(memory_->readable(), F_DUPFD_CLOEXEC, 0))));
}

TEST_F(Memory, IsMadeOnATmpfsAlone) {
  auto made = SealedMemory::create("/proc/self");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::kUnsupported);
}

}  // namespace
}  // namespace qmasq::vbond::sealed
