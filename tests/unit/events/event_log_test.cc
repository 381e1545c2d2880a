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

TEST(EventLog, PutsASourceIntoWordsWhenItIsRead) {
  struct Source final : EventSource {
    explicit Source(int* renders_in) : renders(renders_in) {}
    [[nodiscard]] EventType type() const override { return EventType::kRefused; }  // not logged
    [[nodiscard]] Event render() const override {
      ++*renders;
      return refused("in words");
    }
    int* renders;
  };
  SystemClock clock;
  EventLog log(clock, 2);
  int renders = 0;
  log.record(std::make_shared<const Source>(&renders));
  log.record(refused("at once"));
  EXPECT_EQ(renders, 0);
  auto events = log.read(0, 10, milliseconds(0));
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(renders, 1);
  EXPECT_EQ(events[0].sequence, 1U);
  EXPECT_EQ(events[0].reason, "in words");
  EXPECT_GT(events[0].time.time_since_epoch().count(), 0);
  EXPECT_EQ(events[1].sequence, 2U);
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
