// SPDX-License-Identifier: Apache-2.0
#include "vbond/uverbs/qp.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "tests/unit/uverbs/wire.h"

namespace qmasq::vbond::uverbs {
namespace {

// struct ib_uverbs_ex_modify_qp: ib_uverbs_modify_qp (112 bytes), rate_limit, reserved.
constexpr std::uint8_t kModify[] = {
    // dest at 0: dgid[16], flow_label, dlid, reserved, sgid_index, hop_limit, traffic_class, sl,
    // src_path_bits, static_rate, is_global, port_num
    0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf,
    0xde, 0xbc, 0x0a, 0x00, 0x22, 0x11, 0x00, 0x00, 0x03, 0x40, 0x68, 0x05, 0x06, 0x07, 0x01, 0x01,
    // alt_dest at 32
    0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xbb, 0xbc, 0xbd, 0xbe, 0xbf,
    0x45, 0x23, 0x01, 0x00, 0x44, 0x33, 0x00, 0x00, 0x04, 0x41, 0x69, 0x08, 0x09, 0x0a, 0x00, 0x02,
    // qp_handle at 64, attr_mask, qkey, rq_psn, sq_psn at 80, dest_qp_num, qp_access_flags,
    // pkey_index, alt_pkey_index
    0x04, 0x03, 0x02, 0x01, 0x81, 0x11, 0x12, 0x00, 0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x22, 0x00,
    0x33, 0x33, 0x33, 0x00, 0x44, 0x44, 0x44, 0x00, 0x0f, 0x00, 0x00, 0x00, 0x66, 0x55, 0x88, 0x77,
    // qp_state at 96, cur_qp_state, path_mtu, path_mig_state, en_sqd_async_notify, max_rd_atomic,
    // max_dest_rd_atomic, min_rnr_timer, port_num, timeout, retry_cnt, rnr_retry, alt_port_num,
    // alt_timeout, reserved[2]
    0x02, 0x01, 0x03, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x00, 0x00,
    // rate_limit at 112, reserved
    0x01, 0xfe, 0xca, 0x00, 0x00, 0x00, 0x00, 0x00};

Gid counting_gid(std::uint8_t first) {
  Gid out;
  for (auto& byte : out.raw)
    byte = first++;
  return out;
}

QpDest golden_dest() {
  return {counting_gid(0xa0), 0xabcde, 0x1122, 3, 64, 0x68, 5, 6, 7, true, 1};
}
QpDest golden_alt_dest() {
  return {counting_gid(0xb0), 0x12345, 0x3344, 4, 65, 0x69, 8, 9, 10, false, 2};
}

ModifyQp golden_modify() {
  ModifyQp out;
  out.dest = golden_dest();
  out.alt_dest = golden_alt_dest();
  out.qp_handle = 0x01020304;
  // What ibv_rc_pingpong sets on the way to RTR, without MAX_DEST_RD_ATOMIC and MIN_RNR_TIMER.
  out.attr_mask = qp_mask::kState | qp_mask::kAv | qp_mask::kPathMtu | qp_mask::kRqPsn |
                  qp_mask::kDestQpn | qp_mask::kMaxDestRdAtomic;
  out.qkey = 0x11111111;
  out.rq_psn = 0x222222;
  out.sq_psn = 0x333333;
  out.dest_qpn = Qpn{0x444444};
  out.access_flags =
      access::kLocalWrite | access::kRemoteWrite | access::kRemoteRead | access::kRemoteAtomic;
  out.pkey_index = 0x5566;
  out.alt_pkey_index = 0x7788;
  out.state = QpState::kRtr;
  out.cur_state = QpState::kInit;
  out.path_mtu = 3;
  out.path_mig_state = 0x10;
  out.en_sqd_async_notify = 0x11;
  out.max_rd_atomic = 0x12;
  out.max_dest_rd_atomic = 0x13;
  out.min_rnr_timer = 0x14;
  out.port_num = 0x15;
  out.timeout = 0x16;
  out.retry_count = 0x17;
  out.rnr_retry = 0x18;
  out.alt_port_num = 0x19;
  out.alt_timeout = 0x1a;
  return out;
}

TEST(ModifyQpTest, GoldenBytesBothWays) {
  const auto bytes = bytes_of(kModify);
  auto plain = decode_modify_qp(std::span(bytes).first(112), Form::kWrite);
  ASSERT_TRUE(plain);
  EXPECT_EQ(*plain, golden_modify());
  EXPECT_TRUE(plain->goes_to(QpState::kRtr));
  EXPECT_FALSE(plain->goes_to(QpState::kRts));
  std::vector<std::byte> written(112, std::byte{0xee});
  ASSERT_TRUE(encode_modify_qp(*plain, Form::kWrite, written));
  EXPECT_TRUE(std::equal(written.begin(), written.end(), bytes.begin()));

  ModifyQp with_rate = golden_modify();
  with_rate.rate_limit = 0xcafe01;
  auto ex = decode_modify_qp(bytes, Form::kWriteEx);
  ASSERT_TRUE(ex);
  EXPECT_EQ(*ex, with_rate);
  written.assign(120, std::byte{0xee});
  ASSERT_TRUE(encode_modify_qp(*ex, Form::kWriteEx, written));
  EXPECT_EQ(written, bytes);
}

TEST(ModifyQpTest, SizesAsTheKernelTakesThem) {
  auto bytes = bytes_of(kModify);
  for (std::size_t size = 0; size < 112; ++size) {
    for (const Form form : {Form::kWrite, Form::kWriteEx}) {
      auto got = decode_modify_qp(std::span(bytes).first(size), form);
      ASSERT_FALSE(got) << size;
      EXPECT_EQ(got.error(), ENOSPC) << size;
    }
  }
  // The extended form may stop after the base; the rest counts as zero.
  auto base_only = decode_modify_qp(std::span(bytes).first(112), Form::kWriteEx);
  ASSERT_TRUE(base_only);
  EXPECT_EQ(base_only->rate_limit, 0U);
  // A longer request is fine when its surplus is zero: the plain form does not know rate_limit.
  EXPECT_EQ(decode_modify_qp(bytes, Form::kWrite).error(), EOPNOTSUPP);
  bytes.resize(200);
  EXPECT_TRUE(decode_modify_qp(bytes, Form::kWriteEx));
  bytes.back() = std::byte{1};
  EXPECT_EQ(decode_modify_qp(bytes, Form::kWriteEx).error(), EOPNOTSUPP);
}

TEST(ModifyQpTest, RefusesUnknownBitsAndStates) {
  const auto with = [](std::size_t at, std::uint32_t value, Form form) {
    auto bytes = bytes_of(kModify);
    std::memcpy(bytes.data() + at, &value, sizeof(value));
    auto got = decode_modify_qp(
        std::span(bytes).first(form == Form::kWrite ? kModifyQpSize : kExModifyQpSize), form);
    return got ? 0 : got.error();
  };
  EXPECT_EQ(with(68, 1U << 21, Form::kWrite), EOPNOTSUPP);
  EXPECT_EQ(with(68, 1U << 21, Form::kWriteEx), EOPNOTSUPP);
  EXPECT_EQ(with(68, qp_mask::kRateLimit, Form::kWrite), EOPNOTSUPP);
  EXPECT_EQ(with(68, qp_mask::kRateLimit, Form::kWriteEx), 0);
  EXPECT_EQ(with(68, qp_mask::kStandard, Form::kWrite), 0);
  EXPECT_EQ(with(96, 7, Form::kWrite), EINVAL);  // state beyond ERR, and kState is set
  EXPECT_EQ(with(96, 6, Form::kWrite), 0);
}

TEST(ModifyQpTest, UnusedStateFieldsMayHoldAnything) {
  auto bytes = bytes_of(kModify);
  const std::uint32_t mask = qp_mask::kAccessFlags;
  std::memcpy(bytes.data() + 68, &mask, sizeof(mask));
  bytes[96] = std::byte{0xff};
  auto got = decode_modify_qp(std::span(bytes).first(112), Form::kWrite);
  ASSERT_TRUE(got);
  EXPECT_FALSE(got->goes_to(QpState::kRtr));
}

TEST(ModifyQpTest, EncodeNeedsRoom) {
  std::vector<std::byte> room(111);
  EXPECT_FALSE(encode_modify_qp(golden_modify(), Form::kWrite, room));
  EXPECT_FALSE(encode_modify_qp(golden_modify(), Form::kWriteEx, room));
  room.resize(112);
  EXPECT_TRUE(encode_modify_qp(golden_modify(), Form::kWriteEx, room));
  // A rate that would be lost is not dropped in silence.
  ModifyQp with_rate = golden_modify();
  with_rate.attr_mask |= qp_mask::kRateLimit;
  EXPECT_FALSE(encode_modify_qp(with_rate, Form::kWriteEx, room));
}

// struct ib_uverbs_query_qp: response, qp_handle at 8, attr_mask.
constexpr std::uint8_t kQuery[] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                   0x04, 0x03, 0x02, 0x01, 0xff, 0xff, 0x1f, 0x00};

TEST(QueryQpTest, GoldenRequest) {
  const auto bytes = bytes_of(kQuery);
  auto got = decode_query_qp(bytes);
  ASSERT_TRUE(got);
  EXPECT_EQ(*got, (QueryQp{0x01020304, qp_mask::kStandard}));
  std::vector<std::byte> written(16, std::byte{0xee});
  ASSERT_TRUE(encode_query_qp(*got, written));
  EXPECT_EQ(written, bytes);
  EXPECT_EQ(decode_query_qp(std::span(bytes).first(15)).error(), ENOSPC);
}

// struct ib_uverbs_query_qp_resp
constexpr std::uint8_t kQueryResp[] = {
    // dest at 0, alt_dest at 32
    0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf,
    0xde, 0xbc, 0x0a, 0x00, 0x22, 0x11, 0x00, 0x00, 0x03, 0x40, 0x68, 0x05, 0x06, 0x07, 0x01, 0x01,
    0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xbb, 0xbc, 0xbd, 0xbe, 0xbf,
    0x45, 0x23, 0x01, 0x00, 0x44, 0x33, 0x00, 0x00, 0x04, 0x41, 0x69, 0x08, 0x09, 0x0a, 0x00, 0x02,
    // max_send_wr at 64, max_recv_wr, max_send_sge, max_recv_sge, max_inline_data at 80, qkey,
    // rq_psn, sq_psn
    0x00, 0x01, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00,
    0x50, 0x00, 0x00, 0x00, 0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x22, 0x00, 0x33, 0x33, 0x33, 0x00,
    // dest_qp_num at 96, qp_access_flags, pkey_index, alt_pkey_index, qp_state at 108,
    // cur_qp_state, path_mtu, path_mig_state, sq_draining, max_rd_atomic, max_dest_rd_atomic,
    // min_rnr_timer, port_num, timeout, retry_cnt, rnr_retry, alt_port_num, alt_timeout,
    // sq_sig_all, reserved[5]
    0x44, 0x44, 0x44, 0x00, 0x0e, 0x00, 0x00, 0x00, 0x66, 0x55, 0x88, 0x77, 0x03, 0x02, 0x04, 0x05,
    0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00};

TEST(QueryQpTest, GoldenResponseBothWays) {
  const auto bytes = bytes_of(kQueryResp);
  auto got = decode_query_qp_resp(bytes);
  ASSERT_TRUE(got);
  QueryQpResp want;
  want.dest = golden_dest();
  want.alt_dest = golden_alt_dest();
  want.cap = {0x100, 0x200, 3, 4, 0x50};
  want.qkey = 0x11111111;
  want.rq_psn = 0x222222;
  want.sq_psn = 0x333333;
  want.dest_qpn = Qpn{0x444444};
  want.access_flags = 0xe;
  want.pkey_index = 0x5566;
  want.alt_pkey_index = 0x7788;
  want.state = QpState::kRts;
  want.cur_state = QpState::kRtr;
  want.path_mtu = 4;
  want.path_mig_state = 5;
  want.sq_draining = 6;
  want.max_rd_atomic = 7;
  want.max_dest_rd_atomic = 8;
  want.min_rnr_timer = 9;
  want.port_num = 10;
  want.timeout = 11;
  want.retry_count = 12;
  want.rnr_retry = 13;
  want.alt_port_num = 14;
  want.alt_timeout = 15;
  want.sq_sig_all = 1;
  EXPECT_EQ(*got, want);
  std::vector<std::byte> written(128, std::byte{0xee});
  ASSERT_TRUE(encode_query_qp_resp(*got, written));
  EXPECT_EQ(written, bytes);
  EXPECT_EQ(decode_query_qp_resp(std::span(bytes).first(127)).error(), EINVAL);
  EXPECT_FALSE(encode_query_qp_resp(*got, std::span(written).first(127)));
}

// struct ib_uverbs_create_qp: response, user_handle at 8, pd, send_cq, recv_cq, srq at 28, five
// caps at 32, sq_sig_all at 52, qp_type, is_srq, reserved.
constexpr std::uint8_t kCreate[] = {
    0x11, 0x11, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33,
    0x22, 0x11, 0x01, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00,
    0x04, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x06, 0x00, 0x00, 0x00, 0x07, 0x00,
    0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x09, 0x00, 0x00, 0x00, 0x01, 0x02, 0x01, 0x00};

// struct ib_uverbs_ex_create_qp: the same without response, then comp_mask at 48, create_flags,
// rwq_ind_tbl_handle, source_qpn.
constexpr std::uint8_t kCreateEx[] = {
    0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x01, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
    0x03, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x06, 0x00, 0x00, 0x00,
    0x07, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x09, 0x00, 0x00, 0x00, 0x01, 0x04, 0x00, 0x00,
    0x01, 0x00, 0x00, 0x00, 0x02, 0x04, 0x00, 0x00, 0x0a, 0x00, 0x00, 0x00, 0x0b, 0x00, 0x00, 0x00};

TEST(CreateQpTest, GoldenWriteForm) {
  const auto bytes = bytes_of(kCreate);
  auto got = decode_create_qp_write(bytes, Form::kWrite);
  ASSERT_TRUE(got);
  CreateQp want;
  want.type = QpType::kRc;
  want.user_handle = 0x1122334455667788;
  want.pd = 1;
  want.send_cq = 2;
  want.recv_cq = 3;
  want.srq = 4;
  want.cap = {5, 6, 7, 8, 9};
  want.sq_sig_all = true;
  EXPECT_EQ(*got, want);
  std::vector<std::byte> written(56, std::byte{0xee});
  ASSERT_TRUE(encode_create_qp_write(*got, Form::kWrite, written));
  // `response` is the kernel's affair by write() only; it is not kept.
  auto without_response = bytes;
  std::fill_n(without_response.begin(), 8, std::byte{0});
  EXPECT_EQ(written, without_response);
  EXPECT_EQ(decode_create_qp_write(std::span(bytes).first(55), Form::kWrite).error(), ENOSPC);
}

TEST(CreateQpTest, GoldenExtendedForm) {
  auto bytes = bytes_of(kCreateEx);
  auto got = decode_create_qp_write(bytes, Form::kWriteEx);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->type, QpType::kUd);
  EXPECT_EQ(got->srq, std::nullopt);  // is_srq is 0, whatever srq_handle says
  EXPECT_EQ(got->ind_table, 10U);
  EXPECT_EQ(got->create_flags, 2U);
  EXPECT_EQ(got->source_qpn, 11U);
  std::vector<std::byte> written(64);
  ASSERT_TRUE(encode_create_qp_write(*got, Form::kWriteEx, written));
  auto want = bytes;
  want[20] = std::byte{0};
  EXPECT_EQ(written, want);

