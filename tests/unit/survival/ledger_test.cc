// SPDX-License-Identifier: Apache-2.0
#include "vbond/survival/ledger.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

namespace qmasq::vbond {
namespace {

UniqueFd copy_of(const Ledger& ledger) {
  return UniqueFd(::fcntl(ledger.descriptor(), F_DUPFD_CLOEXEC, 0));
}

Notification call(std::uint64_t id) {
  Notification out;
  out.id = id;
  out.tid = 100;
  out.nr = 16;
  out.args[2] = 0xabcd;
  return out;
}

TEST(Ledger, TheNextAgentFindsCallsOnTheirWay) {
  auto first = Ledger::create().value();
  CallSlot* waiting = first->claim(1);
  CallSlot* busy = first->claim(1);
  CallSlot* other = first->claim(2);
  busy->notification.write(call(77));
  busy->stage = CallStage::kExecuted;
  busy->err = 22;
  other->notification.write(call(78));
  EXPECT_FALSE(waiting->notification.read().has_value());
  EXPECT_EQ(first->next_context(), 1U);
  EXPECT_EQ(first->next_listener(), 1U);
  UniqueFd memory = copy_of(*first);
  first.reset();

  auto second = Ledger::adopt(std::move(memory)).value();
  EXPECT_FALSE(second->renewed());
  auto left = second->take_left(1);
  ASSERT_EQ(left.size(), 1U);
  EXPECT_EQ(left[0]->notification.read()->id, 77U);
  EXPECT_EQ(left[0]->notification.read()->args[2], 0xabcdU);
  EXPECT_EQ(left[0]->stage, CallStage::kExecuted);
  EXPECT_EQ(left[0]->err, 22);
  EXPECT_TRUE(second->take_left(1).empty());
  EXPECT_EQ(second->next_context(), 2U) << "a number is never given twice";
  second->forget_left();
  EXPECT_TRUE(second->take_left(2).empty());
}

TEST(Ledger, SlotsAreGivenAgainEmpty) {
  auto ledger = Ledger::create().value();
  std::vector<CallSlot*> all;
  while (CallSlot* slot = ledger->claim(5)) {
    all.push_back(slot);
    slot->notification.write(call(1));
    slot->stage = CallStage::kExecuting;
  }
  EXPECT_EQ(all.size(), Ledger::kSlots);
  ledger->release(all[3]);
  CallSlot* again = ledger->claim(6);
  ASSERT_EQ(again, all[3]);
  EXPECT_EQ(again->stage, CallStage::kReceived);
  EXPECT_FALSE(again->notification.read().has_value());
}

TEST(Ledger, AnotherLayoutIsCarriedOverAsCallsJustReceived) {
  auto first = Ledger::create().value();
  CallSlot* busy = first->claim(9);
  busy->notification.write(call(5));
  busy->stage = CallStage::kExecuting;
  (void)first->next_context();
  UniqueFd memory = copy_of(*first);
  const std::uint32_t layout = 999;
  ASSERT_EQ(::pwrite(memory.get(), &layout, sizeof(layout), 8), 4);
  auto second = Ledger::adopt(std::move(memory)).value();
  EXPECT_TRUE(second->renewed());
  auto left = second->take_left(9);
  ASSERT_EQ(left.size(), 1U);
  EXPECT_EQ(left[0]->notification.read()->id, 5U);
  EXPECT_EQ(left[0]->stage, CallStage::kReceived);
  EXPECT_EQ(second->next_context(), 2U);
}

TEST(Ledger, OtherMemoryIsNone) {
  EXPECT_FALSE(Ledger::adopt(UniqueFd(::open("/dev/null", O_RDWR))).has_value());
  auto memory = SharedMemory::create("x", 1U << 20U).value();
  EXPECT_FALSE(
      Ledger::adopt(UniqueFd(::fcntl(memory.descriptor(), F_DUPFD_CLOEXEC, 0))).has_value());
}

}  // namespace
}  // namespace qmasq::vbond
