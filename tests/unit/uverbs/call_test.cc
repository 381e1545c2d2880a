// SPDX-License-Identifier: Apache-2.0
#include "vbond/uverbs/call.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "tests/unit/uverbs/wire.h"

namespace qmasq::vbond::uverbs {
namespace {

// struct ib_uverbs_ioctl_hdr and three struct ib_uverbs_attr, for a MODIFY_QP with
// driver data. (captured_test.cc has calls of real programs.)
constexpr std::uint8_t kModifyQpCall[] = {
    0x48, 0x00,                                      // length 72
    0x00, 0x00,                                      // object_id DEVICE
    0x00, 0x00,                                      // method_id INVOKE_WRITE
    0x03, 0x00,                                      // num_attrs
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // reserved1
    0x0e, 0x00, 0x00, 0x00,                          // driver_id RXE
    0x00, 0x00, 0x00, 0x00,                          // reserved2
    0x02, 0x00, 0x08, 0x00, 0x01, 0x00, 0x00, 0x00,  // WRITE_CMD, len 8, mandatory
    0x1a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // data: MODIFY_QP 26
    0x00, 0x00, 0x70, 0x00, 0x01, 0x00, 0x00, 0x00,  // CORE_IN, len 112, mandatory
    0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x00, 0x00,  // data: a tenant address
    0x00, 0x10, 0x04, 0x00, 0x01, 0x00, 0x00, 0x00,  // UHW_IN, len 4: inline
    0xde, 0xad, 0xbe, 0xef, 0xff, 0xff, 0xff, 0xff,  // data: four bytes count
};

TEST(CallTest, ReadsGoldenCall) {
  const auto bytes = bytes_of(kModifyQpCall);
  auto call = decode_call(bytes);
  ASSERT_TRUE(call);
  EXPECT_EQ(call->header().length, 72);
  EXPECT_EQ(call->driver_id(), static_cast<std::uint32_t>(DriverId::kRxe));
  ASSERT_TRUE(call->is_invoke_write());
  EXPECT_EQ(call->write_cmd(), 26U);
  ASSERT_EQ(call->num_attrs(), 3U);
  const Attr core_in = call->attr(1);
  EXPECT_EQ(core_in.id, attr::kCoreIn);
  EXPECT_EQ(core_in.len, 112);
  EXPECT_TRUE(core_in.mandatory());
  EXPECT_FALSE(core_in.is_inline());
  EXPECT_EQ(core_in.data, 0x334455667788U);
  EXPECT_EQ(call->value(attr::kUhwIn), 0xefbeaddeU);
  EXPECT_EQ(call->value(attr::kCoreIn), std::nullopt);   // behind a pointer
  EXPECT_EQ(call->value(attr::kCoreOut), std::nullopt);  // absent
}

TEST(CallTest, TakesMoreBytesThanNeeded) {
  auto bytes = bytes_of(kModifyQpCall);
  bytes.resize(4096);
  auto call = decode_call(bytes);
  ASSERT_TRUE(call);
  EXPECT_EQ(call->bytes().size(), 72U);
}

TEST(CallTest, ShortReadsAreEfault) {
  const auto bytes = bytes_of(kModifyQpCall);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    auto call = decode_call(std::span(bytes).first(size));
    ASSERT_FALSE(call) << size;
    EXPECT_EQ(call.error(), EFAULT) << size;
  }
  // The header alone says how much is needed.
  auto header = decode_header(std::span(bytes).first(24));
  ASSERT_TRUE(header);
  EXPECT_EQ(header->length, 72);
}

TEST(CallTest, LengthMustBeThatOfTheAttributes) {
  for (const int length : {0, 23, 24, 71, 73, 88, 0xffff}) {
    Wire wire = Wire::command(1).attr(0, 8, 0).attr(1, 176, 0x1000);
    wire.poke<std::uint16_t>(0, static_cast<std::uint16_t>(length)).resize(0x10000);
    auto call = decode_call(wire.bytes());
    ASSERT_FALSE(call) << length;
    EXPECT_EQ(call.error(), EINVAL) << length;
  }
}

TEST(CallTest, BoundsTheNumberOfAttributes) {
  Wire most(1, 0);
  for (std::size_t i = 0; i < kMaxAttrs; ++i)
    most.attr(0, 0, i);
  auto call = decode_call(most.bytes());
  ASSERT_TRUE(call);
  EXPECT_EQ(call->num_attrs(), 254U);
  EXPECT_EQ(call->attr(253).data, 253U);

  most.attr(0, 0, 0);
  call = decode_call(most.bytes());
  ASSERT_FALSE(call);
  EXPECT_EQ(call.error(), EINVAL);

  // 4094 attributes overflow the 16-bit length: 24 + 4094 * 16 = 65528 is the last that fits, and
  // 4096 of them come back to 24.
  Wire wrapped(1, 0);
  wrapped.poke<std::uint16_t>(6, 4096);
  call = decode_call(wrapped.bytes());
  ASSERT_FALSE(call);
  EXPECT_EQ(call.error(), EINVAL);
}

TEST(CallTest, ReservedFieldsAreEprotonosupport) {
  for (const std::size_t at : {8, 15, 20, 23}) {
    Wire wire(1, 0);
    wire.attr(0, 0, 1).poke<std::uint8_t>(at, 1);
    auto call = decode_call(wire.bytes());
    ASSERT_FALSE(call) << at;
    EXPECT_EQ(call.error(), EPROTONOSUPPORT) << at;
  }
  // A wrong length comes first, as in the kernel.
  Wire both(1, 0);
  both.attr(0, 0, 1).poke<std::uint8_t>(8, 1).poke<std::uint16_t>(0, 24);
  EXPECT_EQ(decode_call(both.bytes()).error(), EINVAL);
}

TEST(CallTest, InvokeWriteNeedsOneSoundCommand) {
  const auto error = [](const Wire& wire) {
    auto call = decode_call(wire.bytes());
    return call ? 0 : call.error();
  };
  EXPECT_EQ(error(Wire(0, 0)), EINVAL);                                         // none
  EXPECT_EQ(error(Wire(0, 0).attr(2, 4, 26)), EINVAL);                          // 4 bytes
  EXPECT_EQ(error(Wire(0, 0).attr(2, 16, 26)), EINVAL);                         // a pointer
  EXPECT_EQ(error(Wire(0, 0).attr(2, 8, 26, kAttrMandatory, 0x0100)), EINVAL);  // reserved
  EXPECT_EQ(error(Wire(0, 0).attr(2, 8, 0x1'0000'001aULL)), EINVAL);            // 33 bits
  EXPECT_EQ(error(Wire(0, 0).attr(2, 8, 0x11a)), EINVAL);                       // bit 8
  EXPECT_EQ(error(Wire(0, 0).attr(2, 8, 0x4000001a)), EINVAL);                  // bit 30
  // What the kernel meets first decides.
  EXPECT_EQ(error(Wire(0, 0).attr(9, 8, 26)), EPROTONOSUPPORT);
  EXPECT_EQ(error(Wire(0, 0).attr(9, 8, 26, 0)), EINVAL);
  EXPECT_EQ(error(Wire(0, 0).attr(2, 4, 26).attr(9, 8, 26)), EINVAL);
  EXPECT_EQ(error(Wire(0, 0).attr(2, 8, 0x11a).attr(9, 8, 26)), EPROTONOSUPPORT);
  EXPECT_EQ(error(Wire::command(26)), 0);
  EXPECT_EQ(error(Wire::command(0x8000001a)), 0);
  EXPECT_EQ(error(Wire::command(0xff)), 0);  // unknown, but well formed
  // Only INVOKE_WRITE has a command: another method's attribute 2 is its own affair.
  EXPECT_EQ(error(Wire(0, 6).attr(2, 4, 0)), 0);
}

TEST(CallTest, FindGivesTheFirstOfSeveral) {
  const Wire wire = Wire(3, 0).attr(1, 4, 10).attr(1, 4, 20);
  auto call = decode_call(wire.bytes());
  ASSERT_TRUE(call);
  EXPECT_EQ(call->find(1)->data, 10U);
  EXPECT_EQ(call->index_of(1), 0U);
  EXPECT_EQ(call->index_of(7), std::nullopt);
}

TEST(CallTest, DescriptorsAreSigned) {
  const Wire wire = Wire(3, 0).attr(3, 0, ~std::uint64_t{0});
  auto call = decode_call(wire.bytes());
  ASSERT_TRUE(call);
  EXPECT_EQ(call->find(3)->fd(), -1);
}

}  // namespace
}  // namespace qmasq::vbond::uverbs
