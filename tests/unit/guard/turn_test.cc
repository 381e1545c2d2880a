// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <utility>

#include "tests/support/fake_guard.h"
#include "tests/unit/intercept/tenant.h"
#include "vbond/uverbs/abi.h"
#include "vbond/uverbs/objects.h"

namespace qmasq::test {
namespace {

using namespace vbond::uverbs;  // NOLINT: verbs are what this is about
using How = CallResult::How;
using std::chrono::milliseconds;

class Turns : public ::testing::Test {
 protected:
  static vbond::InterceptOptions options() {
    vbond::InterceptOptions out;
    out.turn = milliseconds(150);
    out.permit = milliseconds(60);
    return out;
  }
  void SetUp() override {
    bench_.services.parts.guard = &guard_;
    fd_ = bench_.open_device(bench_.process);
    ASSERT_GE(fd_, 0);
    slot_ = guard_.only();
    ASSERT_NE(slot_, 0U);
  }
  static TenantCall reg_mr() {
    std::array<std::byte, kRegMrSize> in{};
    RegMr command;
    command.length = 4096;
    (void)encode_reg_mr(command, in);
    auto call = TenantCall::write_form(WriteCommand::kRegMr);
    call.in(attr::kCoreIn, in).out(attr::kCoreOut, 12);
    return call;
  }
  static TenantCall query_gid() {
    TenantCall verb(Object::kDevice, kMethodQueryGidEntry);
    verb.number(attr::kGidEntryPort, 1)
        .number(attr::kGidEntryIndex, 1)
        .number(attr::kGidEntryFlags, 0, 4)
        .out(attr::kGidEntryResp, kGidEntrySize);
    return verb;
  }
  CallResult verb(pid_t tid, TenantCall&& call) { return bench_.verb(tid, fd_, call); }

