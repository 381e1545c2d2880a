// SPDX-License-Identifier: Apache-2.0
// ./x bench policy: a verdict on two random endpoints of a large VPC, answered by the library and
// by what else could have been taken, and what a change of rules costs with a million connections.
#include <sys/utsname.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "bench/policy/world.h"

namespace qmasq::bench {
namespace {

using conntrack::Direction;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kGroups = 1000;
constexpr std::size_t kRules = 10'000;
constexpr std::size_t kEndpoints = 1'000'000;
constexpr std::size_t kVerdicts = 200'000;
constexpr std::size_t kBatch = 64;  // verdicts

struct Pair {
  std::uint32_t first;
  std::uint32_t second;
};

// The four questions of one verdict.
void ask(const World& world, const Pair& pair, std::vector<conntrack::GroupSetPtr>& held,
         std::vector<Question>& out) {
  const auto& first = world.endpoints[pair.first];
  const auto& second = world.endpoints[pair.second];
  held.push_back(world.sets.get(first.set));
  const conntrack::GroupSet* own = held.back().get();
  held.push_back(world.sets.get(second.set));
  const conntrack::GroupSet* peer = held.back().get();
  out.push_back({own, peer, second.address, Direction::kEgress});
  out.push_back({peer, own, first.address, Direction::kIngress});
  out.push_back({peer, own, first.address, Direction::kEgress});
  out.push_back({own, peer, second.address, Direction::kIngress});
}

struct Result {
  double p50 = 0;
  double p99 = 0;
  double batched = 0;  // mean, nanoseconds a verdict
  std::uint64_t checksum = 0;
};

Result measure(const World& world, const Rules& rules, const std::vector<Pair>& pairs) {
  Result out;
  std::vector<double> times;
  times.reserve(pairs.size());
  std::vector<conntrack::GroupSetPtr> held;
  std::vector<Question> questions;
  for (const Pair& pair : pairs) {
    held.clear();
    questions.clear();
    const auto start = Clock::now();
    ask(world, pair, held, questions);
    for (const Question& question : questions)
      out.checksum += rules.decide(question);
    times.push_back(std::chrono::duration<double, std::nano>(Clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  out.p50 = times[times.size() / 2];
  out.p99 = times[times.size() * 99 / 100];
  std::vector<std::uint32_t> answers(4 * kBatch);
  const std::size_t batched = pairs.size() - pairs.size() % kBatch;
  const auto start = Clock::now();
  for (std::size_t at = 0; at < batched; at += kBatch) {
    held.clear();
    questions.clear();
    for (std::size_t i = 0; i < kBatch; ++i)
      ask(world, pairs[at + i], held, questions);
    rules.decide_all(questions, answers);
  }
  out.batched = std::chrono::duration<double, std::nano>(Clock::now() - start).count() /
                static_cast<double>(batched);
  return out;
}

std::string machine() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string model = "unknown processor";
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    model = line.substr(line.find(':') + 2);
    break;
  }
  utsname name{};
  (void)uname(&name);
  return model + ", " + std::to_string(std::thread::hardware_concurrency()) + " cores, Linux " +
         name.release;
}

int run() {
  const World world(kGroups, kRules, kEndpoints);
  std::vector<std::unique_ptr<Rules>> all;
  all.push_back(compiled_rules());
  all.push_back(scanned_rules(world));
  all.push_back(absl_rules(world));
  all.push_back(std_rules(world));
#ifdef QMASQ_BENCH_DPDK
  for (auto& rules : dpdk_rules(world))
    all.push_back(std::move(rules));
#else
  std::printf("built without DPDK (libdpdk-dev): not compared\n");
#endif
  std::mt19937 random(7);
  std::vector<Pair> pairs(kVerdicts);
  for (Pair& pair : pairs)
    pair = {static_cast<std::uint32_t>(random() % kEndpoints),
            static_cast<std::uint32_t>(random() % kEndpoints)};
  std::printf(
      "%zu rules over %zu groups, %zu endpoints with 1 to 3 groups each (5000 combinations), %zu "
      "random pairs\n\n",
      kRules, kGroups, kEndpoints, kVerdicts);
  std::printf("%-24s %10s %10s %12s %8s\n", "one verdict (both sides)", "p50 ns", "p99 ns",
              "in 64s, ns", "ratio");
  double ours = 0;
  std::uint64_t checksum = 0;
  int wrong = 0;
  for (const auto& rules : all) {
    (void)measure(world, *rules, pairs);  // warms up
    const Result result = measure(world, *rules, pairs);
    if (ours == 0) {
      ours = result.p50;
      checksum = result.checksum;
    }
    std::printf("%-24s %10.0f %10.0f %12.0f %8.2f%s\n", rules->name().c_str(), result.p50,
                result.p99, result.batched, result.p50 / ours,
                result.checksum == checksum ? "" : "  ANSWERS DIFFER");
    if (result.checksum != checksum) ++wrong;
  }
  reevaluate(1'000'000);
  std::printf("\n%s\n", machine().c_str());
  return wrong == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace qmasq::bench

int main() {
  return qmasq::bench::run();
}
