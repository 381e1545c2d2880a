// SPDX-License-Identifier: Apache-2.0
#include "vbond/sync/phase.h"

namespace qmasq::vbond {

std::optional<SyncPhase> next_phase(SyncPhase phase, SyncInput input) {
  if (phase == SyncPhase::kStopped || input == SyncInput::kStop) return SyncPhase::kStopped;
  if (input == SyncInput::kClosed) return SyncPhase::kWaiting;
  switch (phase) {
    case SyncPhase::kWaiting:
      if (input == SyncInput::kOpened) return SyncPhase::kGreeting;
      break;
    case SyncPhase::kGreeting:
      if (input == SyncInput::kWelcome) return SyncPhase::kCatchingUp;
      break;
    case SyncPhase::kCatchingUp:
      if (input == SyncInput::kBatch || input == SyncInput::kQuery) return SyncPhase::kCatchingUp;
      if (input == SyncInput::kInSync) return SyncPhase::kFollowing;
      break;
    case SyncPhase::kFollowing:
      if (input == SyncInput::kBatch || input == SyncInput::kInSync || input == SyncInput::kQuery) {
        return SyncPhase::kFollowing;
      }
      break;
    case SyncPhase::kStopped:
      break;
  }
  return std::nullopt;
}

const char* to_string(SyncPhase phase) {
  switch (phase) {
    case SyncPhase::kWaiting:
      return "waiting";
    case SyncPhase::kGreeting:
      return "greeting";
    case SyncPhase::kCatchingUp:
      return "catching up";
    case SyncPhase::kFollowing:
      return "following";
    case SyncPhase::kStopped:
      return "stopped";
  }
  return "unknown";
}

const char* to_string(SyncInput input) {
  switch (input) {
    case SyncInput::kOpened:
      return "opened";
    case SyncInput::kWelcome:
      return "Welcome";
    case SyncInput::kBatch:
      return "Batch";
    case SyncInput::kInSync:
      return "InSync";
    case SyncInput::kQuery:
      return "Query";
    case SyncInput::kClosed:
      return "closed";
    case SyncInput::kStop:
      return "stop";
  }
  return "unknown";
}

}  // namespace qmasq::vbond
