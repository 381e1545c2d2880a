// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace qmasq::attack {

// Counts of a race in a file, so that they outlive whoever is killed in it.
struct Tally {
  std::atomic<std::uint64_t> rounds;  // calls whose arguments changed while the call was under way
  std::atomic<std::uint64_t> calls;   // all calls that came back
  std::atomic<std::uint64_t> returned;  // the changed verb was done, and its caller lived to see it
  std::atomic<std::uint64_t> used;      // ... and the result could be used
  std::atomic<std::uint64_t> wrote;     // ... and memory of the target was written
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

// Maps the file, making it if it is not there; nullptr with errno set. Stays mapped.
[[nodiscard]] Tally* open_tally(const std::string& path);

}  // namespace qmasq::attack
