// SPDX-License-Identifier: Apache-2.0
#include "vbond/uverbs/objects.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <tuple>
#include <utility>

#include "tests/unit/uverbs/wire.h"

namespace qmasq::vbond::uverbs {
namespace {

// Builds the call, copies `payload` into the attribute, decodes.
template <typename Decode>
auto decoded(const Wire& wire, std::uint16_t id, std::span<const std::byte> payload, Decode decode)
    -> decltype(decode(std::declval<const CallBuilder&>(), std::declval<const Verb&>())) {
  auto call = decode_call(wire.bytes());
  const Verb& verb = *find_verb(*call);
  auto built = CallBuilder::from_call(*call, verb);
  if (!built) return tl::unexpected(built.error());
  if (!payload.empty()) {
    const auto in = built->in(id);
    EXPECT_EQ(in.size(), payload.size());
    std::copy_n(payload.begin(), std::min(in.size(), payload.size()), in.begin());
  }
  return decode(*built, verb);
}

// struct ib_uverbs_reg_mr: response, start at 8, length, hca_va, pd_handle at 32, access_flags.
constexpr std::uint8_t kRegMr[] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10,
                                   0x00, 0x00, 0x00, 0x7f, 0x00, 0x00, 0x00, 0x20, 0x00, 0x00,
                                   0x00, 0x00, 0x00, 0x00, 0x00, 0x30, 0x00, 0x00, 0x00, 0x7f,
                                   0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00};
constexpr RegMr kRegMrWant{0x7f0000001000, 0x2000, 0x7f0000003000, 4, 7};

TEST(RegMrTest, GoldenBytesBothWays) {
  const auto bytes = bytes_of(kRegMr);
  const Wire wire = Wire::command(9).attr(0, 40, 0x1000).attr(1, 12, 0x2000);
  EXPECT_EQ(decoded(wire, 0, bytes, decode_reg_mr), kRegMrWant);
  std::vector<std::byte> written(40, std::byte{0xee});
  ASSERT_TRUE(encode_reg_mr(kRegMrWant, written));
  EXPECT_EQ(written, bytes);
  EXPECT_EQ(decode_reg_mr_write(std::span(bytes).first(39)).error(), ENOSPC);
  EXPECT_FALSE(encode_reg_mr(kRegMrWant, std::span(written).first(39)));
}

TEST(RegMrTest, DmabufForm) {
  const auto dmabuf = [](std::uint64_t access_flags) {
    return Wire(7, 4)
        .attr(0, 0, 0)
        .attr(1, 0, 4)
        .attr(2, 8, 0x100)
        .attr(3, 8, 0x2000)
        .attr(4, 8, 0x3000)
        .attr(5, 4, 9)
        .attr(6, 8, access_flags)
        .attr(7, 4, 0x7000)
        .attr(8, 4, 0x8000);
  };
  EXPECT_EQ(decoded(dmabuf(7), 0, {}, decode_reg_mr), (RegMr{0x100, 0x2000, 0x3000, 4, 7}));
  EXPECT_EQ(decoded(dmabuf(1ULL << 32U), 0, {}, decode_reg_mr).error(), EINVAL);
}

// struct ib_uverbs_rereg_mr: response, mr_handle at 8, flags, start at 16, length, hca_va,
// pd_handle at 40, access_flags.
constexpr std::uint8_t kReregMr[] = {
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x06, 0x00, 0x00, 0x00,
    0x00, 0x10, 0x00, 0x00, 0x00, 0x7f, 0x00, 0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x30, 0x00, 0x00, 0x00, 0x7f, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00};

TEST(ReregMrTest, GoldenBytesBothWays) {
  const auto bytes = bytes_of(kReregMr);
  const ReregMr want{5, ReregMr::kPd | ReregMr::kAccess, kRegMrWant};
  EXPECT_EQ(decode_rereg_mr(bytes), want);
  std::vector<std::byte> written(48, std::byte{0xee});
  ASSERT_TRUE(encode_rereg_mr(want, written));
  EXPECT_EQ(written, bytes);
  EXPECT_EQ(decode_rereg_mr(std::span(bytes).first(47)).error(), ENOSPC);
}

TEST(CreateCqTest, AllThreeForms) {
  const auto ioctl = [] {
    return Wire(3, 0).attr(0, 0, 0).attr(1, 4, 100).attr(2, 8, 1).attr(4, 4, 2).attr(6, 4, 0x1000);
  };
  EXPECT_EQ(decoded(ioctl(), 0, {}, decode_create_cq), (CreateCq{100, 2, -1}));
  EXPECT_EQ(decoded(ioctl().attr(7, 0, 5).attr(3, 0, 9), 0, {}, decode_create_cq),
            (CreateCq{100, 2, 9}));

  // struct ib_uverbs_create_cq: response, user_handle, cqe at 16, comp_vector, comp_channel,
  // reserved.
  constexpr std::uint8_t kWrite[] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                     0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                     0x64, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
                                     0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00};
  const Wire write = Wire::command(18).attr(0, 32, 0x1000).attr(1, 8, 0x2000);
  EXPECT_EQ(decoded(write, 0, bytes_of(kWrite), decode_create_cq), (CreateCq{100, 2, -1}));

