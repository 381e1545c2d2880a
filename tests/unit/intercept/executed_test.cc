// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <string>

#include "tests/support/own_descriptors.h"
#include "tests/unit/intercept/tenant.h"

// What pins nothing is executed by the agent on its copy, although there is hardly anything in it
// to judge: in the tenant it could become another verb.
namespace qmasq::test {
namespace {

using namespace vbond::uverbs;  // NOLINT: verbs are what this is about
using How = CallResult::How;

constexpr auto kMlx5 = static_cast<std::uint32_t>(DriverId::kMlx5);

CallResult returned(std::int64_t value) {
  return {How::kReturned, value, 0};
}
CallResult failed(int err) {
  return {How::kReturned, 0, err};
}

template <typename Number>
std::vector<std::byte> raw(std::initializer_list<Number> numbers) {
  std::vector<std::byte> out(numbers.size() * sizeof(Number));
  std::memcpy(out.data(), numbers.begin(), out.size());
  return out;
}

TenantCall command(WriteCommand number, const std::vector<std::byte>& core_in,
                   std::size_t core_out = 0) {
  auto call = TenantCall::write_form(number);
  call.in(attr::kCoreIn, core_in);
  if (core_out != 0) call.out(attr::kCoreOut, core_out);
  return call;
}

std::uint32_t first_number(const std::vector<std::byte>& bytes) {
  std::uint32_t out = 0;
  std::memcpy(&out, bytes.data(), sizeof(out));
  return out;
}

class Executed : public ::testing::Test {
 protected:
  void SetUp() override {
    fd_ = bench_.open_device(bench_.process);
    ASSERT_GE(fd_, 0);
  }
  CallResult verb(TenantCall&& call) { return bench_.verb(bench_.process, fd_, call); }
  CallResult verb(TenantCall& call) { return bench_.verb(bench_.process, fd_, call); }
  double counted(const std::string& name, const std::string& verdict) {
    return bench_.world.metric("qmasq_vbond_verbs_total", {{"verb", name}, {"verdict", verdict}});
  }
  StubNic& nic() { return bench_.kernel.nic; }
  // The NIC is one of hardware from now on.
  void become_hardware() {
    vbond::Nic now;
    now.device = "rxe0";
    now.driver = "mlx5_core";
    now.active = true;
    now.active_mtu = 1024;
    now.primary = vbond::PhysicalGid{1, AgentWorld::physical_gid(), vbond::GidType::kRoceV2};
    now.gids = {*now.primary};
    (void)bench_.world.nics.update({now});
    nic().driver = kMlx5;
    fd_ = bench_.open_device(bench_.process);
    ASSERT_GE(fd_, 0);
  }

