// SPDX-License-Identifier: Apache-2.0
// ./x bench flood: what a tenant that floods control verbs costs its neighbour, natively, on a stub
// device through the real filter and the real agent code. The neighbour connects QPs; its latency
// alone, beside the flood without limits, and beside the flood under a verb rate, in alternating
// rounds.
#include <spdlog/spdlog.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>

#include "bench/flood/flooder.h"
#include "bench/trap/tenant.h"
#include "bench/trap/world.h"

namespace qmasq::bench {
namespace {

constexpr std::size_t kEntries = 2000;  // of the map; 0 and kHosts are of this host
constexpr std::size_t kVictim = 0;
constexpr std::size_t kFlooder = World::kHosts;

enum class Setting { kAlone, kFlood, kRated };
constexpr std::array kSettings = {Setting::kAlone, Setting::kFlood, Setting::kRated};
const char* name_of(Setting setting) {
  switch (setting) {
    case Setting::kAlone:
      return "alone";
    case Setting::kFlood:
      return "beside a flood, no limit";
    case Setting::kRated:
      return "beside a flood, verb rate";
  }
  return "?";
}

struct Row {
  std::vector<double> micros;
  double calls = 0;  // of the flooder
  double refused = 0;
  double seconds = 0;
};

double percentile(std::vector<double> samples, double percent) {
  if (samples.empty()) return 0;
  auto at = static_cast<std::ptrdiff_t>(percent / 100 * static_cast<double>(samples.size() - 1));
  std::nth_element(samples.begin(), samples.begin() + at, samples.end());
  return samples[static_cast<std::size_t>(at)];
}

bool complain(const std::string& text) {
  std::fprintf(stderr, "bench flood: %s\n", text.c_str());
  return false;
}

bool measure(World& world, Setting setting, std::size_t threads, std::size_t count,
             const qos::VerbRate& rate, Row& row) {
  world.limit_verbs(kFlooder, setting == Setting::kRated ? std::optional(rate) : std::nullopt);
  // Both are forked before the other one's threads are there.
  auto victim = Tenant::start(Verb::kRtr, count, kEntries);
  if (!victim) return complain(victim.error().message);
  if (auto served = world.attach(victim->take_listener(), victim->pid(), kVictim); !served)
    return complain(served.error().message);
  std::optional<Flooder> flooder;
  if (setting != Setting::kAlone) {
    auto started = Flooder::start(threads, [&](UniqueFd listener, pid_t pid) {
      return world.attach(std::move(listener), pid, kFlooder);
    });
    if (!started) return complain(started.error().message);
    flooder.emplace(std::move(*started));
    // Until the agent has as many receivers for it as it will have.
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  const std::uint64_t calls = flooder ? flooder->calls() : 0;
  const std::uint64_t refused = flooder ? flooder->refused() : 0;
  const auto start = std::chrono::steady_clock::now();
  Samples samples = victim->measure();
  row.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (flooder) {
    row.calls += static_cast<double>(flooder->calls() - calls);
    row.refused += static_cast<double>(flooder->refused() - refused);
  }
  if (!samples.error.empty()) return complain("tenant: " + samples.error);
  row.micros.insert(row.micros.end(), samples.micros.begin(), samples.micros.end());
  return true;
}

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown CPU";
}

double load() {
  double out = 0;
  std::ifstream("/proc/loadavg") >> out;
  return out;
}

}  // namespace
}  // namespace qmasq::bench

int main(int argc, char** argv) {
  using namespace qmasq;  // NOLINT(google-build-using-namespace): the program is all about it
  CLI::App app{"What a tenant that floods control verbs costs another, natively, on a stub device"};
  std::size_t rounds = 5;
  std::size_t count = 10'000;
  std::size_t threads = 4;
  qos::VerbRate rate{1000, 1000};
  app.add_option("--rounds", rounds, "Alternating rounds of the three settings");
  app.add_option("--count", count, "Timed calls of the victim in a round");
  app.add_option("--threads", threads, "Threads of the tenant that floods");
  app.add_option("--rate", rate.per_second, "Its verb rate where it has one, calls a second");
  app.add_option("--burst", rate.burst, "The burst of that rate");
  CLI11_PARSE(app, argc, argv);
  spdlog::set_level(spdlog::level::err);

  const double load_before = bench::load();
  bench::World world(bench::kEntries);
  std::array<bench::Row, bench::kSettings.size()> rows;
  for (std::size_t round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (!bench::measure(world, bench::kSettings[i], threads, count, rate, rows[i])) return 1;
    }
  }
  std::printf(
      "victim (MODIFY_QP to RTR)        p50      p99   p99/alone   flood: calls/s  refused/s\n");
  const double alone = bench::percentile(rows[0].micros, 99);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double p99 = bench::percentile(rows[i].micros, 99);
    std::printf("%-26s  %8.2f %8.2f  %9.2fx  %15.0f  %9.0f\n", name_of(bench::kSettings[i]),
                bench::percentile(rows[i].micros, 50), p99, p99 / alone,
                rows[i].calls / rows[i].seconds, rows[i].refused / rows[i].seconds);
  }
  utsname kernel{};
  ::uname(&kernel);
  std::printf(
      "microseconds; %zu alternating rounds of %zu calls; %zu threads flood; rate %u/s, burst %u;\n"
      "%s, %u cores, Linux %s, load %.1f before\n",
      rounds, count, threads, rate.per_second, rate.burst, bench::cpu_model().c_str(),
      std::thread::hardware_concurrency(), kernel.release, load_before);
  return 0;
}
