// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/sealed_calls.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "tests/support/fake_redirector.h"
#include "tests/unit/intercept/tenant.h"
#include "vbond/sealed/trampoline.h"
#include "vbond/uverbs/objects.h"

namespace qmasq::test {
namespace {

using namespace vbond;  // NOLINT: all of this is about the agent
using How = CallResult::How;
using qos::Resource;

const CallResult kAgain{How::kReturned, 0, FakeRedirector::kRestart};
const CallResult kRan{How::kRan, 0, 0};

CallResult failed(int err) {
  return {How::kReturned, 0, err};
}

class SealedCallsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0 || sealed::trampoline().empty())
      GTEST_SKIP() << "needs root: open_tree, mount_setattr; and x86-64";
    fd_ = bench_.open_device(tid_);
    ASSERT_GE(fd_, 0);
    auto memory = sealed::SealedMemory::create("/dev/shm");
    ASSERT_TRUE(memory);
    redirector_.file = (*memory)->identity();
    file_ = mmap(nullptr, sealed::kFileSize, PROT_READ, MAP_SHARED, (*memory)->readable(), 0);
    bench_.attachment->sealed = std::make_unique<SealedCalls>(
        std::move(*memory), SealedCalls::Tickets{}, redirector_, /*inherited=*/false);
    for (unsigned slot = 0; slot < sealed::kSlots; ++slot)
      bench_.kernel.map_at(tid_, sealed::tail_page(slot), std::vector<std::byte>(sealed::kPage));
  }
  void TearDown() override {
    if (file_ != nullptr) (void)munmap(file_, sealed::kFileSize);
  }

  // REG_MR from the program's memory.
  CallResult ask(pid_t tid, std::uint64_t length = 4096) {
    std::array<std::byte, uverbs::kRegMrSize> core_in{};
    uverbs::RegMr command;
    command.length = length;
    (void)uverbs::encode_reg_mr(command, core_in);
    auto call = TenantCall::write_form(uverbs::WriteCommand::kRegMr);
    call.in(uverbs::attr::kCoreIn, core_in).out(uverbs::attr::kCoreOut, 12);
    own_ = call.place(bench_.kernel, tid_);
    return make(tid, own_);
  }
  CallResult make(pid_t tid, std::uint64_t header) {
    // It waits in its call meanwhile, in the program's own code unless the test says otherwise.
    const bool added = redirector_.positions.try_emplace(tid, header, 0, 0x400000).second;
    const auto result =
        bench_.trap(tid, SYS_ioctl, {static_cast<std::uint64_t>(fd_), uverbs::kVerbsIoctl, header});
    if (added) redirector_.positions.erase(tid);
    return result;
  }
  // The thread is in the trampoline, as when it comes from there.
  void in_trampoline(pid_t tid) {
    std::array<std::byte, 8> own{};
    std::memcpy(own.data(), &own_, sizeof(own_));
    const std::uint64_t stack = bench_.kernel.map(tid_, own);
    redirector_.positions[tid] = {redirector_.sent_to, stack,
                                  sealed::kBase + sealed::trampoline_after()};
  }
  std::uint64_t used(Resource resource) {
    return bench_.attachment->tenancy->used()[static_cast<std::size_t>(resource)];
  }
  // What the kernel would read.
  uverbs::RegMr in_slot() {
    const auto* at = static_cast<const std::byte*>(file_) +
                     (sealed::slot_page(*sealed::slot_of(redirector_.sent_to)) - sealed::kBase);
    return uverbs::decode_reg_mr_write(std::span(at, uverbs::kRegMrSize)).value();
  }

  Bench bench_;
  const pid_t tid_ = bench_.process;
  FakeRedirector redirector_;
  int fd_ = -1;
  std::uint64_t own_ = 0;
  void* file_ = nullptr;
};

