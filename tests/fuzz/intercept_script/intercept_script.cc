// SPDX-License-Identifier: Apache-2.0
// Hostile tenants by script; README.md beside this file.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "tests/fuzz/intercept_script/arena.h"
#include "tests/fuzz/intercept_script/player.h"
#include "tests/fuzz/intercept_script/script.h"

namespace {

using namespace qmasq::fuzz;  // NOLINT

bool has_address(std::span<const std::uint8_t> bytes) {
  // Half of a GID is enough: a payload may start in one field and end in the next.
  for (std::uint64_t host = 1; host <= Oracle::kHosts; ++host) {
    const auto gid = Oracle::physical(qmasq::HostUid{host});
    const auto tail = std::span(gid.raw).subspan(gid.raw.size() - sizeof(std::uint32_t));
    if (std::search(bytes.begin(), bytes.end(), tail.begin(), tail.end()) != bytes.end())
      return true;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool quiet = [] {
    spdlog::set_level(spdlog::level::off);
    return std::getenv("QMASQ_FUZZ_TRACE") == nullptr;
  }();
  const std::span input(data, std::min(size, kMostScript));
  const Script script = parse(input);
  if (script.steps.empty()) return 0;
  Arena arena(script.mode);
  arena.trace = !quiet;
  arena.knows_address = has_address(input);
  Player player(arena);
  arena.check();
  for (const Step& step : script.steps) {
    player.play(step);
    arena.check();
  }
  arena.settle_all();
  arena.check_settled();
  arena.finish();
  return 0;
}

// libFuzzer's; not there when a corpus is replayed.
extern "C" __attribute__((weak)) std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size,
                                                              std::size_t most);

namespace {

using Bytes = std::vector<std::uint8_t>;

void change_step(Bytes& script, std::size_t at, std::minstd_rand& random) {
  const std::size_t byte = at + random() % sizeof(Step);
  if (random() % 4 == 0 && LLVMFuzzerMutate != nullptr) {
    (void)LLVMFuzzerMutate(script.data() + at, sizeof(Step), sizeof(Step));
  } else if (random() % 2 == 0) {
    script[byte] = static_cast<std::uint8_t>(random());
  } else {
    script[byte] = static_cast<std::uint8_t>(script[byte] + random() % 5 - 2);
  }
}

}  // namespace

// Steps are what is added, taken away, doubled and moved; bytes change within one of them. Of the
// library's own mutations, which know nothing of steps, every eighth.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  most = std::min(most, kMostScript);
  std::minstd_rand random(seed + 1);
  if (LLVMFuzzerMutate != nullptr && random() % 8 == 0)
    return LLVMFuzzerMutate(data, std::min(size, most), most);
  Bytes script(data, data + std::min(size, most));
  if (script.empty()) script.push_back(0);
  std::size_t steps = (script.size() - kModeSize) / sizeof(Step);
  script.resize(kModeSize + steps * sizeof(Step));
  auto place = [&](std::size_t step) { return kModeSize + step * sizeof(Step); };
  auto begin = [&](std::size_t step) {
    return script.begin() + static_cast<std::ptrdiff_t>(place(step));
  };
  for (unsigned i = 0, rounds = 1 + random() % 3; i < rounds; ++i) {
    steps = (script.size() - kModeSize) / sizeof(Step);
    const std::size_t one = steps == 0 ? 0 : random() % steps;
    const bool room = place(steps + 1) <= most;
    switch (random() % 8) {
      case 0:
        script[0] = static_cast<std::uint8_t>(random());
        break;
      case 1:
      case 2:
        if (room) {
          Bytes fresh(sizeof(Step));
          for (auto& byte : fresh)
            byte = static_cast<std::uint8_t>(random() % 3 == 0 ? 0 : random());
          script.insert(begin(one), fresh.begin(), fresh.end());
        }
        break;
      case 3:
        if (steps > 1) script.erase(begin(one), begin(one + 1));
        break;
      case 4:
        if (steps > 0 && room) {
          const Bytes copy(begin(one), begin(one + 1));
          script.insert(begin(random() % (steps + 1)), copy.begin(), copy.end());
        }
        break;
      case 5:
        if (steps > 1) {
          const std::size_t other = random() % steps;
          std::swap_ranges(begin(one), begin(one + 1), begin(other));
          if (one == other) script[0] ^= 1U;
        }
        break;
      default:
        if (steps > 0) change_step(script, place(one), random);
        break;
    }
  }
  std::copy(script.begin(), script.end(), data);
  return script.size();
}