  bytes[48] = std::byte{2};  // comp_mask bit the kernel does not know
  EXPECT_EQ(decode_create_qp_write(bytes, Form::kWriteEx).error(), EINVAL);
  bytes[48] = std::byte{0};
  bytes[47] = std::byte{1};  // reserved
  EXPECT_EQ(decode_create_qp_write(bytes, Form::kWriteEx).error(), EINVAL);
  bytes[47] = std::byte{0};
  EXPECT_TRUE(decode_create_qp_write(std::span(bytes).first(52), Form::kWriteEx));
  EXPECT_EQ(decode_create_qp_write(std::span(bytes).first(51), Form::kWriteEx).error(), ENOSPC);
}

TEST(CreateQpTest, XrcTargetHasADomainInPlaceOfThePd) {
  auto bytes = bytes_of(kCreate);
  bytes[53] = std::byte{10};
  auto got = decode_create_qp_write(bytes, Form::kWrite);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->type, QpType::kXrcTgt);
  EXPECT_EQ(got->xrcd, 1U);
  EXPECT_EQ(got->pd, std::nullopt);
}

TEST(CreateQpTest, WriteFormHasNoPlaceForExtensions) {
  CreateQp qp;
  std::vector<std::byte> room(64);
  EXPECT_TRUE(encode_create_qp_write(qp, Form::kWrite, room));
  qp.create_flags = 2;
  EXPECT_FALSE(encode_create_qp_write(qp, Form::kWrite, room));
  EXPECT_TRUE(encode_create_qp_write(qp, Form::kWriteEx, room));
}