  // struct ib_uverbs_ex_create_cq: user_handle, cqe at 8, comp_vector, comp_channel, comp_mask,
  // flags, reserved.
  constexpr std::uint8_t kEx[] = {0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x64, 0x00, 0x00,
                                  0x00, 0x02, 0x00, 0x00, 0x00, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00,
                                  0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
  const Wire ex = Wire::command(0x80000012).attr(0, 32, 0x1000).attr(1, 16, 0x2000);
  auto bytes = bytes_of(kEx);
  EXPECT_EQ(decoded(ex, 0, bytes, decode_create_cq), (CreateCq{100, 2, 9}));
  bytes[20] = std::byte{1};  // comp_mask
  EXPECT_EQ(decoded(ex, 0, bytes, decode_create_cq).error(), EINVAL);
}

TEST(CreateSrqTest, AllThreeForms) {
  const auto ioctl = [](std::uint64_t type) {
    return Wire(5, 0)
        .attr(0, 0, 0)
        .attr(1, 0, 2)
        .attr(4, 8, 1)
        .attr(5, 4, 3)
        .attr(6, 4, 4)
        .attr(7, 4, 5)
        .attr(9, 8, type)
        .attr(11, 4, 0x1000)
        .attr(12, 4, 0x1000);
  };
  EXPECT_EQ(decoded(ioctl(0), 0, {}, decode_create_srq), (CreateSrq{SrqType::kBasic, 2, 3, 4}));
  EXPECT_EQ(decoded(ioctl(1), 0, {}, decode_create_srq), (CreateSrq{SrqType::kXrc, 2, 3, 4}));
  EXPECT_EQ(decoded(ioctl(1ULL << 32U), 0, {}, decode_create_srq).error(), EINVAL);

  // struct ib_uverbs_create_srq: response, user_handle, pd_handle at 16, max_wr, max_sge,
  // srq_limit.
  constexpr std::uint8_t kWrite[] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                     0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                     0x02, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00,
                                     0x04, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00};
  const Wire write = Wire::command(32).attr(0, 32, 0x1000).attr(1, 16, 0x2000);
  EXPECT_EQ(decoded(write, 0, bytes_of(kWrite), decode_create_srq),
            (CreateSrq{SrqType::kBasic, 2, 3, 4}));

  // struct ib_uverbs_create_xsrq: response, user_handle, srq_type at 16, pd_handle, max_wr,
  // max_sge, srq_limit, max_num_tags, xrcd_handle, cq_handle.
  constexpr std::uint8_t kXrc[] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00,
                                   0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
                                   0x02, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x04, 0x00,
                                   0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x06, 0x00, 0x00, 0x00,
                                   0x07, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00};
  const Wire xrc = Wire::command(39).attr(0, 48, 0x1000).attr(1, 16, 0x2000);
  EXPECT_EQ(decoded(xrc, 0, bytes_of(kXrc), decode_create_srq),
            (CreateSrq{SrqType::kXrc, 2, 3, 4}));
}

// struct ib_uverbs_open_xrcd: response, fd at 8, oflags.
constexpr std::uint8_t kOpenXrcd[] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                      0xff, 0xff, 0xff, 0xff, 0x40, 0x00, 0x00, 0x00};

TEST(OpenXrcdTest, GoldenBytesBothWays) {
  const auto bytes = bytes_of(kOpenXrcd);
  EXPECT_EQ(decode_open_xrcd(bytes), (OpenXrcd{-1, 0x40}));
  std::vector<std::byte> written(16, std::byte{0xee});
  ASSERT_TRUE(encode_open_xrcd(OpenXrcd{-1, 0x40}, written));
  EXPECT_EQ(written, bytes);
  EXPECT_EQ(decode_open_xrcd(std::span(bytes).first(15)).error(), ENOSPC);
}

