// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstring>

#include "tests/unit/intercept/tenant.h"
#include "vbond/uverbs/device.h"

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

class Verbs : public ::testing::Test {
 protected:
  void SetUp() override {
    fd_ = bench_.open_device(bench_.process);
    ASSERT_GE(fd_, 0);
    file_ = bench_.kernel.file_of(bench_.process, fd_);
  }
  CallResult verb(TenantCall&& call) { return bench_.verb(bench_.process, fd_, call); }
  CallResult verb(TenantCall& call) { return bench_.verb(bench_.process, fd_, call); }
  double counted(const std::string& name, const std::string& verdict) {
    return bench_.world.metric("qmasq_vbond_verbs_total", {{"verb", name}, {"verdict", verdict}});
  }

  Bench bench_;
  int fd_ = -1;
  std::uint64_t file_ = 0;
};

TEST_F(Verbs, RtrGoesToThePhysicalPeer) {
  auto handle = bench_.make_qp(bench_.process, fd_);
  auto call = Bench::modify_call(to_rtr(handle, AgentWorld::peer_virtual_gid()));
  EXPECT_EQ(verb(call), returned(0));
  auto qp = bench_.kernel.nic.find(file_, handle);
  ASSERT_TRUE(qp);
  EXPECT_EQ(qp->attributes.dest.dgid, AgentWorld::peer_physical_gid());
  EXPECT_EQ(qp->attributes.dest_qpn.value, 99U);
  // The tenant's own memory is as it was.
  auto seen = decode_modify_qp(
      bench_.kernel.peek(bench_.process, call.out_address(attr::kCoreIn), kModifyQpSize),
      Form::kWrite);
  EXPECT_EQ(seen->dest.dgid, AgentWorld::peer_virtual_gid());
  EXPECT_EQ(bench_.world.connections.counts().connected, 1U);
}

TEST_F(Verbs, QueryShowsTheVirtualSide) {
  auto handle = bench_.make_qp(bench_.process, fd_);
  ASSERT_EQ(verb(Bench::modify_call(to_rtr(handle, AgentWorld::peer_virtual_gid()))), returned(0));
  std::array<std::byte, kQueryQpSize> core_in{};
  ASSERT_TRUE(encode_query_qp({handle, qp_mask::kAv}, core_in));
  auto call = TenantCall::write_form(WriteCommand::kQueryQp);
  call.in(attr::kCoreIn, core_in).out(attr::kCoreOut, kQueryQpRespSize);
  EXPECT_EQ(verb(call), returned(0));
  auto answer = decode_query_qp_resp(call.out_bytes(attr::kCoreOut));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->dest.dgid, AgentWorld::peer_virtual_gid());
  EXPECT_EQ(answer->dest.sgid_index, 1);
  EXPECT_NE(call.flags(attr::kCoreOut) & kAttrValidOutput, 0);
}

TEST_F(Verbs, RefusesAPeerOfNoVpcOfOurs) {
  auto handle = bench_.make_qp(bench_.process, fd_);
  auto nobody = Gid::from_ip(parse_ip("10.0.0.77").value());
  EXPECT_EQ(verb(Bench::modify_call(to_rtr(handle, nobody))), failed(EHOSTUNREACH));
  EXPECT_EQ(bench_.kernel.nic.calls("MODIFY_QP"), 0U);
  EXPECT_EQ(counted("MODIFY_QP", "refused"), 1);
}

TEST_F(Verbs, TellsHandleNumberAndSizesOfANewQp) {
  auto call = Bench::create_qp_call(QpType::kRc);
  EXPECT_EQ(verb(call), returned(0));
  auto handle = static_cast<std::uint32_t>(call.data(attr::kCreateQpHandle));
  auto qp = bench_.kernel.nic.find(file_, handle);
  ASSERT_TRUE(qp);
  std::uint32_t qpn = 0;
  std::memcpy(&qpn, call.out_bytes(attr::kCreateQpRespQpn).data(), 4);
  EXPECT_EQ(qpn, qp->qpn);
  EXPECT_NE(call.flags(attr::kCreateQpRespQpn) & kAttrValidOutput, 0);
  EXPECT_EQ(call.out_bytes(attr::kCreateQpRespCap)[0], std::byte{16});
  auto connection = bench_.world.connections.find({1, handle});
  ASSERT_TRUE(connection);
  EXPECT_EQ(connection->qpn.value, qpn);
  EXPECT_EQ(connection->type, QpType::kRc);
}

