// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstring>

#include "tests/unit/intercept/tenant.h"
#include "vbond/intercept/address_handles.h"
#include "vbond/rename/policy_change.h"
#include "vbond/uverbs/objects.h"

namespace qmasq::test {
namespace {

using namespace vbond::uverbs;  // NOLINT: verbs are what this is about
using How = CallResult::How;

CallResult returned(std::int64_t value) {
  return {How::kReturned, value, 0};
}
CallResult failed(int err) {
  return {How::kReturned, 0, err};
}

TEST(AddressHandles, AHandleThatTheProgramStillHasIsNotGivenAgain) {
  vbond::AddressHandles handles;
  const std::uint32_t first = handles.next_number().value();
  EXPECT_EQ(first, vbond::kFirstAddressHandle);
  EXPECT_TRUE(handles.add(5, first));
  EXPECT_EQ(handles.find(5)->number, first);
  handles.cut(5);
  EXPECT_FALSE(handles.find(5)->in_kernel);
  const std::uint32_t second = handles.next_number().value();
  EXPECT_NE(second, first);
  EXPECT_FALSE(handles.add(5, second));
  EXPECT_TRUE(handles.find(5)->in_kernel);  // the filler, without a number
  EXPECT_EQ(handles.find(5)->number, std::nullopt);
  EXPECT_TRUE(handles.add(6, second));
  handles.remove(5);
  EXPECT_FALSE(handles.find(5));
}

class Datagrams : public ::testing::Test {
 protected:
  void SetUp() override {
    fd_ = bench_.open_device(bench_.process);
    ASSERT_GE(fd_, 0);
    file_ = bench_.kernel.file_of(bench_.process, fd_);
  }
  CallResult verb(TenantCall&& call) { return bench_.verb(bench_.process, fd_, call); }
  CallResult verb(TenantCall& call) { return bench_.verb(bench_.process, fd_, call); }

  // All endpoints of the VPC admit each other's datagrams, or nobody's.
  void allow_ud(bool allowed) {
    vbond::Change change;
    conntrack::Group group = AgentWorld::default_group();
    for (auto direction : {conntrack::Direction::kIngress, conntrack::Direction::kEgress}) {
      if (!allowed) break;
      conntrack::Rule rule = group.rules[0];
      rule.id = direction == conntrack::Direction::kIngress ? "ud-in" : "ud-out";
      rule.direction = direction;
      rule.transport = conntrack::Transport::kUd;
      group.rules.push_back(rule);
    }
    change.groups = {group};
    bench_.world.peers.apply(change);
    effects_ = bench_.world.tracker.apply(vbond::policy_change(change));
  }
  // As the interceptor does it.
  void carry_out() {
    auto contexts = bench_.attachment->contexts().all();
    ASSERT_EQ(contexts.size(), 1U);
    vbond::Context& context = *contexts[0];
    vbond::Hands hands{[&](const ModifyQp& command) { return modify_queue_pair(context, command); },
                       [&](std::uint32_t handle) {
                         const int err = destroy_address_handle(context, handle);
                         if (err == 0) context.address_handles.cut(handle);
                         return err;
                       }};
    std::lock_guard lock(context.mutex);
    for (const auto& effect : effects_)
      bench_.world.renamer.enforce(effect, hands);
    for (const auto& key : bench_.world.renamer.barred_datagrams())
      bench_.world.renamer.bar_datagram(key, hands);
  }
  static TenantCall create_ah_call(const Gid& to) {
    CreateAh command;
    command.dest = to_rtr(0, to).dest;
    std::array<std::byte, kCreateAhSize> core_in{};
    (void)encode_create_ah(command, core_in);
    auto call = TenantCall::write_form(WriteCommand::kCreateAh);
    call.in(attr::kCoreIn, core_in).out(attr::kCoreOut, kCreateAhRespSize);
    return call;
  }
  // The handle.
  std::uint32_t make_ah(const Gid& to) {
    auto call = create_ah_call(to);
    if (verb(call) != returned(0)) return UINT32_MAX;
    return decode_create_ah_resp(call.out_bytes(attr::kCoreOut)).value_or(UINT32_MAX);
  }
  CallResult destroy_ah(std::uint32_t handle) {
    return verb(TenantCall(Object::kAh, 0).handle(attr::kDestroyAhHandle, handle));
  }
  CallResult destroy_ah_by_write(std::uint32_t handle) {
    auto call = TenantCall::write_form(WriteCommand::kDestroyAh);
    return verb(call.in(attr::kCoreIn, std::as_bytes(std::span(&handle, 1))));
  }
  std::size_t tracked() const { return bench_.world.tracker.size(); }