// QP / CREATE as libibverbs 44 sends it for an RC QP with an SRQ.
Wire create_ioctl(std::uint64_t type, std::uint64_t flags = 1U << 12) {
  Wire wire(4, 0);
  wire.attr(2, 0, 1)         // PD
      .attr(4, 0, 2)         // send CQ
      .attr(5, 0, 3)         // recv CQ
      .attr(0, 0, 0)         // handle, new
      .attr(9, 8, type)      // type
      .attr(7, 8, 0x1122)    // user handle
      .attr(8, 20, 0x7000)   // caps
      .attr(12, 0, 9)        // async event descriptor
      .attr(10, 4, flags)    // SQ_SIG_ALL
      .attr(3, 0, 4)         // SRQ
      .attr(13, 20, 0x8000)  // caps, out
      .attr(14, 4, 0x9000);  // QPN, out
  return wire;
}

TEST(CreateQpTest, IoctlFormFromTheAgentsCopy) {
  const Wire wire = create_ioctl(2);
  auto call = decode_call(wire.bytes());
  ASSERT_TRUE(call);
  const Verb* verb = find_verb(*call);
  auto built = CallBuilder::from_call(*call, *verb);
  ASSERT_TRUE(built);
  const std::uint32_t caps[] = {5, 6, 7, 8, 9};
  std::memcpy(built->in(attr::kCreateQpCap).data(), caps, sizeof(caps));
  auto got = decode_create_qp(*built, *verb);
  ASSERT_TRUE(got);
  CreateQp want;
  want.type = QpType::kRc;
  want.user_handle = 0x1122;
  want.pd = 1;
  want.send_cq = 2;
  want.recv_cq = 3;
  want.srq = 4;
  want.cap = {5, 6, 7, 8, 9};
  want.sq_sig_all = true;
  EXPECT_EQ(*got, want);
}

