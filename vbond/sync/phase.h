// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

namespace qmasq::vbond {

// Where one agent stands with its controller.
//
//             kOpened             kWelcome              kInSync
//   kWaiting ---------> kGreeting ---------> kCatchingUp -------> kFollowing
//      ^                    |                  |  ^ kBatch          |  ^ kBatch, kInSync
//      |      kClosed       |                  |  |                 |  |
//      +--------------------+------------------+--------------------+
//
// kQuery may come in kCatchingUp and kFollowing, inside a batch, too, and moves nothing.
// kStop leads from everywhere to kStopped, which nothing leaves.
enum class SyncPhase {
  kWaiting,     // no stream; the next attempt waits for its time
  kGreeting,    // Hello is on its way
  kCatchingUp,  // welcome, not all is here yet
  kFollowing,   // all is here
  kStopped,
};

enum class SyncInput {
  kOpened,
  kWelcome,
  kBatch,
  kInSync,
  kQuery,
  kClosed,
  kStop,
};

// None: the controller must not say that now.
[[nodiscard]] std::optional<SyncPhase> next_phase(SyncPhase phase, SyncInput input);
[[nodiscard]] const char* to_string(SyncPhase phase);
[[nodiscard]] const char* to_string(SyncInput input);

}  // namespace qmasq::vbond