  FakeGuard guard_;
  Bench bench_{options()};
  int fd_ = -1;
  vbond::Guard::Slot slot_ = 0;
};

TEST_F(Turns, WhatIsLetRunIsPermittedExactly) {
  auto call = reg_mr();
  const std::uint64_t header = call.place(bench_.kernel, bench_.process);
  EXPECT_EQ(
      bench_.trap(bench_.process, SYS_ioctl, {static_cast<std::uint64_t>(fd_), kVerbsIoctl, header})
          .how,
      How::kRan);
  const auto entry = guard_.entry(slot_);
  EXPECT_EQ(entry.permits, 1U);
  EXPECT_EQ(entry.call.tid, bench_.process);
  EXPECT_EQ(entry.call.object, 0);
  EXPECT_EQ(entry.call.method, 0);
  EXPECT_EQ(entry.call.command, static_cast<std::uint32_t>(WriteCommand::kRegMr));
  EXPECT_EQ(entry.call.argument, header);
  EXPECT_EQ(entry.context, bench_.attachment->contexts().all().front()->info.id);
}

TEST_F(Turns, ThePermitIsForOneTaskOneArgumentAndOneCall) {
  const pid_t other = bench_.kernel.add_thread(bench_.process);
  auto call = reg_mr();
  const std::uint64_t header = call.place(bench_.kernel, bench_.process);
  EXPECT_FALSE(guard_.admits(slot_, bench_.process, header));
  ASSERT_EQ(
      bench_.trap(bench_.process, SYS_ioctl, {static_cast<std::uint64_t>(fd_), kVerbsIoctl, header})
          .how,
      How::kRan);
  EXPECT_TRUE(guard_.admits(slot_, bench_.process, header));
  EXPECT_FALSE(guard_.admits(slot_, bench_.process, header + 8));
  EXPECT_FALSE(guard_.admits(slot_, other, header));
  guard_.begin(slot_);
  EXPECT_FALSE(guard_.admits(slot_, bench_.process, header));
}

TEST_F(Turns, WhatTheAgentExecutesNeedsNoPermit) {
  EXPECT_NE(bench_.make_qp(bench_.process, fd_), UINT32_MAX);
  EXPECT_EQ(guard_.entry(slot_).permits, 0U);
}

TEST_F(Turns, WhatHasNoNeedOfTheTenantsMemoryNeedsNoPermit) {
  auto pd = TenantCall::write_form(WriteCommand::kAllocPd);
  std::array<std::byte, 8> in{};
  pd.in(attr::kCoreIn, in).out(attr::kCoreOut, 4);
  EXPECT_EQ(verb(bench_.process, std::move(pd)).err, 0);
  TenantCall events(Object::kAsyncEvent, 0);
  events.handle(0, 0);
  EXPECT_EQ(verb(bench_.process, std::move(events)).err, 0);
  EXPECT_EQ(guard_.entry(slot_).permits, 0U);
}

TEST_F(Turns, NothingOvertakesACallThatRuns) {
  const pid_t other = bench_.kernel.add_thread(bench_.process);
  ASSERT_EQ(verb(bench_.process, reg_mr()).how, How::kRan);
  guard_.begin(slot_);
  // Neither what the agent executes nor what would run.
  EXPECT_EQ(verb(other, query_gid()).err, EBUSY);
  EXPECT_EQ(verb(other, reg_mr()).err, EBUSY);
  EXPECT_EQ(bench_.make_qp(other, fd_), UINT32_MAX);
  EXPECT_EQ(bench_.kernel.nic.queue_pairs(), 0U);
  EXPECT_EQ(guard_.entry(slot_).permits, 1U);
  guard_.land(slot_);
  EXPECT_EQ(verb(other, query_gid()).err, 0);
}

TEST_F(Turns, AWaitEndsWhenTheCallLands) {
  const pid_t other = bench_.kernel.add_thread(bench_.process);
  ASSERT_EQ(verb(bench_.process, reg_mr()).how, How::kRan);
  guard_.begin(slot_);
  std::thread kernel([&] {
    std::this_thread::sleep_for(milliseconds(20));
    guard_.land(slot_);
  });
  EXPECT_EQ(verb(other, query_gid()).err, 0);
  kernel.join();
}

TEST_F(Turns, ATaskIsInOneCallAtATime) {
  // It was let run and came to nothing (another file, say); the next call of the task proves it.
  ASSERT_EQ(verb(bench_.process, reg_mr()).how, How::kRan);
  EXPECT_EQ(verb(bench_.process, reg_mr()).how, How::kRan);
  const auto entry = guard_.entry(slot_);
  EXPECT_EQ(entry.permits, 2U);
  EXPECT_EQ(entry.withdrawals, 1U);
}

TEST_F(Turns, ACallThatNeverComesLosesItsPermit) {
  const pid_t other = bench_.kernel.add_thread(bench_.process);
  ASSERT_EQ(verb(bench_.process, reg_mr()).how, How::kRan);
  EXPECT_EQ(verb(other, query_gid()).err, 0);
  EXPECT_EQ(guard_.entry(slot_).withdrawals, 1U);
}

TEST_F(Turns, ACallerThatDiedLosesItsPermitAtOnce) {
  const pid_t child = bench_.kernel.fork(bench_.process);
  ASSERT_EQ(verb(child, reg_mr()).how, How::kRan);
  bench_.kernel.exit(child);
  // Waiting is of no use.
  bench_.services.options.permit = bench_.services.options.turn = std::chrono::hours(1);
  EXPECT_EQ(verb(bench_.process, query_gid()).err, 0);
  EXPECT_EQ(guard_.entry(slot_).withdrawals, 1U);
}

TEST_F(Turns, ACallerThatDiesBeforeTheAnswerHasNoPermit) {
  const pid_t child = bench_.kernel.fork(bench_.process);
  bench_.kernel.die_after_next_read();
  auto call = reg_mr();
  (void)bench_.verb(child, fd_, call);
  EXPECT_EQ(guard_.entry(slot_).state.flight, vbond::Guard::Flight::kNone);
}

TEST_F(Turns, NothingHappensOnACondemnedContext) {
  const auto handle = bench_.make_qp(bench_.process, fd_);
  guard_.condemn(slot_);
  EXPECT_EQ(verb(bench_.process, reg_mr()).err, ENODEV);
  EXPECT_EQ(verb(bench_.process, query_gid()).err, ENODEV);
  EXPECT_EQ(
      verb(bench_.process, Bench::modify_call(to_rtr(handle, AgentWorld::peer_virtual_gid()))).err,
      ENODEV);
  EXPECT_EQ(bench_.kernel.nic.calls("MODIFY_QP"), 0U);
}

TEST_F(Turns, NoDoorbellRingsOnACondemnedContext) {
  const auto handle = bench_.make_qp(bench_.process, fd_);
  std::array<std::byte, kDoorbellSize> bytes{};
  const auto response = bench_.kernel.map(bench_.process, 4);
  ASSERT_TRUE(vbond::uverbs::encode_doorbell({handle, response}, bytes));
  const auto address = bench_.kernel.map(bench_.process, bytes);
  auto ring = [&] {
    return bench_.trap(bench_.process, SYS_write,
                       {static_cast<std::uint64_t>(fd_), address, bytes.size()});
  };
  EXPECT_EQ(ring().err, 0);
  guard_.condemn(slot_);
  EXPECT_EQ(ring().err, ENODEV);
}

TEST_F(Turns, ADeviceThatTheGuardDoesNotKnowIsNotHandedOut) {
  guard_.refuse_next(ENOENT);
  EXPECT_EQ(bench_.open_device(bench_.process), -1);
  EXPECT_NE(bench_.world.last_event(vbond::EventType::kRefused).reason.find("guard"),
            std::string::npos);
}

TEST_F(Turns, WhatIsCutByTheAgentWaitsForNobody) {
  const auto handle = bench_.make_qp(bench_.process, fd_);
  ASSERT_EQ(verb(bench_.process, reg_mr()).how, How::kRan);
  guard_.begin(slot_);
  auto context = bench_.attachment->contexts().all().front();
  std::unique_lock lock(context->mutex, std::try_to_lock);
  ASSERT_TRUE(lock.owns_lock());
  EXPECT_EQ(vbond::destroy_queue_pair(*context, handle), 0);
}

}  // namespace
}  // namespace qmasq::test