TEST(CreateQpTest, IoctlFormRefusesNumbersTheKernelRefuses) {
  const auto error = [](const Wire& wire) {
    auto call = decode_call(wire.bytes());
    auto built = CallBuilder::from_call(*call, *find_verb(*call));
    auto got = decode_create_qp(*built, *find_verb(*call));
    return got ? 0 : got.error();
  };
  EXPECT_EQ(error(create_ioctl(2)), 0);
  EXPECT_EQ(error(create_ioctl(0x1'0000'0002ULL)), EINVAL);
  EXPECT_EQ(error(create_ioctl(77)), 0);  // a type without a name is for the handler to refuse
  Wire handle(4, 0);
  handle.attr(2, 0, 0x1'0000'0001ULL).attr(0, 0, 0).attr(9, 8, 2).attr(7, 8, 0);
  handle.attr(8, 20, 0x7000).attr(13, 20, 0x8000).attr(14, 4, 0x9000);
  EXPECT_EQ(error(handle), ENOENT);
}

TEST(CreateQpTest, IoctlResult) {
  const Wire wire = create_ioctl(2);
  auto call = decode_call(wire.bytes());
  const Verb* verb = find_verb(*call);
  auto built = CallBuilder::from_call(*call, *verb);
  ASSERT_TRUE(built);
  EXPECT_EQ(decode_create_qp_resp(*built, *verb).error(), EINVAL);  // nothing was executed
  ASSERT_TRUE(built->set_fd(attr::kCreateQpEventFd, 5));
  auto sealed = built->seal();
  ASSERT_TRUE(sealed);
  // The kernel: handle into attribute 3, caps and number behind the pointers, flags set.
  const std::uint64_t handle = 0x33;
  std::memcpy(sealed->data() + std::size_t{24 + 3 * 16 + 8}, &handle, 8);
  const std::uint32_t caps[] = {50, 60, 70, 80, 90};
  const std::uint32_t qpn = 0x11;
  ASSERT_TRUE(built->answer(attr::kCreateQpRespCap, std::as_bytes(std::span(caps)), true));
  ASSERT_TRUE(built->answer(attr::kCreateQpRespQpn, std::as_bytes(std::span(&qpn, 1)), true));
  auto got = decode_create_qp_resp(*built, *verb);
  ASSERT_TRUE(got);
  EXPECT_EQ(*got, (CreateQpResp{0x33, Qpn{0x11}, {50, 60, 70, 80, 90}}));
}