TEST_F(Verbs, OffersNoOtherTypesOfQp) {
  for (QpType type : {QpType::kRawPacket, QpType::kDriver, static_cast<QpType>(1)}) {
    EXPECT_EQ(verb(Bench::create_qp_call(type)), failed(EOPNOTSUPP));
  }
  EXPECT_EQ(bench_.kernel.nic.queue_pairs(), 0U);
}

TEST_F(Verbs, LendsNoCapability) {
  auto call = Bench::create_qp_call(QpType::kRc);
  call.number(attr::kCreateQpSourceQpn, 5, 4);
  EXPECT_EQ(verb(call), failed(EPERM));
  EXPECT_EQ(bench_.kernel.nic.queue_pairs(), 0U);
}

TEST_F(Verbs, ForgetsWhatIsDestroyed) {
  auto handle = bench_.make_qp(bench_.process, fd_);
  TenantCall call(Object::kQp, 1);
  call.handle(attr::kDestroyQpHandle, handle).out(attr::kDestroyQpResp, 4);
  EXPECT_EQ(verb(call), returned(0));
  EXPECT_EQ(bench_.kernel.nic.queue_pairs(), 0U);
  EXPECT_EQ(bench_.world.connections.counts().total, 0U);
  EXPECT_EQ(bench_.world.metric("qmasq_vbond_queue_pairs"), 0);
  EXPECT_EQ(verb(TenantCall(Object::kQp, 1)
                     .handle(attr::kDestroyQpHandle, handle)
                     .out(attr::kDestroyQpResp, 4)),
            failed(ENOENT));
}

TEST_F(Verbs, AQpThatCannotBeToldIsNotMade) {
  auto call = Bench::create_qp_call(QpType::kRc);
  auto header = call.place(bench_.kernel, bench_.process);
  // The answer's pointer leads nowhere; attribute 8 is the QP number.
  std::uint64_t nowhere = 0xdead0000;
  bench_.kernel.poke(bench_.process, header + kHeaderSize + 8 * kAttrSize + 8,
                     std::as_bytes(std::span(&nowhere, 1)));
  EXPECT_EQ(bench_.trap(bench_.process, SYS_ioctl,
                        {static_cast<std::uint64_t>(fd_), kVerbsIoctl, header}),
            failed(EFAULT));
  EXPECT_EQ(bench_.kernel.nic.queue_pairs(), 0U);
  EXPECT_EQ(bench_.world.connections.counts().total, 0U);
}

TEST_F(Verbs, ShowsNothingOfTheNicThatTellsItsAddress) {
  std::array<std::byte, 8> core_in{};
  auto device = TenantCall::write_form(WriteCommand::kQueryDevice);
  device.in(attr::kCoreIn, core_in).out(attr::kCoreOut, kQueryDeviceRespSize);
  EXPECT_EQ(verb(device), returned(0));
  auto answer = decode_query_device_resp(device.out_bytes(attr::kCoreOut));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->node_guid, bench_.world.endpoints.find(AgentWorld::kEndpoint)->guid);
  EXPECT_EQ(answer->sys_image_guid, answer->node_guid);
  EXPECT_NE(answer->node_guid, StubNic::kPhysicalGuid);

  TenantCall port(Object::kDevice, kMethodQueryPort);
  port.number(attr::kQueryPortNum, 1).out(attr::kQueryPortResp, kQueryPortRespExSize);
  EXPECT_EQ(verb(port), returned(0));
  EXPECT_EQ(decode_query_port_resp(port.out_bytes(attr::kQueryPortResp))->gid_tbl_len, 2U);
}

