// SPDX-License-Identifier: Apache-2.0
#include "vbond/events/event_log.h"

#include <gtest/gtest.h>

#include <thread>

namespace qmasq::vbond {
namespace {

using std::chrono::milliseconds;

Event refused(std::string reason) {
  Event event;
  event.type = EventType::kRefused;
  event.reason = std::move(reason);
  return event;
}

TEST(EventLog, KeepsTheNewestAndShowsTheGap) {
  SystemClock clock;
  EventLog log(clock, 3);
  for (int i = 1; i <= 5; ++i)
    log.record(refused(std::to_string(i)));
  auto events = log.read(0, 10, milliseconds(0));
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0].sequence, 3U);
  EXPECT_EQ(events[2].reason, "5");
  EXPECT_EQ(log.newest_sequence(), 5U);
}

TEST(EventLog, ReadsOnFromASequence) {
  SystemClock clock;
  EventLog log(clock, 10);
  for (int i = 1; i <= 4; ++i)
    log.record(refused(std::to_string(i)));
  auto events = log.read(2, 1, milliseconds(0));
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].sequence, 3U);
  EXPECT_TRUE(log.read(4, 10, milliseconds(0)).empty());
}

TEST(EventLog, WakesAReaderThatWaits) {
  SystemClock clock;
  EventLog log(clock, 10);
  std::vector<Event> seen;
  std::thread reader([&] { seen = log.read(0, 10, milliseconds(10'000)); });
  log.record(refused("now"));
  reader.join();
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].reason, "now");
}

}  // namespace
}  // namespace qmasq::vbond
