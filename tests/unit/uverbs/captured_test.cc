// SPDX-License-Identifier: Apache-2.0
// All calls of one ibv_rc_pingpong (rdma-core 44, librxe, Linux 6.1), in order, as they reached
// ioctl(RDMA_VERBS_IOCTL): header and attributes, and the payload behind the one input pointer that
// some have (CORE_IN, or the caps of CREATE_QP).
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <vector>

#include "vbond/uverbs/call.h"
#include "vbond/uverbs/call_builder.h"
#include "vbond/uverbs/objects.h"
#include "vbond/uverbs/qp.h"
#include "vbond/uverbs/verb.h"

namespace qmasq::vbond::uverbs {
namespace {

struct Captured {
  std::string_view name;
  int kernel_errno;
  std::string_view call;
  std::string_view payload;
};

constexpr Captured kPingpong[] = {
    {"QUERY_DEVICE", ENOSPC,
     "280000000000010000000000000000000e0000000000000002000800010000000100000000000000", ""},
    {"GET_CONTEXT", 0,
     "380000000300020000000000000000000e000000000000000000040001000000982e2767fd7f0000"
     "0100080001000000a02e2767fd7f0000",
     ""},
    {"ALLOC_ASYNC_EVENT", 0,
     "280010000000010000000000000000000e0000000000000000000000010000000000000000000000", ""},
    {"ALLOC_PD", 0,
     "480000000000030000000000000000000e0000000000000002000800010000000300000000000000"
     "0000080001000000ac2f2767fd7f00000100040001000000ac2f2767fd7f0000",
     ""},
    {"REG_MR", 0,
     "480000000000030000000000000000000e0000000000000002000800010000000900000000000000"
     "0000280001000000482f2767fd7f000001000c0001000000342f2767fd7f0000",
     "342f2767fd7f00000010277480550000001000000000000000102774805500000000000001000000"},
    {"CREATE_CQ", 0,
     "880003000000070000000000000000000e0000000000000000000000010000000000000000000000"
     "0600040001000000b82d2767fd7f00000100040001000000f5010000000000000200080001000000"
     "f0062774805500000400040001000000000000000000000007000000000000000500000000000000"
     "0110100001000000782f2767fd7f0000",
     ""},
    {"CREATE_QP", 0,
     "c800040000000b0000000000000000000e0000000000000002000000010000000000000000000000"
     "04000000010000000200000000000000050000000100000002000000000000000000000001000000"
     "00000000000000000900080001000000020000000000000007000800010000005008277480550000"
     "0800140001000000002e2767fd7f00000c0000000100000005000000000000000d00140001000000"
     "002e2767fd7f00000e00040001000000b82c2767fd7f00000110200001000000a02f2767fd7f0000",
     "01000000f4010000010000000100000000000000"},
    {"QUERY_QP", 0,
     "480000000000030000000000000000000e0000000000000002000800010000001900000000000000"
     "0000100001000000b82f2767fd7f00000100800001000000002f2767fd7f0000",
     "002f2767fd7f00000300000000000800"},
    {"MODIFY_QP", 0,
     "380000000000020000000000000000000e0000000000000002000800010000001a00000000000000"
     "0000700001000000582f2767fd7f0000",
     "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
     "00000000000000000000000000000000000000000000000003000000390000000000000000000000"
     "0000000000000000000000000000000001000000000000000100000000000000"},
    {"QUERY_PORT", 0,
     "380000000200020000000000000000000e0000000000000000000800010000000100000000000000"
     "0100300001000000f02e2767fd7f0000",
     ""},
    {"QUERY_GID_ENTRY", 0,
     "580000000600040000000000000000000e0000000000000000000800010000000100000000000000"
     "01000800010000000100000000000000020004000100000000000000000000000300200001000000"
     "c02f2767fd7f0000",
     ""},
    {"MODIFY_QP", 0,
     "380000000000020000000000000000000e0000000000000002000800010000001a00000000000000"
     "0000700001000000882e2767fd7f0000",
     "00000000000000000000ffffc0a84d0a000000000000000001010000000001010000000000000000"
     "000000000000000000000000000000000000000000000000030000008191120000000000b8ff9b00"
     "00000000110000000000000000000000020003000000010c0000000000000000"},
    {"MODIFY_QP", 0,
     "380000000000020000000000000000000e0000000000000002000800010000001a00000000000000"
     "0000700001000000882e2767fd7f0000",
     "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
     "00000000000000000000000000000000000000000000000003000000012e01000000000000000000"
     "6963f6000000000000000000000000000300000000010000000e070700000000"},
    {"DESTROY_QP", 0,
     "380004000100020000000000000000000e000000000000000100040001000000082f2767fd7f0000"
     "00000000010000000300000000000000",
     ""},
    {"DESTROY_CQ", 0,
     "380003000100020000000000000000000e000000000000000100080001000000e82e2767fd7f0000"
     "00000000010000000200000000000000",
     ""},
    {"DEREG_MR", 0,
     "280007000100010000000000000000000e0000000000000000000000010000000100000000000000", ""},
    {"DEALLOC_PD", 0,
     "280001000000010000000000000000000e0000000000000000000000010000000000000000000000", ""},
};

std::vector<std::byte> from_hex(std::string_view hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::vector<std::byte> out(hex.size() / 2);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<std::byte>(digit(hex[2 * i]) * 16 + digit(hex[2 * i + 1]));
  }
  return out;
}

TEST(CapturedTest, EveryCallIsKnownAndChecksAsTheKernelDid) {
  for (const Captured& row : kPingpong) {
    SCOPED_TRACE(row.name);
    const auto bytes = from_hex(row.call);
    auto call = decode_call(bytes);
    ASSERT_TRUE(call);
    EXPECT_EQ(call->bytes().size(), bytes.size());
    const Verb* verb = find_verb(*call);
    EXPECT_EQ(verb->name, row.name);
    EXPECT_EQ(check_attrs(*call, *verb, UnknownAttrs::kRefuse), row.kernel_errno);
  }
}

// The agent's own form of the n-th call of this name, inputs copied.
CallBuilder rebuilt(std::string_view name, int n = 0) {
  for (const Captured& row : kPingpong) {
    if (row.name != name || n-- > 0) continue;
    const auto bytes = from_hex(row.call);
    const auto payload = from_hex(row.payload);
    auto call = decode_call(bytes);
    auto built = CallBuilder::from_call(*call, *find_verb(*call));
    EXPECT_TRUE(built);
    const auto inputs = built->inputs();
    EXPECT_EQ(inputs.size(), payload.empty() ? 0U : 1U);
    for (const auto& input : inputs) {
      EXPECT_EQ(input.bytes.size(), payload.size());
      std::copy(payload.begin(), payload.end(), input.bytes.begin());
    }
    return std::move(*built);
  }
  ADD_FAILURE() << "no " << name;
  return {0, 0, 0};
}

const Verb& verb_named(std::string_view name, Form form) {
  for (const Verb& verb : all_verbs()) {
    if (verb.name == name && verb.key.form == form) return verb;
  }
  ADD_FAILURE() << "no " << name;
  return all_verbs().back();
}

TEST(CapturedTest, CreateQp) {
  const CallBuilder call = rebuilt("CREATE_QP");
  auto got = decode_create_qp(call, verb_named("CREATE_QP", Form::kIoctl));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->type, QpType::kRc);
  EXPECT_EQ(got->pd, 0U);
  EXPECT_EQ(got->send_cq, 2U);
  EXPECT_EQ(got->recv_cq, 2U);
  EXPECT_EQ(got->srq, std::nullopt);
  EXPECT_EQ(got->cap, (QpCap{1, 500, 1, 1, 0}));
  EXPECT_FALSE(got->sq_sig_all);
  ASSERT_EQ(call.fds().size(), 1U);
  EXPECT_EQ(call.fds()[0].tenant_fd, 5);
}