TEST_F(Verbs, AnswersGidsWithoutTheKernel) {
  TenantCall call(Object::kDevice, kMethodQueryGidEntry);
  call.number(attr::kGidEntryPort, 1)
      .number(attr::kGidEntryIndex, 1)
      .number(attr::kGidEntryFlags, 0, 4)
      .out(attr::kGidEntryResp, kGidEntrySize);
  EXPECT_EQ(verb(call), returned(0));
  auto entry = decode_gid_entry(call.out_bytes(attr::kGidEntryResp));
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->gid, AgentWorld::virtual_gid());
  EXPECT_NE(call.flags(attr::kGidEntryResp) & kAttrValidOutput, 0);
  EXPECT_EQ(counted("QUERY_GID_ENTRY", "answered"), 1);

  auto bad = [&](std::uint64_t port, std::uint64_t index, std::uint64_t flags) {
    return verb(TenantCall(Object::kDevice, kMethodQueryGidEntry)
                    .number(attr::kGidEntryPort, port)
                    .number(attr::kGidEntryIndex, index)
                    .number(attr::kGidEntryFlags, flags, 4)
                    .out(attr::kGidEntryResp, kGidEntrySize));
  };
  EXPECT_EQ(bad(2, 0, 0), failed(EINVAL));
  EXPECT_EQ(bad(1, 2, 0), failed(EINVAL));
  EXPECT_EQ(bad(1, 0, 1), failed(EINVAL));
}

TEST_F(Verbs, AnswersTheGidTable) {
  auto table = [](std::uint64_t entry_size, std::size_t room) {
    TenantCall call(Object::kDevice, kMethodQueryGidTable);
    call.number(attr::kGidTableEntrySize, entry_size)
        .number(attr::kGidTableFlags, 0, 4)
        .out(attr::kGidTableRespEntries, room)
        .out(attr::kGidTableRespNumEntries, 8);
    return call;
  };
  auto call = table(kGidEntrySize, 10 * kGidEntrySize);
  EXPECT_EQ(verb(call), returned(0));
  std::uint64_t count = 0;
  std::memcpy(&count, call.out_bytes(attr::kGidTableRespNumEntries).data(), 8);
  EXPECT_EQ(count, 2U);
  auto bytes = call.out_bytes(attr::kGidTableRespEntries);
  EXPECT_EQ(decode_gid_entry(std::span(bytes).subspan(kGidEntrySize))->gid,
            AgentWorld::virtual_gid());
  EXPECT_EQ(bytes[2 * kGidEntrySize], std::byte{0xee});  // beyond the answer: untouched
  EXPECT_EQ(verb(table(0, 64)), failed(EINVAL));
  EXPECT_EQ(verb(table(kGidEntrySize, kGidEntrySize)), failed(EINVAL));  // no room for two
}

TEST_F(Verbs, RefusesWhatIsNotOfferedByName) {
  EXPECT_EQ(verb(TenantCall(Object::kFlowAction, 0)), failed(EOPNOTSUPP));
  EXPECT_EQ(verb(TenantCall(static_cast<Object>(77), 3)), failed(EOPNOTSUPP));
  EXPECT_EQ(counted("CREATE_FLOW_ACTION_ESP", "refused"), 1);
  EXPECT_EQ(counted("UNKNOWN", "refused"), 1);
  EXPECT_EQ(bench_.world.last_event(vbond::EventType::kRefused).verb, "UNKNOWN");
}

TEST_F(Verbs, LetsNoFileOfTheAgentIntoAnXrcDomain) {
  auto open = [](std::int32_t fd) {
    std::array<std::byte, 16> core_in{};
    std::memcpy(core_in.data() + 8, &fd, 4);
    auto call = TenantCall::write_form(WriteCommand::kOpenXrcd);
    call.in(attr::kCoreIn, core_in).out(attr::kCoreOut, 4);
    return call;
  };
  EXPECT_EQ(verb(open(3)), failed(EOPNOTSUPP));
  EXPECT_EQ(verb(open(-1)), returned(0));
}