  Bench bench_;
  int fd_ = -1;
  std::uint64_t file_ = 0;
  std::vector<conntrack::Effect> effects_;
};

TEST_F(Datagrams, RefusedUnlessARuleNamesThem) {
  EXPECT_EQ(verb(Bench::create_qp_call(QpType::kUd)), failed(EACCES));
  EXPECT_EQ(verb(create_ah_call(AgentWorld::peer_virtual_gid())), failed(EACCES));
  EXPECT_EQ(bench_.kernel.nic.addresses(), 0U);
  allow_ud(true);
  EXPECT_EQ(verb(Bench::create_qp_call(QpType::kUd)), returned(0));
  EXPECT_NE(make_ah(AgentWorld::peer_virtual_gid()), UINT32_MAX);
}

TEST_F(Datagrams, AnAddressHandleLeadsToThePhysicalPeer) {
  allow_ud(true);
  const std::uint32_t handle = make_ah(AgentWorld::peer_virtual_gid());
  ASSERT_NE(handle, UINT32_MAX);
  EXPECT_EQ(bench_.kernel.nic.address(file_, handle)->dgid, AgentWorld::peer_physical_gid());
  EXPECT_EQ(tracked(), 1U);
  EXPECT_EQ(destroy_ah(handle), returned(0));
  EXPECT_EQ(tracked(), 0U);
  EXPECT_EQ(destroy_ah(handle), failed(ENOENT));
  const std::uint32_t again = make_ah(AgentWorld::peer_virtual_gid());
  EXPECT_EQ(again, handle);
  EXPECT_EQ(destroy_ah_by_write(again), returned(0));
  EXPECT_EQ(tracked(), 0U);
  EXPECT_EQ(bench_.kernel.nic.addresses(), 0U);
}

TEST_F(Datagrams, AnAddressHandleThatCannotBeToldIsNotMade) {
  allow_ud(true);
  auto call = create_ah_call(AgentWorld::peer_virtual_gid());
  auto header = call.place(bench_.kernel, bench_.process);
  std::uint64_t nowhere = 0xdead0000;
  // write_form puts the command first, then CORE_IN and CORE_OUT.
  bench_.kernel.poke(bench_.process, header + kHeaderSize + 2 * kAttrSize + 8,
                     std::as_bytes(std::span(&nowhere, 1)));
  EXPECT_EQ(bench_.trap(bench_.process, SYS_ioctl,
                        {static_cast<std::uint64_t>(fd_), kVerbsIoctl, header}),
            failed(EFAULT));
  EXPECT_EQ(bench_.kernel.nic.addresses(), 0U);
  EXPECT_EQ(tracked(), 0U);
}

TEST_F(Datagrams, TheKernelsRefusalLeavesNothing) {
  allow_ud(true);
  bench_.kernel.nic.fail_next("CREATE_AH", ENOMEM);
  EXPECT_EQ(verb(create_ah_call(AgentWorld::peer_virtual_gid())), failed(ENOMEM));
  EXPECT_EQ(tracked(), 0U);
}

TEST_F(Datagrams, ACutHandleStaysTheProgramsUntilItGivesItUp) {
  allow_ud(true);
  const std::uint32_t old = make_ah(AgentWorld::peer_virtual_gid());
  allow_ud(false);
  carry_out();
  EXPECT_EQ(bench_.kernel.nic.addresses(), 0U);
  EXPECT_EQ(tracked(), 0U);
  EXPECT_EQ(make_ah(AgentWorld::peer_virtual_gid()), UINT32_MAX);
  allow_ud(true);
  // The kernel would give the same handle.
  const std::uint32_t fresh = make_ah(AgentWorld::peer_virtual_gid());
  ASSERT_NE(fresh, UINT32_MAX);
  EXPECT_NE(fresh, old);
  EXPECT_EQ(destroy_ah(old), returned(0));
  EXPECT_TRUE(bench_.kernel.nic.address(file_, fresh));
  EXPECT_EQ(bench_.kernel.nic.addresses(), 1U);
  EXPECT_EQ(tracked(), 1U);
  EXPECT_EQ(destroy_ah(fresh), returned(0));
  EXPECT_EQ(bench_.kernel.nic.addresses(), 0U);
}

TEST_F(Datagrams, ACutHandleCanBeGivenUpAtOnce) {
  allow_ud(true);
  const std::uint32_t old = make_ah(AgentWorld::peer_virtual_gid());
  allow_ud(false);
  carry_out();
  EXPECT_EQ(destroy_ah_by_write(old), returned(0));
  EXPECT_EQ(destroy_ah_by_write(old), failed(ENOENT));
}

TEST_F(Datagrams, AUdQpEndsWithTheLastRuleForIt) {
  allow_ud(true);
  auto create = Bench::create_qp_call(QpType::kUd);
  ASSERT_EQ(verb(create), returned(0));
  const auto handle = static_cast<std::uint32_t>(create.data(attr::kCreateQpHandle));
  ModifyQp init;
  init.qp_handle = handle;
  init.attr_mask = qp_mask::kState;
  init.state = QpState::kInit;
  ASSERT_EQ(verb(Bench::modify_call(init)), returned(0));
  allow_ud(false);
  carry_out();
  EXPECT_EQ(bench_.kernel.nic.find(file_, handle)->attributes.state, QpState::kErr);
}

}  // namespace
}  // namespace qmasq::test
