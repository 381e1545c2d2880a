// SPDX-License-Identifier: Apache-2.0
#include "vbond/uverbs/doorbell.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "tests/unit/uverbs/wire.h"
#include "vbond/uverbs/verb.h"

namespace qmasq::vbond::uverbs {
namespace {

// struct ib_uverbs_cmd_hdr and struct ib_uverbs_post_send, as librxe and libsiw 44 write them.
constexpr std::uint8_t kRing[] = {
    0x1c, 0x00, 0x00, 0x00,                          // command POST_SEND
    0x08, 0x00, 0x01, 0x00,                          // in_words 8, out_words 1
    0x00, 0xf0, 0xff, 0xff, 0xff, 0x7f, 0x00, 0x00,  // response
    0x05, 0x00, 0x00, 0x00,                          // qp_handle
    0x00, 0x00, 0x00, 0x00,                          // wr_count
    0x00, 0x00, 0x00, 0x00,                          // sge_count
    0x80, 0x00, 0x00, 0x00,                          // wqe_size 128
};

TEST(DoorbellTest, GoldenBytesBothWays) {
  const auto bytes = bytes_of(kRing);
  auto got = decode_doorbell(bytes, 32);
  ASSERT_TRUE(got);
  EXPECT_EQ(*got, (Doorbell{5, 0x7ffffffff000}));
  std::vector<std::byte> written(32, std::byte{0xee});
  ASSERT_TRUE(encode_doorbell(*got, written));
  EXPECT_EQ(written, bytes);
  EXPECT_FALSE(encode_doorbell(*got, std::span(written).first(31)));
}

int error_with(std::size_t at, std::uint32_t value) {
  auto bytes = bytes_of(kRing);
  std::memcpy(bytes.data() + at, &value, sizeof(value));
  auto got = decode_doorbell(bytes, 32);
  return got ? 0 : got.error();
}

TEST(DoorbellTest, AnythingButAnEmptyPostSendIsRefused) {
  EXPECT_EQ(error_with(0, 26), EOPNOTSUPP);          // MODIFY_QP
  EXPECT_EQ(error_with(0, 29), EOPNOTSUPP);          // POST_RECV
  EXPECT_EQ(error_with(0, 0x8000001c), EOPNOTSUPP);  // extended
  EXPECT_EQ(error_with(0, 0x0000011c), EOPNOTSUPP);  // bit 8
  EXPECT_EQ(error_with(20, 1), EOPNOTSUPP);          // a work request
  EXPECT_EQ(error_with(24, 1), EOPNOTSUPP);          // an SGE
  EXPECT_EQ(error_with(28, 55), EINVAL);             // wqe_size below ib_uverbs_send_wr
  EXPECT_EQ(error_with(28, 56), 0);
  EXPECT_EQ(error_with(28, 0xffffffff), 0);      // the agent sends its own
  EXPECT_EQ(error_with(4, 0x00010007), EINVAL);  // in_words is not count / 4
  EXPECT_EQ(error_with(4, 0x00000008), ENOSPC);  // no room for the answer
}

TEST(DoorbellTest, Lengths) {
  const auto bytes = bytes_of(kRing);
  for (std::size_t count = 0; count < 32; ++count) {
    auto got = decode_doorbell(std::span(bytes).first(count), count);
    ASSERT_FALSE(got) << count;
    EXPECT_EQ(got.error(), EINVAL) << count;
  }
  auto shorter = bytes;
  shorter[4] = std::byte{7};
  EXPECT_EQ(decode_doorbell(std::span(shorter).first(28), 28).error(), ENOSPC);
  auto longer = bytes;
  longer[4] = std::byte{9};
  EXPECT_EQ(decode_doorbell(longer, 36).error(), EOPNOTSUPP);
  EXPECT_EQ(decode_doorbell(bytes, std::size_t{1} << 62U).error(), EINVAL);
  // Fewer bytes than announced: what the caller could not read.
  EXPECT_EQ(decode_doorbell(std::span(bytes).first(20), 32).error(), ENOSPC);
}

TEST(DoorbellTest, RingsByIoctl) {
  CallBuilder ring = ring_call(5, 14);
  auto sealed = ring.seal();
  ASSERT_TRUE(sealed);
  auto call = decode_call(*sealed);
  ASSERT_TRUE(call);
  EXPECT_EQ(call->write_cmd(), 28U);
  EXPECT_EQ(call->driver_id(), 14U);
  EXPECT_EQ(find_verb(*call)->name, "POST_SEND");
  const auto core_in = ring.in(attr::kCoreIn);
  ASSERT_EQ(core_in.size(), 24U);  // struct ib_uverbs_post_send
  EXPECT_EQ(peek<std::uint64_t>(core_in, 0), 0U);
  EXPECT_EQ(peek<std::uint32_t>(core_in, 8), 5U);
  EXPECT_EQ(peek<std::uint32_t>(core_in, 12), 0U);
  EXPECT_EQ(peek<std::uint32_t>(core_in, 16), 0U);
  EXPECT_EQ(peek<std::uint32_t>(core_in, 20), 56U);
  EXPECT_EQ(ring.out(attr::kCoreOut).size(), 4U);
}

}  // namespace
}  // namespace qmasq::vbond::uverbs