TEST_F(Verbs, GivesTheKernelsErrorsOn) {
  auto handle = bench_.make_qp(bench_.process, fd_);
  bench_.kernel.nic.fail_next("MODIFY_QP", ENOMEM);
  EXPECT_EQ(verb(Bench::modify_call(to_rtr(handle, AgentWorld::peer_virtual_gid()))),
            failed(ENOMEM));
  EXPECT_EQ(counted("MODIFY_QP", "failed"), 1);
  EXPECT_EQ(bench_.world.connections.counts().connected, 0U);
}

TEST_F(Verbs, AnswersNobodyWhenTheTenantDiesOnTheWay) {
  auto handle = bench_.make_qp(bench_.process, fd_);
  auto call = Bench::modify_call(to_rtr(handle, AgentWorld::peer_virtual_gid()));
  bench_.kernel.die_after_next_read();
  EXPECT_EQ(verb(call).how, How::kGone);
  EXPECT_EQ(bench_.kernel.nic.calls("MODIFY_QP"), 0U);
  EXPECT_EQ(counted("UNDECODABLE", "gone") + counted("MODIFY_QP", "gone"), 1);
}

TEST_F(Verbs, FollowsDescriptorsNotNumbers) {
  bench_.kernel.dup_to(bench_.process, fd_, 3);
  EXPECT_NE(bench_.make_qp(bench_.process, 3), UINT32_MAX);
  // Another file takes the number's place.
  bench_.kernel.close_fd(bench_.process, fd_);
  bench_.kernel.open_file(bench_.process, fd_);
  EXPECT_EQ(bench_.verb(bench_.process, fd_, Bench::create_qp_call(QpType::kRc)), failed(ENOTTY));
  bench_.kernel.close_fd(bench_.process, fd_);
  EXPECT_EQ(bench_.verb(bench_.process, fd_, Bench::create_qp_call(QpType::kRc)), failed(EBADF));
  EXPECT_EQ(bench_.verb(bench_.process, -1, Bench::create_qp_call(QpType::kRc)), failed(EBADF));
  pid_t thread = bench_.kernel.add_thread(bench_.process);
  EXPECT_NE(bench_.make_qp(thread, 3), UINT32_MAX);
  pid_t child = bench_.kernel.fork(bench_.process);
  EXPECT_NE(bench_.make_qp(child, 3), UINT32_MAX);
}

TEST_F(Verbs, RefusesAVerbsDeviceThatCameFromElsewhere) {
  bench_.kernel.open_file(bench_.process, 7, FakeKernel::kVerbsDevice);
  EXPECT_EQ(bench_.verb(bench_.process, 7, Bench::create_qp_call(QpType::kRc)), failed(EOPNOTSUPP));
  EXPECT_EQ(counted("FOREIGN_DEVICE", "refused"), 1);
  EXPECT_EQ(bench_.trap(bench_.process, SYS_write, {7, 0, 32}), failed(EACCES));
}

TEST_F(Verbs, FailsClosedOnceTheEndpointIsGone) {
  auto handle = bench_.make_qp(bench_.process, fd_);
  bench_.attachment->revoke();
  EXPECT_EQ(verb(Bench::modify_call(to_rtr(handle, AgentWorld::peer_virtual_gid()))),
            failed(ENODEV));
}