TEST_F(SealedCallsTest, ACallRunsFromItsSlot) {
  EXPECT_EQ(ask(tid_, 8192), kAgain);
  ASSERT_TRUE(sealed::slot_of(redirector_.sent_to));
  EXPECT_EQ(in_slot().length, 8192U);
  EXPECT_EQ(make(tid_, redirector_.sent_to), kRan);
  // It is counted once.
  EXPECT_EQ(
      bench_.world.metric("qmasq_vbond_verbs_total", {{"verb", "REG_MR"}, {"verdict", "passed"}}),
      1);
}

TEST_F(SealedCallsTest, NobodyElseRunsIt) {
  const pid_t other = bench_.kernel.add_thread(tid_);
  EXPECT_EQ(ask(tid_), kAgain);
  EXPECT_EQ(make(other, redirector_.sent_to), failed(EFAULT));
  EXPECT_EQ(make(tid_, redirector_.sent_to + 8), failed(EFAULT));
  // It has made another call since.
  EXPECT_EQ(make(tid_, redirector_.sent_to), failed(EFAULT));
}

TEST_F(SealedCallsTest, OnceOnly) {
  EXPECT_EQ(ask(tid_), kAgain);
  EXPECT_EQ(make(tid_, redirector_.sent_to), kRan);
  EXPECT_EQ(make(tid_, redirector_.sent_to), failed(EFAULT));
}

TEST_F(SealedCallsTest, WhatIsNotKnownStartsOver) {
  EXPECT_EQ(ask(tid_), kAgain);
  // As after a restart of the agent.
  bench_.attachment->sealed->landed(tid_);
  in_trampoline(tid_);
  EXPECT_EQ(make(tid_, redirector_.sent_to), kAgain);
  EXPECT_EQ(make(tid_, redirector_.sent_to), kRan);
}

TEST_F(SealedCallsTest, WhoIsOnItsWayBackToSleepIsWaitedFor) {
  EXPECT_EQ(ask(tid_), kAgain);
  bench_.attachment->sealed->landed(tid_);
  in_trampoline(tid_);
  redirector_.running = 3;
  EXPECT_EQ(make(tid_, redirector_.sent_to), kAgain);
}

TEST_F(SealedCallsTest, NotWhereTheMappingIsAnother) {
  using Mapped = Redirector::Mapped;
  const std::function<void(Mapped&)> changes[] = {
      [](Mapped& each) { each.write = true; },
      [](Mapped& each) { each.shared = false; },
      [](Mapped& each) { each.offset += sealed::kPage; },
      [](Mapped& each) { each.inode += 1; },
      [](Mapped& each) { each.device += 1; },
      [](Mapped& each) { each.end -= sealed::kPage / 2; },
      [](Mapped& each) { each.read = false; },
  };
  for (const auto& change : changes) {
    redirector_.change_mapping = change;
    EXPECT_EQ(ask(tid_), kAgain);
    EXPECT_EQ(make(tid_, redirector_.sent_to), failed(EPERM));
  }
  redirector_.change_mapping = [](Mapped&) {};
  EXPECT_EQ(ask(tid_), kAgain);
  EXPECT_EQ(make(tid_, redirector_.sent_to), kRan);
}

TEST_F(SealedCallsTest, NotOnAnotherDevice) {
  const int other = bench_.open_device(tid_);
  ASSERT_GE(other, 0);
  EXPECT_EQ(ask(tid_), kAgain);
  fd_ = other;
  EXPECT_EQ(make(tid_, redirector_.sent_to), failed(EPERM));
}

TEST_F(SealedCallsTest, IsMappedWhenADeviceIsOpened) {
  redirector_.mapped = false;
  EXPECT_EQ(bench_.open_at(tid_, "/dev/infiniband/uverbs0", O_RDWR), kAgain);
  ASSERT_EQ(redirector_.mappings.size(), sealed::kRanges);
  // The code last: where that is, all is.
  EXPECT_EQ(redirector_.mappings.back().address, sealed::kBase);
  EXPECT_TRUE(redirector_.mappings.back().execute);
  EXPECT_GE(bench_.open_device(tid_), 0);
}