// struct ib_uverbs_create_qp_resp: qp_handle, qpn, five caps, reserved.
constexpr std::uint8_t kCreateResp[] = {
    0x01, 0x00, 0x00, 0x00, 0x11, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00,
    0x04, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x06, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};

TEST(CreateQpTest, WriteResult) {
  const auto bytes = bytes_of(kCreateResp);
  const Wire wire = Wire::command(24).attr(0, 56, 0x1000).attr(1, 32, 0x2000);
  auto call = decode_call(wire.bytes());
  const Verb* verb = find_verb(*call);
  auto built = CallBuilder::from_call(*call, *verb);
  ASSERT_TRUE(built);
  ASSERT_TRUE(built->answer(attr::kCoreOut, bytes, true));
  auto got = decode_create_qp_resp(*built, *verb);
  ASSERT_TRUE(got);
  EXPECT_EQ(*got, (CreateQpResp{1, Qpn{0x11}, {2, 3, 4, 5, 6}}));
  std::vector<std::byte> written(32, std::byte{0xee});
  ASSERT_TRUE(encode_create_qp_resp(*got, written));
  EXPECT_EQ(written, bytes);
}

TEST(DestroyQpTest, HandleFromEitherForm) {
  const auto handle = [](const Wire& wire, std::span<const std::byte> core_in) -> ErrnoOr<int> {
    auto call = decode_call(wire.bytes());
    auto built = CallBuilder::from_call(*call, *find_verb(*call));
    if (!built) return tl::unexpected(built.error());
    if (!core_in.empty()) std::copy(core_in.begin(), core_in.end(), built->in(0).begin());
    auto got = decode_destroy_qp(*built, *find_verb(*call));
    if (!got) return tl::unexpected(got.error());
    return static_cast<int>(*got);
  };
  EXPECT_EQ(handle(Wire(4, 1).attr(0, 0, 7).attr(1, 4, 0x1000), {}), 7);
  EXPECT_EQ(handle(Wire(4, 1).attr(0, 0, 1ULL << 40U).attr(1, 4, 0x1000), {}).error(), ENOENT);
  // struct ib_uverbs_destroy_qp: response, qp_handle at 8, reserved.
  constexpr std::uint8_t kDestroy[] = {0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(handle(Wire::command(27).attr(0, 16, 0x1000).attr(1, 4, 0x2000), bytes_of(kDestroy)),
            7);
}

}  // namespace
}  // namespace qmasq::vbond::uverbs
