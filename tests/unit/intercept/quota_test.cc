// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <thread>

#include "tests/unit/intercept/tenant.h"
#include "vbond/intercept/brake.h"
#include "vbond/uverbs/objects.h"

namespace qmasq::test {
namespace {

using namespace vbond;  // NOLINT: all of this is about the agent
using qos::Resource;
using qos::VerbKind;
using uverbs::Object;
using uverbs::WriteCommand;

using How = CallResult::How;
constexpr std::uint64_t kPage = 4096;

qos::Policy quota(Resource resource, std::uint64_t limit) {
  qos::Policy out;
  out.id = "gold";
  out.quotas.limits[static_cast<std::size_t>(resource)] = limit;
  return out;
}
qos::Policy rate(VerbKind kind, qos::VerbRate rate) {
  qos::Policy out;
  out.id = "slow";
  out.verb_rates.rates[static_cast<std::size_t>(kind)] = rate;
  return out;
}

struct QuotaBench : Bench {
  QuotaBench() { fd = open_device(process); }

  TenantCall create_cq() {
    TenantCall call(Object::kCq, 0);
    call.handle(uverbs::attr::kCreateCqHandle, 0)
        .number(uverbs::attr::kCreateCqCqe, 16, 4)
        .number(uverbs::attr::kCreateCqUserHandle, 1)
        .number(uverbs::attr::kCreateCqCompVector, 0, 4)
        .out(uverbs::attr::kCreateCqRespCqe, 4);
    return call;
  }
  TenantCall destroy_cq(std::uint64_t handle) {
    TenantCall call(Object::kCq, 1);
    call.handle(uverbs::attr::kDestroyHandle, handle).out(uverbs::attr::kDestroyCqResp, 8);
    return call;
  }
  TenantCall create_srq() {
    std::array<std::byte, 32> core_in{};
    auto call = TenantCall::write_form(WriteCommand::kCreateSrq);
    call.in(uverbs::attr::kCoreIn, core_in).out(uverbs::attr::kCoreOut, 16);
    return call;
  }
  TenantCall destroy_srq(std::uint32_t handle) {
    std::array<std::byte, 16> core_in{};
    std::memcpy(core_in.data() + 8, &handle, sizeof(handle));
    auto call = TenantCall::write_form(WriteCommand::kDestroySrq);
    call.in(uverbs::attr::kCoreIn, core_in).out(uverbs::attr::kCoreOut, 4);
    return call;
  }
  CallResult ask_register(pid_t tid, std::uint64_t length, std::uint64_t iova = 0) {
    std::array<std::byte, uverbs::kRegMrSize> core_in{};
    uverbs::RegMr command;
    command.length = length;
    command.iova = iova;
    command.start = iova;
    (void)uverbs::encode_reg_mr(command, core_in);
    auto call = TenantCall::write_form(WriteCommand::kRegMr);
    call.in(uverbs::attr::kCoreIn, core_in).out(uverbs::attr::kCoreOut, 12);
    return verb(tid, fd, call);
  }
  // Asked for, and run with success.
  std::uint32_t make_mr(pid_t tid, std::uint64_t length, std::uint64_t iova = 0) {
    EXPECT_EQ(ask_register(tid, length, iova).how, How::kRan);
    return kernel.nic.register_mr(file(), {length, iova});
  }
  CallResult ask_change(pid_t tid, std::uint32_t handle, std::uint64_t length) {
    std::array<std::byte, uverbs::kReregMrSize> core_in{};
    uverbs::ReregMr command;
    command.mr_handle = handle;
    command.flags = uverbs::ReregMr::kTranslation;
    command.memory.length = length;
    (void)uverbs::encode_rereg_mr(command, core_in);
    auto call = TenantCall::write_form(WriteCommand::kReregMr);
    call.in(uverbs::attr::kCoreIn, core_in).out(uverbs::attr::kCoreOut, 8);
    return verb(tid, fd, call);
  }
  CallResult deregister(pid_t tid, std::uint32_t handle) {
    TenantCall call(Object::kMr, 1);
    call.handle(uverbs::attr::kDestroyHandle, handle);
    return verb(tid, fd, call);
  }
  // Any call of the task shows that its last one is over.
  void any_call(pid_t tid) { (void)open_at(tid, "/etc/hostname", O_RDONLY); }
  std::uint64_t file() { return kernel.file_of(process, fd); }
  std::uint64_t used(Resource resource) {
    return attachment->tenancy->used()[static_cast<std::size_t>(resource)];
  }