TEST_F(SealedCallsTest, NotWhereAHeapCouldTakeItAway) {
  redirector_.mapped = false;
  redirector_.heap_at = sealed::kBase;
  EXPECT_EQ(bench_.open_at(tid_, "/dev/infiniband/uverbs0", O_RDWR), failed(EPERM));
}

TEST_F(SealedCallsTest, WhoIsTracedGetsNothing) {
  redirector_.traced = true;
  EXPECT_EQ(ask(tid_), failed(EBUSY));
  EXPECT_EQ(used(Resource::kMemoryRegions), 0U);
}

TEST_F(SealedCallsTest, AQuotaIsChargedOnceAndGivenBack) {
  qos::Policy policy;
  policy.id = "gold";
  policy.quotas.limits[static_cast<std::size_t>(Resource::kMemoryRegions)] = 1;
  bench_.world.set_policies(policy);
  const std::uint64_t file = bench_.kernel.file_of(tid_, fd_);
  EXPECT_EQ(ask(tid_), kAgain);
  EXPECT_EQ(used(Resource::kMemoryRegions), 1U);
  EXPECT_EQ(make(tid_, redirector_.sent_to), kRan);
  EXPECT_EQ(used(Resource::kMemoryRegions), 1U);
  const std::uint32_t handle = bench_.kernel.nic.register_mr(file, {4096, 0});
  const pid_t other = bench_.kernel.add_thread(tid_);
  EXPECT_EQ(ask(other), failed(EDQUOT));
  TenantCall deregister(uverbs::Object::kMr, 1);
  deregister.handle(uverbs::attr::kDestroyHandle, handle);
  EXPECT_EQ(bench_.verb(tid_, fd_, deregister).err, 0);
  EXPECT_EQ(used(Resource::kMemoryRegions), 0U);
  // Sent, and refused when it comes.
  EXPECT_EQ(ask(tid_), kAgain);
  redirector_.change_mapping = [](Redirector::Mapped& each) { each.write = true; };
  EXPECT_EQ(make(tid_, redirector_.sent_to), failed(EPERM));
  EXPECT_EQ(used(Resource::kMemoryRegions), 0U);
}

TEST_F(SealedCallsTest, ACallThatIsMadeAgainIsPaidForOnce) {
  qos::Policy policy;
  policy.verb_rates.rates[static_cast<std::size_t>(qos::VerbKind::kVerbs)] = qos::VerbRate{1, 1};
  bench_.world.set_policies(policy);
  // As after exec: mapped first, then sent.
  redirector_.mapped = false;
  EXPECT_EQ(ask(tid_), kAgain);
  EXPECT_FALSE(redirector_.mappings.empty());
  EXPECT_EQ(make(tid_, own_), kAgain);
  EXPECT_EQ(make(tid_, redirector_.sent_to), kRan);
  EXPECT_EQ(ask(tid_), failed(EAGAIN));
}

TEST_F(SealedCallsTest, ASlotIsItsCallsUntilThatIsOver) {
  std::vector<pid_t> threads;
  for (unsigned i = 0; i < sealed::kSlots; ++i) {
    threads.push_back(bench_.kernel.add_thread(tid_));
    EXPECT_EQ(ask(threads.back()), kAgain);
    EXPECT_EQ(make(threads.back(), redirector_.sent_to), kRan);
  }
  const std::uint64_t last = redirector_.sent_to;
  // All run. One of them waits in another call now: it has come back.
  redirector_.positions[threads[3]] = {0x7000, 0, 0};
  EXPECT_EQ(ask(tid_), kAgain);
  EXPECT_NE(redirector_.sent_to, last);
  EXPECT_EQ(make(tid_, redirector_.sent_to), kRan);
  // The other way to know: it makes one.
  EXPECT_EQ(ask(threads[0]), kAgain);
}

}  // namespace
}  // namespace qmasq::test