TEST(CapturedTest, TheThreeStepsOfAQp) {
  const auto step = [](int n) {
    const CallBuilder call = rebuilt("MODIFY_QP", n);
    auto got = decode_modify_qp(call.in(attr::kCoreIn), Form::kWrite);
    EXPECT_TRUE(got);
    // Written again it is the same, so nothing is lost when the agent executes it.
    std::vector<std::byte> again(kModifyQpSize);
    EXPECT_TRUE(encode_modify_qp(*got, Form::kWrite, again));
    EXPECT_TRUE(std::equal(again.begin(), again.end(), call.in(attr::kCoreIn).begin()));
    return *got;
  };
  const ModifyQp init = step(0);
  EXPECT_EQ(init.qp_handle, 3U);
  EXPECT_EQ(init.attr_mask,
            qp_mask::kState | qp_mask::kAccessFlags | qp_mask::kPkeyIndex | qp_mask::kPort);
  EXPECT_TRUE(init.goes_to(QpState::kInit));
  EXPECT_EQ(init.port_num, 1);

  const ModifyQp rtr = step(1);
  EXPECT_EQ(rtr.attr_mask, qp_mask::kState | qp_mask::kAv | qp_mask::kPathMtu | qp_mask::kRqPsn |
                               qp_mask::kMinRnrTimer | qp_mask::kMaxDestRdAtomic |
                               qp_mask::kDestQpn);
  EXPECT_TRUE(rtr.goes_to(QpState::kRtr));
  EXPECT_EQ(rtr.dest.dgid, Gid::from_ip(IpAddress::from_v4(0xc0a84d0a)));
  EXPECT_TRUE(rtr.dest.is_global);
  EXPECT_EQ(rtr.dest.sgid_index, 1);
  EXPECT_EQ(rtr.dest.hop_limit, 1);
  EXPECT_EQ(rtr.dest.port_num, 1);
  EXPECT_EQ(rtr.dest_qpn, Qpn{0x11});
  EXPECT_EQ(rtr.rq_psn, 0x9bffb8U);
  EXPECT_EQ(rtr.path_mtu, 3);

  const ModifyQp rts = step(2);
  EXPECT_TRUE(rts.goes_to(QpState::kRts));
  EXPECT_FALSE(rts.sets(qp_mask::kAv));
  EXPECT_EQ(rts.sq_psn, 0xf66369U);
  EXPECT_EQ(rts.timeout, 14);
}

TEST(CapturedTest, RegMrAndCreateCq) {
  auto mr = decode_reg_mr(rebuilt("REG_MR"), verb_named("REG_MR", Form::kWrite));
  ASSERT_TRUE(mr);
  EXPECT_EQ(mr->length, 4096U);
  EXPECT_EQ(mr->start, mr->iova);
  EXPECT_EQ(mr->access_flags, access::kLocalWrite);
  auto cq = decode_create_cq(rebuilt("CREATE_CQ"), verb_named("CREATE_CQ", Form::kIoctl));
  ASSERT_TRUE(cq);
  EXPECT_EQ(*cq, (CreateCq{501, 0, -1}));
}

}  // namespace
}  // namespace qmasq::vbond::uverbs
