// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tests/attack/program/attack.h"
#include "tests/attack/program/tally.h"

namespace qmasq::attack {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kPage = 4096;

// A command of the kernel's headers, which end in arrays of no length, between other things.
template <typename T>
struct Held {
  alignas(8) std::array<std::byte, sizeof(T)> bytes{};
  T* operator->() { return reinterpret_cast<T*>(bytes.data()); }
  void clear() { bytes.fill(std::byte{0}); }
};

// What caller and changer share; in shared memory, so that they may be processes.
struct Arena {
  alignas(kPage) std::array<std::byte, kPage> held;  // the page whose fault is held back
  Invoke request;                                    // what the ioctl points at
  Invoke harmless;
  Invoke harmful;
  std::atomic<std::uint64_t> call{0};     // odd: under way
  std::atomic<std::uint64_t> changed{0};  // number of the call that was changed last
  std::atomic<std::int64_t> span{0};      // how long a call takes, nanoseconds
  Held<ib_uverbs_reg_mr> reg;
  Held<ib_uverbs_modify_qp> modify;
  Held<ib_uverbs_create_qp> create;
  Held<ib_uverbs_create_ah> address;
  std::array<std::byte, 4096> answer{};
  std::array<std::byte, 64> driver_answer{};
  std::uint64_t entries = 0;
};

class Random;

// The calling thread runs on that processor alone from now on.
void run_on(int processor);

// One caller and one changer, which may be threads or processes, on one context.
class Race {
 public:
  Race(const RaceOptions& options, Tally& tally, Rig& rig, Arena& arena)
      : options_(options), tally_(tally), rig_(rig), arena_(arena) {
    prepare();
  }

  [[nodiscard]] bool over() const {
    return tally_.rounds.load() >= options_.rounds ||
           Clock::now() - start_ > std::chrono::seconds(options_.seconds);
  }

  // One call. True when it came back as the harmful verb, done.
  bool call();

  // Changes requests until `stop`.
  void change(const std::atomic<bool>& stop);

  void change_now() { std::memcpy(&arena_.request, &arena_.harmful, sizeof arena_.request); }
  // Counted at once: the caller may not live to do so.
  void note_change(std::uint64_t number) {
    arena_.changed.store(number);
    ++tally_.rounds;
  }
  void note_change() { note_change(arena_.call.load()); }

  // What the harmful verb was for.
  void use();

  // Ready for the next harmful call. False when the context is gone.
  bool again();

 private:
  void prepare();
  void prepare_registration();
  void prepare_gids();
  void prepare_ud();
  void prepare_ah();
  void prepare_rtr();

  // A call, uncounted. True when it came back as the harmful verb, done.
  bool attempt();

  // Where the harmless verb is a long one: what it made goes again. False: nothing was made.
  bool undo();
  // The GIDs are those that the agent shows to everybody: no race was won. Cleared then.
  bool told_what_is_shown();

  // To RTS, by the same race: the agent takes no queue pair there that it has not taken to RTR.
  bool race_to_rts();

  // Nanoseconds into the call at which the change comes.
  std::int64_t when(Random& random);

  // A UD queue pair that the agent never saw come to be, taken up with the agent's own help.
  void use_datagrams();

  const RaceOptions& options_;
  Tally& tally_;
  Rig& rig_;
  Arena& arena_;
  std::array<std::byte, 4096> shown_{};
  void* large_ = nullptr;  // memory whose registration takes a while
  const Clock::time_point start_ = Clock::now();
};

}  // namespace qmasq::attack
