// SPDX-License-Identifier: Apache-2.0
#include "vbond/sealed/layout.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "vbond/uverbs/call_builder.h"
#include "vbond/uverbs/objects.h"

namespace qmasq::vbond::sealed {
namespace {

using namespace uverbs;  // NOLINT

constexpr auto kRxe = static_cast<std::uint32_t>(DriverId::kRxe);
constexpr std::uint64_t kOwn = 0x7f0000001000;

std::uint64_t number_at(const LaidCall& call, std::size_t before_header) {
  std::uint64_t out = 0;
  const std::size_t at = call.header() - slot_page(call.slot()) - before_header;
  std::memcpy(&out, call.page().data() + at, sizeof(out));
  return out;
}

ErrnoOr<LaidCall> laid(const Call& call, unsigned slot) {
  return lay_out(call, *find_verb(call), slot, kOwn);
}

TEST(Layout, PagesOfSlotsAlternateWithTails) {
  EXPECT_EQ(slot_page(0), 0x11000U);
  EXPECT_EQ(tail_page(0), 0x12000U);
  EXPECT_EQ(slot_of(slot_page(3) + 17), 3U);
  EXPECT_FALSE(slot_of(tail_page(3)));
  EXPECT_FALSE(slot_of(kBase));
  EXPECT_FALSE(slot_of(kEnd));
  std::uint64_t next = kBase;
  for (std::size_t i = 0; i < kRanges; ++i) {
    EXPECT_EQ(range(i).address, next);
    EXPECT_EQ(range(i).sealed, i % 2 == 0);
    next += range(i).size;
  }
  EXPECT_EQ(next, kEnd);
  EXPECT_EQ(range_of_slot(0).address, kBase);
  EXPECT_EQ(range_of_slot(5).address, slot_page(5));
}

TEST(Layout, InputsEndWithThePageAndOutputsBeginTheNext) {
  auto builder = CallBuilder::invoke_write(static_cast<std::uint32_t>(WriteCommand::kRegMr), kRxe);
  const std::array<std::byte, kRegMrSize> in{std::byte{1}, std::byte{2}};
  ASSERT_EQ(builder.add_in(attr::kCoreIn, in), 0);
  ASSERT_EQ(builder.add_out(attr::kCoreOut, 12), 0);
  auto bytes = builder.seal();
  ASSERT_TRUE(bytes);
  auto call = decode_call(*bytes);
  ASSERT_TRUE(call);
  auto out = laid(*call, 2);
  ASSERT_TRUE(out);
  // Its command and CORE_IN, and an empty UHW_IN that it does not have.
  EXPECT_EQ(out->header(), tail_page(2) - kHeaderSize - 3 * kAttrSize);
  EXPECT_EQ(out->tail().size(), kAttrSize);
  auto again = decode_call(out->call());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->num_attrs(), 4U);
  EXPECT_EQ(again->write_cmd(), static_cast<std::uint32_t>(WriteCommand::kRegMr));
  EXPECT_EQ(again->find(attr::kUhwIn)->len, 0);
  EXPECT_EQ(again->index_of(attr::kCoreOut), 3U);
  EXPECT_EQ(again->find(attr::kCoreOut)->data, call->find(attr::kCoreOut)->data);
  // The payload is where the agent decides.
  EXPECT_EQ(again->find(attr::kCoreIn)->data, slot_page(2));
  ASSERT_EQ(out->payloads().size(), 1U);
  EXPECT_EQ(out->payloads()[0].from, call->find(attr::kCoreIn)->data);
  EXPECT_EQ(out->payloads()[0].bytes.data(), out->page().data());
  EXPECT_EQ(out->payloads()[0].bytes.size(), kRegMrSize);
  EXPECT_EQ(check_attrs(*again, *find_verb(*again), UnknownAttrs::kRefuse), 0);
  // What is copied back, and to where.
  EXPECT_EQ(number_at(*out, kCountAt), 1U);
  EXPECT_EQ(number_at(*out, kFromAt), tail_page(2));
  EXPECT_EQ(number_at(*out, kToAt),
            kOwn + kHeaderSize + kAttrSize * *call->index_of(attr::kCoreOut));
}

TEST(Layout, InlineInputsStayInTheirAttribute) {
  CallBuilder builder(static_cast<std::uint16_t>(Object::kCq), 0, kRxe);
  const std::uint32_t cqe = 16;
  const std::uint64_t user_handle = 5;
  ASSERT_EQ(builder.add_idr_new(attr::kCreateCqHandle), 0);
  ASSERT_EQ(builder.add_in(attr::kCreateCqCqe, std::as_bytes(std::span(&cqe, 1))), 0);
  ASSERT_EQ(builder.add_in(attr::kCreateCqUserHandle, std::as_bytes(std::span(&user_handle, 1))),
            0);
  ASSERT_EQ(builder.add_in(attr::kCreateCqCompVector, std::as_bytes(std::span(&cqe, 1))), 0);
  ASSERT_EQ(builder.add_out(attr::kCreateCqRespCqe, 4), 0);
  auto bytes = builder.seal();
  auto call = decode_call(*bytes);
  ASSERT_TRUE(call);
  auto out = laid(*call, 0);
  ASSERT_TRUE(out);
  EXPECT_TRUE(out->payloads().empty());
  auto again = decode_call(out->call());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->value(attr::kCreateCqUserHandle), 5U);
  EXPECT_EQ(number_at(*out, kCountAt), 2U);  // the new handle and the answer
  EXPECT_GE(*again->index_of(attr::kCreateCqHandle), again->num_attrs() - 2);
}

TEST(Layout, WhatDoesNotFitIsRefused) {
  auto builder = CallBuilder::invoke_write(static_cast<std::uint32_t>(WriteCommand::kRegMr), kRxe);
  const std::vector<std::byte> in(4000);
  ASSERT_EQ(builder.add_in(attr::kCoreIn, in), 0);
  ASSERT_EQ(builder.add_out(attr::kCoreOut, 12), 0);
  auto bytes = builder.seal();
  auto call = decode_call(*bytes);
  ASSERT_TRUE(call);
  auto out = laid(*call, 0);
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error(), E2BIG);
}

}  // namespace
}  // namespace qmasq::vbond::sealed