// struct ib_uverbs_create_ah: response, user_handle, pd_handle at 16, reserved, attr at 24: dgid,
// flow_label at 40, sgid_index, hop_limit, traffic_class, reserved, dlid at 48, sl, src_path_bits,
// static_rate, is_global, port_num, reserved.
constexpr std::uint8_t kCreateAh[] = {
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x22, 0x11, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xa0, 0xa1, 0xa2, 0xa3,
    0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0xde, 0xbc,
    0x0a, 0x00, 0x03, 0x40, 0x68, 0x00, 0x22, 0x11, 0x05, 0x06, 0x07, 0x01, 0x01, 0x00};

TEST(CreateAhTest, GoldenBytesBothWays) {
  const auto bytes = bytes_of(kCreateAh);
  CreateAh want;
  want.user_handle = 0x1122;
  want.pd_handle = 3;
  std::uint8_t next = 0xa0;
  for (auto& byte : want.dest.dgid.raw)
    byte = next++;
  want.dest.flow_label = 0xabcde;
  want.dest.dlid = 0x1122;
  want.dest.sgid_index = 3;
  want.dest.hop_limit = 64;
  want.dest.traffic_class = 0x68;
  want.dest.sl = 5;
  want.dest.src_path_bits = 6;
  want.dest.static_rate = 7;
  want.dest.is_global = true;
  want.dest.port_num = 1;
  EXPECT_EQ(decode_create_ah(bytes), want);
  std::vector<std::byte> written(56, std::byte{0xee});
  ASSERT_TRUE(encode_create_ah(want, written));
  EXPECT_EQ(written, bytes);
  EXPECT_EQ(decode_create_ah(std::span(bytes).first(55)).error(), ENOSPC);
}

// struct ib_uverbs_destroy_cq and ib_uverbs_destroy_srq: response, handle at 8.
constexpr std::uint8_t kDestroyQueue[] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                          0x2a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};

TEST(DestroyedHandleTest, AllForms) {
  const auto queue = bytes_of(kDestroyQueue);
  const Wire cq = Wire::command(20).attr(0, 16, 0x1000).attr(1, 8, 0x2000);
  EXPECT_EQ(decoded(cq, 0, queue, decode_destroyed_handle), 42U);
  const Wire srq = Wire::command(35).attr(0, 16, 0x1000).attr(1, 4, 0x2000);
  EXPECT_EQ(decoded(srq, 0, queue, decode_destroyed_handle), 42U);
  const Wire mr = Wire::command(13).attr(0, 4, 7);  // inline
  EXPECT_EQ(decoded(mr, 0, {}, decode_destroyed_handle), 7U);
  EXPECT_EQ(decoded(Wire(3, 1).attr(0, 0, 5).attr(1, 8, 0x1000), 0, {}, decode_destroyed_handle),
            5U);
  EXPECT_EQ(decoded(Wire(7, 1).attr(0, 0, 6), 0, {}, decode_destroyed_handle), 6U);
  EXPECT_EQ(decoded(Wire(7, 1).attr(0, 0, 1ULL << 32U), 0, {}, decode_destroyed_handle).error(),
            ENOENT);
}

TEST(MadeHandleTest, OnlyWhenTheKernelGaveOne) {
  auto wire = Wire::command(18).attr(0, 32, 0x1000).attr(1, 8, 0x2000);
  auto call = decode_call(wire.bytes());
  const Verb& verb = *find_verb(*call);
  auto built = CallBuilder::from_call(*call, verb);
  ASSERT_TRUE(built);
  EXPECT_EQ(decode_made_handle(*built, verb).error(), EINVAL);
  const std::uint32_t handle = 9;
  ASSERT_TRUE(built->answer(attr::kCoreOut, std::as_bytes(std::span(&handle, 1)), true));
  EXPECT_EQ(decode_made_handle(*built, verb), 9U);
}

TEST(CompChannelTest, IsPutIntoTheWriteFormsInPlace) {
  for (const bool extended : {false, true}) {
    auto wire =
        Wire::command(18 | (extended ? kWriteExtended : 0)).attr(0, 32, 0x1000).attr(1, 16, 0x2000);
    auto call = decode_call(wire.bytes());
    const Verb& verb = *find_verb(*call);
    auto built = CallBuilder::from_call(*call, verb);
    ASSERT_TRUE(built);
    const std::vector<std::byte> before(built->in(attr::kCoreIn).begin(),
                                        built->in(attr::kCoreIn).end());
    ASSERT_TRUE(set_comp_channel(*built, verb, 77));
    EXPECT_EQ(decode_create_cq(*built, verb)->comp_channel, 77);
    // Nothing beside it.
    const auto after = built->in(attr::kCoreIn);
    const auto changed = std::mismatch(before.begin(), before.end(), after.begin());
    EXPECT_EQ(changed.second - after.begin(), extended ? 16 : 24);
    EXPECT_TRUE(std::equal(before.begin() + (extended ? 20 : 28), before.end(),
                           after.begin() + (extended ? 20 : 28)));
  }
}