  Bench bench_;
  int fd_ = -1;
};

// A verb that makes an object by a write command, and both that take it away.
struct Pair {
  const char* name;
  Object object;
  WriteCommand make;
  std::size_t core_in;
  std::size_t core_out;
  WriteCommand destroy;
};
class Pairs : public Executed, public ::testing::WithParamInterface<Pair> {
 protected:
  static TenantCall make() {
    std::vector<std::byte> core_in(GetParam().core_in);
    // OPEN_XRCD without a file.
    if (GetParam().make == WriteCommand::kOpenXrcd)
      std::fill(core_in.begin() + 8, core_in.begin() + 12, std::byte{0xff});
    return command(GetParam().make, core_in, GetParam().core_out);
  }
};

TEST_P(Pairs, AreMadeAndTakenAway) {
  for (const bool by_ioctl : {false, true}) {
    auto call = make();
    ASSERT_EQ(verb(call), returned(0));
    EXPECT_EQ(nic().count(GetParam().object), 1U);
    EXPECT_NE(call.flags(attr::kCoreOut) & kAttrValidOutput, 0);
    const std::uint32_t handle = first_number(call.out_bytes(attr::kCoreOut));
    auto destroy = [&] {
      if (by_ioctl)
        return verb(TenantCall(GetParam().object, 0).handle(attr::kDestroyHandle, handle));
      return verb(command(GetParam().destroy, raw({handle})));
    };
    EXPECT_EQ(destroy(), returned(0));
    EXPECT_EQ(nic().count(GetParam().object), 0U);
    EXPECT_EQ(destroy(), failed(ENOENT));
  }
}

TEST_P(Pairs, AreNotMadeIfTheirHandleCannotBeTold) {
  auto call = make();
  const auto header = call.place(bench_.kernel, bench_.process);
  bench_.kernel.unmap(bench_.process, call.out_address(attr::kCoreOut));
  EXPECT_EQ(bench_.trap(bench_.process, SYS_ioctl,
                        {static_cast<std::uint64_t>(fd_), kVerbsIoctl, header}),
            failed(EFAULT));
  EXPECT_EQ(nic().count(GetParam().object), 0U);
}

TEST_P(Pairs, CountAsVerbsAndFreeingIsNeverRefused) {
  auto first = make();
  ASSERT_EQ(verb(first), returned(0));
  qos::Policy slow;
  slow.verb_rates.rates[static_cast<std::size_t>(qos::VerbKind::kVerbs)] = qos::VerbRate{1, 1};
  bench_.world.set_policies(slow);
  auto second = make();
  EXPECT_EQ(verb(second), returned(0));
  EXPECT_EQ(verb(make()), failed(EAGAIN));
  for (auto* each : {&first, &second}) {
    EXPECT_EQ(
        verb(command(GetParam().destroy, raw({first_number(each->out_bytes(attr::kCoreOut))}))),
        returned(0));
  }
  EXPECT_EQ(nic().count(GetParam().object), 0U);
}

TEST_P(Pairs, AreNotMadeOnceTheEndpointIsGone) {
  bench_.attachment->revoke();
  EXPECT_EQ(verb(make()), failed(ENODEV));
  EXPECT_EQ(nic().count(GetParam().object), 0U);
}

INSTANTIATE_TEST_SUITE_P(All, Pairs,
                         ::testing::Values(Pair{"pd", Object::kPd, WriteCommand::kAllocPd, 8, 4,
                                                WriteCommand::kDeallocPd},
                                           Pair{"mw", Object::kMw, WriteCommand::kAllocMw, 16, 8,
                                                WriteCommand::kDeallocMw},
                                           Pair{"xrcd", Object::kXrcd, WriteCommand::kOpenXrcd, 16,
                                                4, WriteCommand::kCloseXrcd}),
                         [](const auto& made) { return std::string(made.param.name); });

TEST_F(Executed, DoorbellPagesOfMlx5) {
  become_hardware();
  TenantCall alloc(Object::kMlx5Uar, 0x1000);
  alloc.driver_id = kMlx5;
  alloc.handle(0x1000, 0).number(0x1001, 0).out(0x1002, 8).out(0x1003, 4).out(0x1004, 4);
  ASSERT_EQ(verb(alloc), returned(0));
  EXPECT_EQ(nic().count(Object::kMlx5Uar), 1U);
  TenantCall free_it(Object::kMlx5Uar, 0x1001);
  free_it.driver_id = kMlx5;
  free_it.handle(attr::kFreeUarHandle, alloc.data(0x1000));
  EXPECT_EQ(verb(free_it), returned(0));
  EXPECT_EQ(nic().count(Object::kMlx5Uar), 0U);
}

TEST_F(Executed, QuestionsAndSettings) {
  const auto file = bench_.kernel.file_of(bench_.process, fd_);
  const std::uint32_t region = nic().register_mr(file, {4096, 0x7000});
  TenantCall query(Object::kMr, kMethodQueryMr);
  query.handle(attr::kQueryMrHandle, region)
      .out(attr::kQueryMrRespLkey, 4)
      .out(attr::kQueryMrRespRkey, 4)
      .out(attr::kQueryMrRespLength, 8)
      .out(attr::kQueryMrRespIova, 8);
  EXPECT_EQ(verb(query), returned(0));
  EXPECT_EQ(first_number(query.out_bytes(attr::kQueryMrRespLength)), 4096U);

  TenantCall list(Object::kDevice, kMethodInfoHandles);
  list.number(attr::kInfoHandlesObject, static_cast<std::uint64_t>(Object::kMr))
      .out(attr::kInfoHandlesTotal, 4)
      .out(attr::kInfoHandlesList, 60'000);  // too large for the ledger
  EXPECT_EQ(verb(list), returned(0));
  EXPECT_EQ(first_number(list.out_bytes(attr::kInfoHandlesTotal)), 1U);
  EXPECT_EQ(first_number(list.out_bytes(attr::kInfoHandlesList)), region);

  EXPECT_EQ(verb(TenantCall(Object::kDevice, kMethodQueryContext).out(0, 4).out(1, 8)),
            returned(0));
  EXPECT_EQ(verb(command(WriteCommand::kQuerySrq, std::vector<std::byte>(16), 16)), returned(0));
  EXPECT_EQ(verb(command(WriteCommand::kReqNotifyCq, std::vector<std::byte>(8))), returned(0));
  EXPECT_EQ(verb(command(WriteCommand::kResizeCq, std::vector<std::byte>(16), 8)), returned(0));
  TenantCall moderate(Object::kDevice, kMethodInvokeWrite);
  moderate
      .number(attr::kWriteCmd,
              kWriteExtended | static_cast<std::uint32_t>(WriteExCommand::kModifyCq))
      .in(attr::kCoreIn, std::vector<std::byte>(16));
  EXPECT_EQ(verb(moderate), returned(0));
  for (const char* name : {"QUERY_MR", "INFO_HANDLES", "QUERY_CONTEXT", "QUERY_SRQ",
                           "REQ_NOTIFY_CQ", "RESIZE_CQ", "EX_MODIFY_CQ"}) {
    EXPECT_EQ(counted(name, "executed"), 1) << name;
    EXPECT_EQ(nic().calls(name), 1U) << name;
  }
}

TEST_F(Executed, TheKernelsErrorsAreGivenOnAndNothingElse) {
  nic().fail_next("QUERY_SRQ", EINVAL);
  auto query = command(WriteCommand::kQuerySrq, std::vector<std::byte>(16), 16);
  EXPECT_EQ(verb(query), failed(EINVAL));
  EXPECT_EQ(query.out_bytes(attr::kCoreOut)[0], std::byte{0xee});
  EXPECT_EQ(query.flags(attr::kCoreOut) & kAttrValidOutput, 0);
}

// rxe writes to an address inside the driver data: that is the tenant's.
TEST_F(Executed, TheNewQueueOfAnSrqIsToldToTheTenant) {
  constexpr std::uint32_t kMaxWr = 1;
  constexpr std::uint32_t kLimit = 2;
  auto modify = [&](std::uint64_t place, std::uint32_t mask) {
    auto call = command(WriteCommand::kModifySrq, raw<std::uint32_t>({1, mask, 32, 0}));
    call.in(attr::kUhwIn, raw({place}));
    return call;
  };
  const auto place = bench_.kernel.map(bench_.process, kQueuePlaceSize);
  auto resize = modify(place, kMaxWr);
  EXPECT_EQ(verb(resize), returned(0));
  const auto told = bench_.kernel.peek(bench_.process, place, kQueuePlaceSize);
  EXPECT_EQ(std::memcmp(told.data(), StubNic::kQueuePlace.data(), told.size()), 0);
  EXPECT_EQ(resize.data(attr::kUhwIn), place);  // its own call is as it was

  // Nothing is written where the kernel has written nothing.
  bench_.kernel.poke(bench_.process, place, std::vector<std::byte>(kQueuePlaceSize));
  EXPECT_EQ(verb(modify(place, kLimit)), returned(0));
  EXPECT_EQ(bench_.kernel.peek(bench_.process, place, kQueuePlaceSize),
            std::vector<std::byte>(kQueuePlaceSize));
  // The tenant's address leads nowhere; the agent's memory is not where it leads.
  EXPECT_EQ(verb(modify(0xdead0000, kMaxWr)), failed(EFAULT));
  auto cut = command(WriteCommand::kModifySrq, raw<std::uint32_t>({1, kMaxWr, 32, 0}));
  cut.in(attr::kUhwIn, std::vector<std::byte>(4));
  EXPECT_EQ(verb(cut), failed(EINVAL));
}

TEST_F(Executed, AdviceNeverMakesTheAgentWait) {
  std::uint64_t flags = 99;
  nic().before_call = [&](std::uint64_t /*file*/, const Call& call) {
    flags = call.value(attr::kAdviseMrFlags).value_or(98);
    return 0;
  };
  TenantCall advise(Object::kMr, 2);
  advise.handle(0, 1)
      .number(1, 0)
      .number(attr::kAdviseMrFlags, 1, 4)
      .in(3, std::vector<std::byte>(16));
  EXPECT_EQ(verb(advise), returned(0));
  EXPECT_EQ(flags, 0U);
  nic().before_call = {};
}

struct MakesFd {
  const char* name;
  std::function<TenantCall()> call;
  std::function<std::uint32_t(const TenantCall&)> number;
};
std::vector<MakesFd> makers() {
  auto in_answer = [](const TenantCall& call) {
    return first_number(call.out_bytes(attr::kCoreOut));
  };
  return {
      {"CREATE_COMP_CHANNEL",
       [] { return command(WriteCommand::kCreateCompChannel, std::vector<std::byte>(8), 4); },
       in_answer},
      {"GET_CONTEXT",
       [] { return command(WriteCommand::kGetContext, std::vector<std::byte>(8), 8); }, in_answer},
      {"ALLOC_ASYNC_EVENT", [] { return TenantCall(Object::kAsyncEvent, 0).handle(0, 0); },
       [](const TenantCall& call) { return static_cast<std::uint32_t>(call.data(0)); }},
  };
}

TEST_F(Executed, DescriptorsAreTheTenantsAndNotTheAgents) {
  for (const MakesFd& each : makers()) {
    SCOPED_TRACE(each.name);
    const int before = own_descriptors();
    auto call = each.call();
    EXPECT_EQ(verb(call), returned(0));
    const auto number = static_cast<int>(each.number(call));
    EXPECT_NE(bench_.kernel.file_of(bench_.process, number), 0U);
    EXPECT_EQ(bench_.kernel.close_fd(bench_.process, number), 0);
    EXPECT_EQ(own_descriptors(), before);

    bench_.kernel.fail_next_inject(EMFILE);
    EXPECT_EQ(verb(each.call()), failed(EMFILE));
    EXPECT_EQ(own_descriptors(), before);
    bench_.kernel.fail_next_inject(ENOENT);
    EXPECT_EQ(verb(each.call()).how, How::kGone);
    nic().fail_next(each.name, ENOMEM);
    EXPECT_EQ(verb(each.call()), failed(ENOMEM));
    EXPECT_EQ(own_descriptors(), before);
  }
}

TEST_F(Executed, ACompletionChannelServesItsQueues) {
  auto channel = command(WriteCommand::kCreateCompChannel, std::vector<std::byte>(8), 4);
  ASSERT_EQ(verb(channel), returned(0));
  TenantCall call(Object::kCq, 0);
  call.handle(attr::kCreateCqHandle, 0)
      .number(attr::kCreateCqCqe, 16, 4)
      .number(attr::kCreateCqUserHandle, 1)
      .handle(attr::kCreateCqCompChannel, first_number(channel.out_bytes(attr::kCoreOut)))
      .number(attr::kCreateCqCompVector, 0, 4)
      .out(attr::kCreateCqRespCqe, 4);
  EXPECT_EQ(verb(call), returned(0));
}

TEST_F(Executed, TheOldFormOfAContextOpensNoBackDoor) {
  become_hardware();
  auto open = [&](std::uint32_t flags) {
    auto call = command(WriteCommand::kGetContext, std::vector<std::byte>(8), 8);
    call.driver_id = kMlx5;
    call.in(attr::kUhwIn, raw<std::uint32_t>({0, 0, flags, 0}));
    return call;
  };
  EXPECT_EQ(verb(open(1)), failed(EPERM));  // DEVX
  EXPECT_EQ(nic().calls("GET_CONTEXT"), 0U);
  EXPECT_EQ(verb(open(0)), returned(0));
}

// Their drivers pin or fetch the tenant's memory, or take addresses in it.
TEST_F(Executed, OnHardwareWhatNeedsTheTenantsMemoryRunsThere) {
  become_hardware();
  for (auto make : {+[] { return command(WriteCommand::kResizeCq, std::vector<std::byte>(16), 8); },
                    +[] { return command(WriteCommand::kModifySrq, std::vector<std::byte>(16)); },
                    +[] {
                      TenantCall call(Object::kMr, 2);
                      call.handle(0, 1)
                          .number(1, 0)
                          .number(attr::kAdviseMrFlags, 1, 4)
                          .in(3, std::vector<std::byte>(16));
                      return call;
                    }}) {
    auto call = make();
    call.driver_id = kMlx5;
    EXPECT_EQ(verb(call).how, How::kRan);
  }
  auto pd = command(WriteCommand::kAllocPd, std::vector<std::byte>(8), 4);
  pd.driver_id = kMlx5;
  EXPECT_EQ(verb(pd), returned(0));
}

}  // namespace
}  // namespace qmasq::test