TEST_F(Verbs, RingsTheDoorbell) {
  auto handle = bench_.make_qp(bench_.process, fd_);
  std::array<std::byte, kDoorbellSize> bell{};
  auto response = bench_.kernel.map(bench_.process, 4);
  ASSERT_TRUE(encode_doorbell({handle, response}, bell));
  auto at = bench_.kernel.map(bench_.process, bell);
  EXPECT_EQ(bench_.trap(bench_.process, SYS_write, {static_cast<std::uint64_t>(fd_), at, 32}),
            returned(32));
  EXPECT_EQ(bench_.kernel.nic.find(file_, handle)->rings, 1U);
  EXPECT_EQ(counted("DOORBELL", "executed"), 1);
  // Upper half of the descriptor argument: not the kernel's business, not ours.
  EXPECT_EQ(bench_.trap(bench_.process, SYS_write,
                        {0xffffffff00000000ULL | static_cast<std::uint64_t>(fd_), at, 32}),
            returned(32));
}

TEST_F(Verbs, TakesNothingElseByWrite) {
  auto write = [&](std::vector<std::byte> bytes, std::uint64_t count) {
    auto at = bench_.kernel.map(bench_.process, bytes);
    return bench_.trap(bench_.process, SYS_write, {static_cast<std::uint64_t>(fd_), at, count});
  };
  std::vector<std::byte> modify(8 + kModifyQpSize);
  std::uint32_t command = 26;
  std::uint16_t words = static_cast<std::uint16_t>(modify.size() / 4);
  std::memcpy(modify.data(), &command, 4);
  std::memcpy(modify.data() + 4, &words, 2);
  EXPECT_EQ(write(modify, modify.size()), failed(EOPNOTSUPP));
  EXPECT_EQ(counted("WRITE", "refused"), 1);
  EXPECT_EQ(write(modify, 4).err, EINVAL);
  EXPECT_EQ(bench_.trap(bench_.process, SYS_write, {static_cast<std::uint64_t>(fd_), 0, 32}),
            failed(EFAULT));
  // A plain file on a reserved number is none of ours.
  bench_.kernel.open_file(bench_.process, 1000);
  EXPECT_EQ(bench_.trap(bench_.process, SYS_write, {1000, 0, 32}).how, How::kRan);
  EXPECT_EQ(bench_.trap(bench_.process, SYS_write, {1001, 0, 32}).how, How::kRan);
}

TEST_F(Verbs, GivesHostileCallsTheKernelsErrno) {
  auto raw = [&](std::vector<std::uint16_t> halves) {
    auto at = bench_.kernel.map(bench_.process, std::as_bytes(std::span(halves)));
    return bench_.trap(bench_.process, SYS_ioctl,
                       {static_cast<std::uint64_t>(fd_), kVerbsIoctl, at});
  };
  std::vector<std::uint16_t> header(12);
  EXPECT_EQ(raw({24, 0}), failed(EFAULT));  // ends right before a page that is not there
  header[0] = 24;
  header[4] = 1;  // reserved
  EXPECT_EQ(raw(header), failed(EPROTONOSUPPORT));
  header[4] = 0;
  header[0] = 40;
  EXPECT_EQ(raw(header), failed(EINVAL));  // length of no attributes
  header[0] = 40;
  header[3] = 1;
  EXPECT_EQ(raw(header), failed(EFAULT));  // the attribute is not there
  header[0] = 0xffff;
  header[3] = 0x0fff;
  EXPECT_EQ(raw(header), failed(EINVAL));  // above a page
  EXPECT_EQ(bench_.trap(bench_.process, SYS_ioctl,
                        {static_cast<std::uint64_t>(fd_), kVerbsIoctl, ~0ULL - 8}),
            failed(EFAULT));
  // Payload pointers and lengths.
  auto call = TenantCall::write_form(WriteCommand::kModifyQp);
  call.number(attr::kCoreIn, 0xdead0000, kModifyQpSize);
  EXPECT_EQ(verb(call), failed(EFAULT));
  EXPECT_EQ(verb(TenantCall::write_form(WriteCommand::kModifyQp).number(attr::kCoreIn, 0, 8)),
            failed(ENOSPC));
  EXPECT_EQ(verb(TenantCall::write_form(WriteCommand::kModifyQp)), failed(ENOSPC));
}

}  // namespace
}  // namespace qmasq::test