  int fd = -1;
};

TEST(QuotaTest, QueuesAreExecutedAndExactAtTheLimit) {
  QuotaBench bench;
  ASSERT_GE(bench.fd, 0);
  bench.world.set_policies(quota(Resource::kCompletionQueues, 2));
  std::vector<std::uint64_t> handles;
  for (int i = 0; i < 2; ++i) {
    auto call = bench.create_cq();
    const auto result = bench.verb(bench.process, bench.fd, call);
    ASSERT_EQ(result.how, How::kReturned);
    ASSERT_EQ(result.err, 0);
    handles.push_back(call.data(uverbs::attr::kCreateCqHandle));
  }
  EXPECT_EQ(bench.verb(bench.process, bench.fd, bench.create_cq()).err, EDQUOT);
  EXPECT_EQ(bench.kernel.nic.completion_queues(), 2U);
  const Event event = bench.world.last_event(EventType::kOverQuota);
  EXPECT_EQ(event.verb, "CREATE_CQ");
  EXPECT_EQ(event.err, EDQUOT);
  EXPECT_NE(event.reason.find("limit of 2"), std::string::npos) << event.reason;
  EXPECT_EQ(bench.verb(bench.process, bench.fd, bench.destroy_cq(handles[0])).err, 0);
  EXPECT_EQ(bench.verb(bench.process, bench.fd, bench.create_cq()).err, 0);
  EXPECT_EQ(bench.verb(bench.process, bench.fd, bench.create_cq()).err, EDQUOT);
  EXPECT_EQ(
      bench.world.metric("qmasq_vbond_quota_used",
                         {{"vpc", "blue"}, {"endpoint", "a"}, {"resource", "completion_queues"}}),
      2);
}

TEST(QuotaTest, TheVpcsQuotaHoldsForItsEndpointToo) {
  QuotaBench bench;
  bench.world.set_policies({}, quota(Resource::kSharedReceiveQueues, 1));
  EXPECT_EQ(bench.verb(bench.process, bench.fd, bench.create_srq()).err, 0);
  EXPECT_EQ(bench.verb(bench.process, bench.fd, bench.create_srq()).err, EDQUOT);
  EXPECT_NE(bench.world.last_event(EventType::kOverQuota)
                .reason.find("shared_receive_queues of vpcs/blue:"),
            std::string::npos);
  EXPECT_EQ(bench.verb(bench.process, bench.fd, bench.destroy_srq(0)).err, 0);
  EXPECT_EQ(bench.verb(bench.process, bench.fd, bench.create_srq()).err, 0);
}

TEST(QuotaTest, WhatFailsIsNotCounted) {
  QuotaBench bench;
  bench.world.set_policies(quota(Resource::kCompletionQueues, 1));
  bench.kernel.nic.fail_next("CREATE_CQ", ENOMEM);
  EXPECT_EQ(bench.verb(bench.process, bench.fd, bench.create_cq()).err, ENOMEM);
  EXPECT_EQ(bench.used(Resource::kCompletionQueues), 0U);
  bench.kernel.nic.fail_next("CREATE_QP", ENOMEM);
  EXPECT_EQ(bench.make_qp(bench.process, bench.fd), UINT32_MAX);
  EXPECT_EQ(bench.used(Resource::kQueuePairs), 0U);
  // A destruction that fails frees nothing.
  EXPECT_EQ(bench.verb(bench.process, bench.fd, bench.create_cq()).err, 0);
  bench.kernel.nic.fail_next("DESTROY_CQ", EBUSY);
  EXPECT_EQ(bench.verb(bench.process, bench.fd, bench.destroy_cq(0)).err, EBUSY);
  EXPECT_EQ(bench.used(Resource::kCompletionQueues), 1U);
}

TEST(QuotaTest, AnAnswerThatCannotBeTakenUndoesTheObject) {
  QuotaBench bench;
  auto call = bench.create_cq();
  const auto header = call.place(bench.kernel, bench.process);
  // The buffer of the answer is nowhere.
  const std::uint64_t nowhere = 0x10;
  bench.kernel.poke(bench.process, header + uverbs::kHeaderSize + 4 * uverbs::kAttrSize + 8,
                    std::as_bytes(std::span(&nowhere, 1)));
  const auto result =
      bench.trap(bench.process, SYS_ioctl,
                 {static_cast<std::uint64_t>(bench.fd), uverbs::kVerbsIoctl, header});
  EXPECT_EQ(result.err, EFAULT);
  EXPECT_EQ(bench.kernel.nic.completion_queues(), 0U);
  EXPECT_EQ(bench.used(Resource::kCompletionQueues), 0U);
}

TEST(QuotaTest, AQuotaThatShrinksTakesNothing) {
  QuotaBench bench;
  for (int i = 0; i < 3; ++i)
    ASSERT_NE(bench.make_qp(bench.process, bench.fd), UINT32_MAX);
  bench.world.set_policies(quota(Resource::kQueuePairs, 1));
  EXPECT_EQ(bench.kernel.nic.queue_pairs(), 3U);
  EXPECT_EQ(bench.make_qp(bench.process, bench.fd), UINT32_MAX);
  bench.world.set_policies({});
  EXPECT_NE(bench.make_qp(bench.process, bench.fd), UINT32_MAX);
}

TEST(QuotaTest, TheWriteFormTakesTheCompletionChannelAlong) {
  QuotaBench bench;
  const int channel = bench.kernel.open_file(bench.process, 7);
  std::array<std::byte, 32> core_in{};
  std::int32_t number = channel;
  std::memcpy(core_in.data() + 24, &number, sizeof(number));
  auto call = TenantCall::write_form(WriteCommand::kCreateCq);
  call.in(uverbs::attr::kCoreIn, core_in).out(uverbs::attr::kCoreOut, 8);
  EXPECT_EQ(bench.verb(bench.process, bench.fd, call).err, 0);
  EXPECT_EQ(bench.used(Resource::kCompletionQueues), 1U);
  // One that the tenant does not have.
  number = 8;
  std::memcpy(core_in.data() + 24, &number, sizeof(number));
  auto bad = TenantCall::write_form(WriteCommand::kCreateCq);
  bad.in(uverbs::attr::kCoreIn, core_in).out(uverbs::attr::kCoreOut, 8);
  EXPECT_EQ(bench.verb(bench.process, bench.fd, bad).err, EBADF);
  EXPECT_EQ(bench.kernel.nic.completion_queues(), 1U);
}

TEST(QuotaTest, MemoryRegionsAreExactAtTheLimitAlthoughTheTenantMakesThem) {
  QuotaBench bench;
  bench.world.set_policies(quota(Resource::kMemoryRegions, 2));
  const auto first = bench.make_mr(bench.process, kPage);
  // Registrations that the kernel refuses, again and again, do not eat the quota up.
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(bench.ask_register(bench.process, kPage, 0x7000).how, How::kRan);
  (void)bench.make_mr(bench.process, kPage);
  EXPECT_EQ(bench.ask_register(bench.process, kPage).err, EDQUOT);
  EXPECT_EQ(bench.used(Resource::kMemoryRegions), 2U);
  EXPECT_EQ(bench.deregister(bench.process, first).err, 0);
  EXPECT_EQ(bench.used(Resource::kMemoryRegions), 1U);
  (void)bench.make_mr(bench.process, kPage);
  EXPECT_EQ(bench.ask_register(bench.process, kPage).err, EDQUOT);
  EXPECT_EQ(bench.kernel.nic.memory_regions(), 2U);
}

TEST(QuotaTest, ASlowPinInAnotherThreadIsNotForgotten) {
  QuotaBench bench;
  bench.world.set_policies(quota(Resource::kMemoryRegions, 1));
  const pid_t slow = bench.kernel.add_thread(bench.process);
  EXPECT_EQ(bench.ask_register(slow, kPage).how, How::kRan);  // and pins, and pins
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(bench.ask_register(bench.process, kPage).err, EDQUOT);
  bench.any_call(slow);  // it had failed
  EXPECT_EQ(bench.ask_register(bench.process, kPage).how, How::kRan);
}

TEST(QuotaTest, AThreadThatIsGoneHasLanded) {
  QuotaBench bench;
  bench.world.set_policies(quota(Resource::kMemoryRegions, 1));
  const pid_t other = bench.kernel.fork(bench.process);
  EXPECT_EQ(bench.ask_register(other, kPage).how, How::kRan);
  EXPECT_EQ(bench.ask_register(bench.process, kPage).err, EDQUOT);
  bench.kernel.exit(other);
  EXPECT_EQ(bench.ask_register(bench.process, kPage).how, How::kRan);
}

TEST(QuotaTest, PinnedBytesOfRegistrationsAndChanges) {
  QuotaBench bench;
  bench.world.set_policies(quota(Resource::kPinnedBytes, 10 * kPage));
  const auto handle = bench.make_mr(bench.process, 4 * kPage - 1, 1);
  EXPECT_EQ(bench.ask_register(bench.process, 6 * kPage + 1).err, EDQUOT);
  // To eleven pages: too many. To ten: let run, and it fails; four are in use still.
  EXPECT_EQ(bench.ask_change(bench.process, handle, 11 * kPage).err, EDQUOT);
  EXPECT_EQ(bench.ask_change(bench.process, handle, 10 * kPage).how, How::kRan);
  EXPECT_EQ(bench.used(Resource::kPinnedBytes), 10 * kPage);
  EXPECT_EQ(bench.ask_register(bench.process, 6 * kPage).how, How::kRan);
  EXPECT_EQ(bench.used(Resource::kPinnedBytes), 10 * kPage);
  // That one fails as well, and the change of the first to two pages succeeds.
  EXPECT_EQ(bench.ask_change(bench.process, handle, 2 * kPage).how, How::kRan);
  bench.kernel.nic.change_mr(bench.file(), handle, {2 * kPage, 0});
  (void)bench.make_mr(bench.process, 8 * kPage);
  EXPECT_EQ(bench.ask_register(bench.process, 1).err, EDQUOT);
  EXPECT_EQ(bench.used(Resource::kPinnedBytes), 10 * kPage);
}

TEST(QuotaTest, AnImplicitRegionIsRefusedUnderAQuotaOnly) {
  QuotaBench bench;
  EXPECT_EQ(bench.ask_register(bench.process, UINT64_MAX).how, How::kRan);
  bench.world.set_policies({}, quota(Resource::kPinnedBytes, 1ULL << 40U));
  EXPECT_EQ(bench.ask_register(bench.process, UINT64_MAX).err, EDQUOT);
  EXPECT_NE(bench.world.last_event(EventType::kOverQuota).reason.find("implicit"),
            std::string::npos);
}

TEST(QuotaTest, LiesAreCountedWhenTheyAreFound) {
  QuotaBench bench;
  bench.world.set_policies(quota(Resource::kMemoryRegions, 2));
  // Another verb ran than was checked: two regions more.
  (void)bench.make_mr(bench.process, kPage);
  (void)bench.kernel.nic.register_mr(bench.file(), {kPage, 0});
  (void)bench.kernel.nic.register_mr(bench.file(), {kPage, 0});
  std::vector<std::shared_ptr<Attachment>> all{bench.attachment};
  settle_all(all, bench.kernel);
  EXPECT_EQ(bench.used(Resource::kMemoryRegions), 3U);
  EXPECT_EQ(bench.ask_register(bench.process, kPage).err, EDQUOT);
}

TEST(QuotaTest, ACallThatNobodyIsThereToRunIsNotCounted) {
  QuotaBench bench;
  bench.kernel.die_after_next_read();
  EXPECT_EQ(bench.ask_register(bench.process, kPage).how, How::kGone);
  EXPECT_EQ(bench.used(Resource::kMemoryRegions), 0U);
}

TEST(QuotaTest, ADeadProgramsObjectsAreFreedBeforeAnybodyIsRefused) {
  QuotaBench bench;
  bench.world.set_policies(quota(Resource::kQueuePairs, 1));
  ASSERT_NE(bench.make_qp(bench.process, bench.fd), UINT32_MAX);
  // Under the same listener, as a shell starts one program after the other.
  const pid_t next = bench.kernel.fork(bench.process);
  bench.kernel.close_fd(next, bench.fd);
  bench.kernel.exit(bench.process);
  const int fd = bench.open_device(next);
  ASSERT_GE(fd, 0);
  EXPECT_NE(bench.make_qp(next, fd), UINT32_MAX);
  EXPECT_EQ(bench.kernel.nic.queue_pairs(), 1U);
}

TEST(QuotaTest, AContextThatIsClosedIsCountedNoMore) {
  QuotaBench bench;
  ASSERT_NE(bench.make_qp(bench.process, bench.fd), UINT32_MAX);
  ASSERT_EQ(bench.verb(bench.process, bench.fd, bench.create_cq()).err, 0);
  ASSERT_EQ(bench.verb(bench.process, bench.fd, bench.create_srq()).err, 0);
  (void)bench.make_mr(bench.process, kPage);
  EXPECT_NE(bench.attachment->tenancy->used(), qos::Amounts{});
  // As when the endpoint is deleted: the program lives on and has its descriptor.
  bench.attachment->revoke();
  bench.attachment->bury(bench.attachment->contexts().close(), /*abandoned=*/false);
  bench.attachment->wait_buried();
  EXPECT_EQ(bench.attachment->tenancy->used(), qos::Amounts{});
  EXPECT_EQ(bench.kernel.nic.queue_pairs(), 0U);
  EXPECT_EQ(bench.kernel.nic.completion_queues(), 0U);
  EXPECT_EQ(bench.kernel.nic.shared_receive_queues(), 0U);
  EXPECT_EQ(bench.kernel.nic.memory_regions(), 0U);
}

// --- hardware: queues are made by the tenant as well ---

TEST(QuotaTest, OnHardwareQueuesAreCountedAsMemoryRegionsAre) {
  QuotaBench bench;
  Nic nic;
  nic.device = "rxe0";
  nic.driver = "mlx5_core";
  nic.active = true;
  nic.active_mtu = 1024;
  nic.primary = PhysicalGid{1, AgentWorld::physical_gid(), GidType::kRoceV2};
  nic.gids = {*nic.primary};
  (void)bench.world.nics.update({nic});
  bench.fd = bench.open_device(bench.process);
  ASSERT_GE(bench.fd, 0);
  // The stub knows the driver of rxe alone, and so does the context by the tenant's calls.
  for (const auto& context : bench.attachment->contexts().all())
    context->driver_id = static_cast<std::uint32_t>(uverbs::DriverId::kRxe);
  bench.world.set_policies(quota(Resource::kCompletionQueues, 1));
  EXPECT_EQ(bench.verb(bench.process, bench.fd, bench.create_cq()).how, How::kRan);
  // It failed, and the next call shows that it is over.
  EXPECT_EQ(bench.verb(bench.process, bench.fd, bench.create_cq()).how, How::kRan);
  EXPECT_EQ(bench.used(Resource::kCompletionQueues), 1U);
}

// Before any call of the agent's has succeeded on the context: what the program made by itself is
// found, and goes when the context is closed although the program keeps the file.
TEST(QuotaTest, OnHardwareWhatTheProgramMadeGoesWithTheContext) {
  QuotaBench bench;
  bench.kernel.nic.driver = static_cast<std::uint32_t>(uverbs::DriverId::kMlx5);
  Nic nic;
  nic.device = "rxe0";
  nic.driver = "mlx5";
  nic.active = true;
  nic.active_mtu = 1024;
  nic.primary = PhysicalGid{1, AgentWorld::physical_gid(), GidType::kRoceV2};
  nic.gids = {*nic.primary};
  (void)bench.world.nics.update({nic});
  bench.fd = bench.open_device(bench.process);
  ASSERT_GE(bench.fd, 0);
  (void)bench.make_mr(bench.process, 4096);
  bench.attachment->revoke();
  bench.attachment->bury(bench.attachment->contexts().close(), false);
  bench.attachment->wait_buried();
  EXPECT_NE(bench.file(), 0U);
  EXPECT_EQ(bench.kernel.nic.memory_regions(), 0U);
  EXPECT_EQ(bench.used(Resource::kMemoryRegions), 0U);
}

// --- verb rates ---

TEST(RateTest, OverTheRateIsEagainAndFreeingGoesOn) {
  QuotaBench bench;
  std::array<std::uint32_t, 4> handles{};
  for (std::uint32_t& handle : handles)
    handle = bench.make_qp(bench.process, bench.fd);
  bench.world.set_policies(rate(VerbKind::kVerbs, {1, 2}));
  auto cq = bench.create_cq();
  EXPECT_EQ(bench.verb(bench.process, bench.fd, cq).err, 0);
  EXPECT_EQ(bench.verb(bench.process, bench.fd, bench.create_cq()).err, 0);
  EXPECT_EQ(bench.verb(bench.process, bench.fd, bench.create_cq()).err, EAGAIN);
  EXPECT_EQ(bench.kernel.nic.completion_queues(), 2U);
  EXPECT_EQ(bench.world.last_event(EventType::kOverRate).verb, "CREATE_CQ");
  for (std::uint32_t handle : handles) {
    TenantCall call(Object::kQp, 1);
    call.handle(uverbs::attr::kDestroyQpHandle, handle).out(uverbs::attr::kDestroyQpResp, 4);
    EXPECT_EQ(bench.verb(bench.process, bench.fd, call).err, 0);
  }
  const auto handle = cq.data(uverbs::attr::kCreateCqHandle);
  EXPECT_EQ(bench.verb(bench.process, bench.fd, bench.destroy_cq(handle)).err, 0);
  // What frees nothing fails as it would otherwise.
  EXPECT_EQ(bench.verb(bench.process, bench.fd, bench.destroy_cq(handle)).err, ENOENT);
}

TEST(RateTest, QueuePairsConnectsAndContextsHaveRatesOfTheirOwn) {
  QuotaBench bench;
  bench.world.set_policies(rate(VerbKind::kQueuePairs, {1, 1}));
  const auto qp = bench.make_qp(bench.process, bench.fd);
  ASSERT_NE(qp, UINT32_MAX);
  EXPECT_EQ(bench.make_qp(bench.process, bench.fd), UINT32_MAX);
  EXPECT_EQ(bench.verb(bench.process, bench.fd, bench.create_cq()).err, 0);

  bench.world.set_policies(rate(VerbKind::kConnects, {1, 1}));
  const auto connect = Bench::modify_call(to_rtr(qp, AgentWorld::peer_virtual_gid()));
  auto first = connect;
  EXPECT_EQ(bench.verb(bench.process, bench.fd, first).err, 0);
  auto second = connect;
  EXPECT_EQ(bench.verb(bench.process, bench.fd, second).err, EAGAIN);
  uverbs::ModifyQp reset;
  reset.qp_handle = qp;
  reset.attr_mask = uverbs::qp_mask::kState;
  EXPECT_EQ(bench.verb(bench.process, bench.fd, Bench::modify_call(reset)).err, 0);

  bench.world.set_policies(rate(VerbKind::kContexts, {1, 1}));
  EXPECT_GE(bench.open_device(bench.process), 0);
  EXPECT_EQ(bench.open_at(bench.process, "/dev/infiniband/uverbs0", O_RDWR).err, EAGAIN);
  // Not a verbs device.
  EXPECT_EQ(bench.open_at(bench.process, "/dev/null", O_RDWR).how, How::kRan);
}

TEST(RateTest, NonsenseIsACallAndADoorbellIsNone) {
  QuotaBench bench;
  bench.world.set_policies(rate(VerbKind::kVerbs, {1, 1}));
  auto nonsense = [&] {
    auto address = bench.kernel.map(bench.process, uverbs::kHeaderSize);
    return bench
        .trap(bench.process, SYS_ioctl,
              {static_cast<std::uint64_t>(bench.fd), uverbs::kVerbsIoctl, address})
        .err;
  };
  EXPECT_EQ(nonsense(), EINVAL);
  EXPECT_EQ(nonsense(), EAGAIN);
  std::array<std::byte, 8> core_in{};
  auto arm = TenantCall::write_form(WriteCommand::kReqNotifyCq);
  arm.in(uverbs::attr::kCoreIn, core_in);
  EXPECT_EQ(bench.verb(bench.process, bench.fd, arm).err, 0);
  EXPECT_EQ(bench.kernel.nic.calls("REQ_NOTIFY_CQ"), 1U);
}

TEST(BrakeTest, TheFirstRefusalIsAnsweredAtOnceAndTheNextAreNot) {
  Brake brake;
  Brake::Time now{};
  EXPECT_EQ(brake.refused(now).count(), 0);
  EXPECT_EQ(brake.refused(now + std::chrono::milliseconds(1)), Brake::kDelay);
  EXPECT_EQ(brake.refused(now + std::chrono::milliseconds(100)), Brake::kDelay);
  EXPECT_EQ(brake.refused(now + std::chrono::milliseconds(201)).count(), 0);
}

TEST(BrakeTest, WhoWaitsIsReleasedAtOnce) {
  Brake brake;
  std::thread waiting([&] { brake.wait(std::chrono::hours(1)); });
  brake.release();
  waiting.join();
  brake.wait(std::chrono::hours(1));  // and nobody waits any more
}

}  // namespace
}  // namespace qmasq::test
