// SPDX-License-Identifier: Apache-2.0
#include "vbond/sync/phase.h"

#include <gtest/gtest.h>

#include <map>
#include <utility>

namespace qmasq::vbond {
namespace {

constexpr SyncPhase kPhases[] = {SyncPhase::kWaiting, SyncPhase::kGreeting, SyncPhase::kCatchingUp,
                                 SyncPhase::kFollowing, SyncPhase::kStopped};
constexpr SyncInput kInputs[] = {SyncInput::kOpened, SyncInput::kWelcome, SyncInput::kBatch,
                                 SyncInput::kInSync, SyncInput::kClosed,  SyncInput::kStop};

TEST(SyncPhase, HasExactlyTheseTransitions) {
  std::map<std::pair<SyncPhase, SyncInput>, SyncPhase> table = {
      {{SyncPhase::kWaiting, SyncInput::kOpened}, SyncPhase::kGreeting},
      {{SyncPhase::kGreeting, SyncInput::kWelcome}, SyncPhase::kCatchingUp},
      {{SyncPhase::kCatchingUp, SyncInput::kBatch}, SyncPhase::kCatchingUp},
      {{SyncPhase::kCatchingUp, SyncInput::kInSync}, SyncPhase::kFollowing},
      {{SyncPhase::kFollowing, SyncInput::kBatch}, SyncPhase::kFollowing},
      {{SyncPhase::kFollowing, SyncInput::kInSync}, SyncPhase::kFollowing},
  };
  for (auto phase : kPhases) {
    table[{phase, SyncInput::kClosed}] = SyncPhase::kWaiting;
    table[{phase, SyncInput::kStop}] = SyncPhase::kStopped;
  }
  for (auto input : kInputs)
    table[{SyncPhase::kStopped, input}] = SyncPhase::kStopped;

  for (auto phase : kPhases) {
    for (auto input : kInputs) {
      auto next = next_phase(phase, input);
      auto expected = table.find({phase, input});
      ASSERT_EQ(next.has_value(), expected != table.end())
          << to_string(phase) << " + " << to_string(input);
      if (next) {
        EXPECT_EQ(*next, expected->second) << to_string(phase) << " + " << to_string(input);
      }
    }
  }
}

}  // namespace
}  // namespace qmasq::vbond