// The handle is all there is in these.
TEST(DestroyTest, WhatQuotasDoNotCount) {
  const std::uint8_t raw[] = {9, 0, 0, 0};
  const auto bytes = bytes_of(raw);
  for (const std::uint32_t command : {4, 16, 38})  // DEALLOC_PD, DEALLOC_MW, CLOSE_XRCD
    EXPECT_EQ(decoded(Wire::command(command).attr(0, 4, 9), 0, bytes, decode_destroyed_handle), 9U);
  for (const std::uint16_t object : {1, 8, 10})
    EXPECT_EQ(decoded(Wire(object, 0).attr(0, 0, 9), 0, {}, decode_destroyed_handle), 9U);
  EXPECT_EQ(decoded(Wire(0x1008, 0x1001, 1).attr(0x1000, 0, 9), 0, {}, decode_destroyed_handle),
            9U);
  EXPECT_EQ(decoded(Wire(1, 0).attr(0, 0, 1ULL << 32U), 0, {}, decode_destroyed_handle).error(),
            ENOENT);
}

TEST(MadeFdTest, IsReadAndToldInBothForms) {
  const Wire wire = Wire::command(17).attr(0, 8, 0x1000).attr(1, 4, 0x2000);
  auto call = decode_call(wire.bytes());
  ASSERT_TRUE(call);
  const Verb& verb = *find_verb(*call);
  auto built = CallBuilder::from_call(*call, verb);
  ASSERT_TRUE(built);
  EXPECT_EQ(decode_made_fd(*built, verb).error(), EINVAL);  // nobody has answered
  const std::int32_t fd = 5;
  ASSERT_TRUE(built->answer(attr::kCoreOut, std::as_bytes(std::span(&fd, 1)), true));
  EXPECT_EQ(decode_made_fd(*built, verb), 5);
  EXPECT_TRUE(set_made_fd(*built, verb, 6));
  EXPECT_EQ(decode_made_fd(*built, verb), 6);
  const std::int32_t none = -1;
  ASSERT_TRUE(built->answer(attr::kCoreOut, std::as_bytes(std::span(&none, 1)), true));
  EXPECT_EQ(decode_made_fd(*built, verb).error(), EINVAL);
}

TEST(AdviseMrTest, NobodyWaitsForPages) {
  for (const std::uint64_t flags : {1U, 3U, 2U}) {
    const auto left =
        decoded(Wire(7, 2).attr(0, 0, 4).attr(1, 8, 0).attr(2, 4, flags).attr(3, 16, 0x1000), 0, {},
                [](const CallBuilder& call, const Verb& /*verb*/) {
                  CallBuilder copy = call;
                  clear_advice_to_wait(copy);
                  return ErrnoOr<std::uint64_t>(copy.value(2).value_or(99));
                });
    EXPECT_EQ(left, flags & 2U) << flags;
  }
}

TEST(ModifySrqTest, ThePlaceOfTheQueueIsRedirected) {
  const auto wire = [](std::uint16_t size, std::uint64_t data) {
    return Wire::command(33).attr(0, 16, 0x1000).attr(attr::kUhwIn, size, data);
  };
  const auto redirected = [](const Wire& call_wire, DriverId driver) {
    auto call = decode_call(call_wire.bytes());
    auto built = CallBuilder::from_call(*call, *find_verb(*call));
    EXPECT_TRUE(built);
    auto was = redirect_queue_place(*built, driver, 0xa9e47);
    return std::pair(was, built->value(attr::kUhwIn));
  };
  auto [was, now] = redirected(wire(8, 0x7f0000001000), DriverId::kRxe);
  ASSERT_TRUE(was && was->has_value());
  EXPECT_EQ(**was, 0x7f0000001000U);
  EXPECT_EQ(now, 0xa9e47U);
  // Too short to be one, and none at all: nothing may be left that a driver could take for one.
  EXPECT_EQ(redirected(wire(4, 0x1000), DriverId::kRxe).first.error(), EINVAL);
  const auto none = redirected(Wire::command(33).attr(0, 16, 0x1000), DriverId::kRxe).first;
  EXPECT_TRUE(none && !none->has_value());
  std::tie(was, now) = redirected(wire(8, 0x7f0000001000), DriverId::kSiw);
  EXPECT_TRUE(was && !was->has_value());
  EXPECT_EQ(now, 0U);
}

}  // namespace
}  // namespace qmasq::vbond::uverbs
