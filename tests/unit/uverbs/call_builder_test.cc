// SPDX-License-Identifier: Apache-2.0
#include "vbond/uverbs/call_builder.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>

#include "tests/unit/uverbs/wire.h"

namespace qmasq::vbond::uverbs {
namespace {

ErrnoOr<CallBuilder> build(const Wire& wire) {
  auto call = decode_call(wire.bytes());
  EXPECT_TRUE(call);
  return CallBuilder::from_call(*call, *find_verb(*call));
}

const std::byte* pointer_of(std::span<const std::byte> sealed, std::size_t index) {
  return peek<const std::byte*>(sealed, 24 + index * 16 + 8);
}

TEST(CallBuilderTest, MirrorsATenantsCall) {
  // QUERY_QP with 4 bytes of driver data inline and an optional attribute that nobody knows.
  const Wire wire = Wire::command(25)
                        .attr(0, 16, 0x7001)
                        .attr(9, 8, 0xbad, 0)
                        .attr(1, 128, 0x7002)
                        .attr(0x1000, 4, 0xffffffff04030201);
  auto built = build(wire);
  ASSERT_TRUE(built);

  auto inputs = built->inputs();
  ASSERT_EQ(inputs.size(), 1U);
  EXPECT_EQ(inputs[0].address, 0x7001U);
  ASSERT_EQ(inputs[0].bytes.size(), 16U);
  std::fill(inputs[0].bytes.begin(), inputs[0].bytes.end(), std::byte{0x5a});
  EXPECT_EQ(built->value(0x1000), 0x04030201U);
  EXPECT_TRUE(built->fds().empty());

  auto sealed = built->seal();
  ASSERT_TRUE(sealed);
  // header, WRITE_CMD, CORE_IN, CORE_OUT, UHW_IN; the unknown one is gone
  ASSERT_EQ(sealed->size(), 24U + 4 * 16);
  EXPECT_EQ(peek<std::uint16_t>(*sealed, 0), 88U);
  EXPECT_EQ(peek<std::uint16_t>(*sealed, 6), 4U);
  EXPECT_EQ(peek<std::uint32_t>(*sealed, 16), 14U);
  EXPECT_EQ(peek<std::uint64_t>(*sealed, 8), 0U);
  EXPECT_EQ(peek<std::uint64_t>(*sealed, 24 + 8), 25U);
  EXPECT_EQ(pointer_of(*sealed, 1), built->in(attr::kCoreIn).data());
  EXPECT_EQ(*pointer_of(*sealed, 1), std::byte{0x5a});
  EXPECT_EQ(pointer_of(*sealed, 2), built->out(attr::kCoreOut).data());
  auto call = decode_call(*sealed);
  ASSERT_TRUE(call);
  EXPECT_EQ(check_attrs(*call, *find_verb(*call), UnknownAttrs::kRefuse), 0);
}

TEST(CallBuilderTest, WritesBackWhatTheKernelGave) {
  const Wire wire = Wire::command(25).attr(0, 16, 0x7001).attr(9, 8, 0, 0).attr(1, 128, 0x7002);
  auto built = build(wire);
  ASSERT_TRUE(built);
  auto sealed = built->seal();
  ASSERT_TRUE(sealed);
  EXPECT_TRUE(built->write_backs(0x5000).empty());  // the kernel has set no flag yet

  // As the kernel: fill the buffer, set the flag.
  ASSERT_EQ(pointer_of(*sealed, 2), built->out(attr::kCoreOut).data());
  std::memset(built->out(attr::kCoreOut).data(), 0x77, 128);
  (*sealed)[24 + 2 * 16 + 4] = std::byte{kAttrMandatory | kAttrValidOutput};
  EXPECT_TRUE(built->valid_output(attr::kCoreOut));

  const auto backs = built->write_backs(0x5000);
  ASSERT_EQ(backs.size(), 2U);
  EXPECT_EQ(backs[0].address, 0x7002U);
  EXPECT_EQ(backs[0].bytes.size(), 128U);
  EXPECT_EQ(backs[0].bytes[127], std::byte{0x77});
  // Attribute 3 of the tenant's header (CORE_OUT was its fourth), field flags.
  EXPECT_EQ(backs[1].address, 0x5000U + 24 + 3 * 16 + 4);
  EXPECT_EQ(peek<std::uint16_t>(backs[1].bytes, 0), kAttrMandatory | kAttrValidOutput);
  EXPECT_EQ(backs[1].bytes.size(), 2U);
}

TEST(CallBuilderTest, NewHandlesAndDescriptors) {
  const Wire wire = Wire(4, 0)
                        .attr(0, 0, 0xdead)  // handle, new: whatever was in it does not count
                        .attr(2, 0, 1)
                        .attr(7, 8, 0x1122)
                        .attr(8, 20, 0x7000)
                        .attr(9, 8, 2)
                        .attr(12, 0, 33)
                        .attr(13, 20, 0x8000)
                        .attr(14, 4, 0x9000);
  auto built = build(wire);
  ASSERT_TRUE(built);
  EXPECT_EQ(built->handle(attr::kCreateQpHandle), 0U);
  EXPECT_EQ(built->handle(attr::kCreateQpPd), 1U);
  EXPECT_EQ(built->handle(attr::kCreateQpSrq), std::nullopt);
  EXPECT_EQ(built->handle(attr::kCreateQpType), std::nullopt);  // a number, no handle

  auto fds = built->fds();
  ASSERT_EQ(fds.size(), 1U);
  EXPECT_EQ(fds[0].attr_id, attr::kCreateQpEventFd);
  EXPECT_EQ(fds[0].tenant_fd, 33);
  EXPECT_EQ(built->seal().error(), EBADF);  // the tenant's number must not reach the kernel
  EXPECT_FALSE(built->set_fd(attr::kCreateQpPd, 4));
  ASSERT_TRUE(built->set_fd(attr::kCreateQpEventFd, 4));
  auto sealed = built->seal();
  ASSERT_TRUE(sealed);
  EXPECT_EQ(peek<std::int64_t>(*sealed, 24 + 5 * 16 + 8), 4);

  const std::uint64_t handle = 6;
  std::memcpy(sealed->data() + 24 + 8, &handle, 8);
  EXPECT_EQ(built->handle(attr::kCreateQpHandle), 6U);
  const auto backs = built->write_backs(0x5000);
  ASSERT_EQ(backs.size(), 1U);
  EXPECT_EQ(backs[0].address, 0x5000U + 24 + 8);
  EXPECT_EQ(peek<std::uint64_t>(backs[0].bytes, 0), 6U);
}

TEST(CallBuilderTest, ADescriptorThatIsMadeIsToldByAnotherNumber) {
  auto built = build(Wire(16, 0).attr(0, 0, 0));
  ASSERT_TRUE(built);
  EXPECT_TRUE(built->fds().empty());
  auto sealed = built->seal();
  ASSERT_TRUE(sealed);
  EXPECT_EQ(built->handle(0), std::nullopt);  // the kernel has not answered
  const std::uint64_t own = 7;
  std::memcpy(sealed->data() + 24 + 8, &own, 8);
  EXPECT_EQ(built->handle(0), 7U);
  EXPECT_TRUE(built->set_fd(0, 3));
  const auto backs = built->write_backs(0x5000);
  ASSERT_EQ(backs.size(), 1U);
  EXPECT_EQ(backs[0].address, 0x5000U + 24 + 8);
  EXPECT_EQ(peek<std::uint64_t>(backs[0].bytes, 0), 3U);
}

TEST(CallBuilderTest, PassesOnTheErrorsOfTheCheck) {
  EXPECT_EQ(build(Wire::command(30)).error(), EOPNOTSUPP);
  EXPECT_EQ(build(Wire::command(26).attr(0, 10, 0x1000)).error(), ENOSPC);
  EXPECT_EQ(build(Wire(0, 6)).error(), EINVAL);
  EXPECT_EQ(build(Wire::command(26).attr(0, 112, 0x1000).attr(9, 0, 0)).error(), EPROTONOSUPPORT);
}

TEST(CallBuilderTest, AnswersInTheKernelsPlace) {
  const Wire wire = Wire(0, 6).attr(0, 8, 1).attr(1, 8, 0).attr(2, 4, 0).attr(3, 40, 0x7000);
  auto built = build(wire);
  ASSERT_TRUE(built);
  const std::vector<std::byte> entry(32, std::byte{0x11});
  EXPECT_FALSE(built->answer(attr::kGidEntryPort, entry, true));  // an input
  EXPECT_FALSE(built->answer(77, entry, true));
  ASSERT_TRUE(built->answer(attr::kGidEntryResp, entry, true));
  auto backs = built->write_backs(0x5000);
  ASSERT_EQ(backs.size(), 2U);
  EXPECT_EQ(backs[0].address, 0x7000U);
  ASSERT_EQ(backs[0].bytes.size(), 40U);  // the tenant's larger structure, rest cleared
  EXPECT_EQ(backs[0].bytes[31], std::byte{0x11});
  EXPECT_EQ(backs[0].bytes[32], std::byte{0});
  EXPECT_EQ(backs[1].address, 0x5000U + 24 + 3 * 16 + 4);

  ASSERT_TRUE(built->answer(attr::kGidEntryResp, entry, false));
  backs = built->write_backs(0x5000);
  EXPECT_EQ(backs[0].bytes.size(), 32U);  // an array: the rest stays the tenant's
  const std::vector<std::byte> longer(50, std::byte{0x22});
  ASSERT_TRUE(built->answer(attr::kGidEntryResp, longer, false));
  EXPECT_EQ(built->write_backs(0x5000)[0].bytes.size(), 40U);
}

TEST(CallBuilderTest, LargeBuffersOutgrowTheSmallArena) {
  const Wire wire = Wire(0, 5).attr(0, 8, 32).attr(3, 8, 0x7001).attr(2, 0xffff, 0x7002);
  auto built = build(wire);
  ASSERT_TRUE(built);
  ASSERT_EQ(built->out(attr::kGidTableRespEntries).size(), 0xffffU);
  for (const std::byte byte : built->out(attr::kGidTableRespEntries)) {
    ASSERT_EQ(byte, std::byte{0});
  }
  const std::uint64_t count = 3;
  ASSERT_TRUE(
      built->answer(attr::kGidTableRespNumEntries, std::as_bytes(std::span(&count, 1)), true));
  CallBuilder moved = std::move(*built);
  auto sealed = moved.seal();
  ASSERT_TRUE(sealed);
  EXPECT_EQ(pointer_of(*sealed, 2), moved.out(attr::kGidTableRespEntries).data());
  EXPECT_EQ(*pointer_of(*sealed, 1), std::byte{3});
}

TEST(CallBuilderTest, SmallCallsSurviveAMove) {
  CallBuilder own = CallBuilder::invoke_write(26, 14);
  std::vector<std::byte> payload(112, std::byte{0x42});
  ASSERT_EQ(own.add_in(attr::kCoreIn, payload), 0);
  const CallBuilder copy = own;
  CallBuilder moved = std::move(own);
  std::fill(moved.in(attr::kCoreIn).begin(), moved.in(attr::kCoreIn).end(), std::byte{0x43});
  auto sealed = moved.seal();
  ASSERT_TRUE(sealed);
  EXPECT_EQ(pointer_of(*sealed, 1), moved.in(attr::kCoreIn).data());
  EXPECT_EQ(*pointer_of(*sealed, 1), std::byte{0x43});
  EXPECT_EQ(copy.in(attr::kCoreIn)[0], std::byte{0x42});
}

TEST(CallBuilderTest, CallsOfTheAgentsOwn) {
  CallBuilder own(3, 0, 14);
  const std::uint32_t cqe = 16;
  ASSERT_EQ(own.add_idr_new(0), 0);
  ASSERT_EQ(own.add_in(1, std::as_bytes(std::span(&cqe, 1))), 0);
  ASSERT_EQ(own.add_const(2, 0x1234), 0);
  ASSERT_EQ(own.add_in(4, std::as_bytes(std::span(&cqe, 1))), 0);
  ASSERT_EQ(own.add_fd(7, 12), 0);
  ASSERT_EQ(own.add_out(6, 4), 0);
  auto sealed = own.seal();
  ASSERT_TRUE(sealed);
  auto call = decode_call(*sealed);
  ASSERT_TRUE(call);
  EXPECT_EQ(find_verb(*call)->name, "CREATE_CQ");
  EXPECT_EQ(check_attrs(*call, *find_verb(*call), UnknownAttrs::kRefuse), 0);
  EXPECT_EQ(call->value(1), 16U);
  EXPECT_EQ(call->find(7)->fd(), 12);
  EXPECT_TRUE(own.write_backs(0x5000).empty());  // nobody else's memory is concerned
  EXPECT_TRUE(own.set_value(2, 7));
  EXPECT_EQ(own.value(2), 7U);
  EXPECT_FALSE(own.set_value(6, 7));
}

TEST(CallBuilderTest, Bounds) {
  CallBuilder own(1, 0, 14);
  const std::vector<std::byte> big(0x10000);
  EXPECT_EQ(own.add_in(0, big), EINVAL);
  EXPECT_EQ(own.add_out(0, 0x10000), EINVAL);
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(own.add_out(static_cast<std::uint16_t>(i), 0xffff), 0) << i;
  }
  EXPECT_EQ(own.add_out(16, 16), ENOMEM);  // 16 * 64 KiB are all there is
  EXPECT_EQ(own.add_in(16, std::span(big).first(16)), ENOMEM);
  for (std::uint16_t i = 16; i < 32; ++i)
    EXPECT_EQ(own.add_const(i, i), 0);
  EXPECT_EQ(own.add_const(32, 0), EINVAL);
  EXPECT_EQ(own.out(15).size(), 0xffffU);
}

// Every verb that the agent may execute, with every attribute: the sealed call is one that the
// table accepts, and no tenant address is left in it.
TEST(CallBuilderTest, EveryVerbTheAgentMayExecute) {
  constexpr std::uint64_t kTenantAddress = 0x7fff'1234'0000;
  for (const Verb& verb : all_verbs()) {
    if (verb.run_in != RunIn::kAgent && verb.run_in != RunIn::kAgentOnSoftwareNic) continue;
    SCOPED_TRACE(verb.name);
    const bool ioctl = verb.key.form == Form::kIoctl;
    const bool of_mlx5 = (verb.key.object & kDriverNamespace) != 0;
    Wire wire = ioctl ? Wire(verb.key.object, verb.key.method, of_mlx5 ? 1 : 14) : Wire(0, 0);
    for (const AttrSpec& spec : verb.attrs) {
      std::uint16_t len = std::min<std::uint16_t>(spec.max, 200);
      std::uint64_t data = kTenantAddress;
      if (!ioctl && spec.id == attr::kWriteCmd) {
        data = verb.key.method | (verb.key.form == Form::kWriteEx ? kWriteExtended : 0);
      }
      if (spec.kind == Kind::kConstIn || spec.kind == Kind::kFlagsIn || len <= 8) {
        if (spec.kind != Kind::kPtrOut && (ioctl || spec.id != attr::kWriteCmd)) data = 1;
      }
      wire.attr(spec.id, len, data);
    }
    auto built = build(wire);
    ASSERT_TRUE(built);
    for (const auto& fd : built->fds())
      EXPECT_TRUE(built->set_fd(fd.attr_id, 3));
    auto sealed = built->seal();
    ASSERT_TRUE(sealed);
    auto call = decode_call(*sealed);
    ASSERT_TRUE(call);
    EXPECT_EQ(find_verb(*call), &verb);
    EXPECT_EQ(check_attrs(*call, verb, UnknownAttrs::kRefuse), 0);
    for (std::size_t i = 0; i < call->num_attrs(); ++i) {
      EXPECT_NE(call->attr(i).data, kTenantAddress) << call->attr(i).id;
    }
  }
}

}  // namespace
}  // namespace qmasq::vbond::uverbs
