// SPDX-License-Identifier: Apache-2.0
// ./x bench trap: what a trapped verb costs natively. A tenant process issues RDMA_VERBS_IOCTL on a
// stub device through the real filter and the real agent code; beside it, in the same run, the
// floor: the same trap, answered at once.
#include <spdlog/spdlog.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>

#include "bench/trap/floor.h"
#include "bench/trap/tenant.h"
#include "bench/trap/world.h"

namespace qmasq::bench {
namespace {

// Sealed calls take several times as long as others: so many times fewer of them.
constexpr std::size_t kSealedShare = 10;

struct Row {
  std::vector<double> floor;
  std::vector<double> neutral;
  std::vector<double> sealed;
  std::vector<double> rtr;
};

double percentile(std::vector<double> samples, double percent) {
  if (samples.empty()) return 0;
  auto at = static_cast<std::ptrdiff_t>(percent / 100 * static_cast<double>(samples.size() - 1));
  std::nth_element(samples.begin(), samples.begin() + at, samples.end());
  return samples[static_cast<std::size_t>(at)];
}

void add(std::vector<double>& to, const std::vector<double>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

// Runs one tenant to its end; false with a message when it could not.
template <typename Serve>
bool run(Verb verb, std::size_t count, std::size_t entries, std::vector<double>& into,
         Serve serve) {
  auto tenant = Tenant::start(verb, count, entries);
  if (!tenant) {
    std::fprintf(stderr, "bench trap: %s\n", tenant.error().message.c_str());
    return false;
  }
  if (auto served = serve(*tenant); !served) {
    std::fprintf(stderr, "bench trap: %s\n", served.error().message.c_str());
    return false;
  }
  Samples samples = tenant->measure();
  if (!samples.error.empty()) {
    std::fprintf(stderr, "bench trap: tenant: %s\n", samples.error.c_str());
    return false;
  }
  add(into, samples.micros);
  return true;
}

bool measure(std::size_t entries, std::size_t rounds, std::size_t count, Row& row) {
  World world(entries);
  auto attach = [&](Tenant& tenant) { return world.attach(tenant.take_listener(), tenant.pid()); };
  auto seal = [&](Tenant& tenant) {
    return world.attach_sealed(tenant.take_listener(), tenant.pid());
  };
  for (std::size_t round = 0; round < rounds; ++round) {
    {
      Floor floor;
      if (!run(Verb::kFloor, count, entries, row.floor,
               [&](Tenant& tenant) { return floor.serve(tenant.take_listener()); })) {
        return false;
      }
    }
    if (!run(Verb::kNeutral, count, entries, row.neutral, attach)) return false;
    if (!run(Verb::kNeutral, count / kSealedShare, entries, row.sealed, seal)) return false;
    if (!run(Verb::kRtr, count, entries, row.rtr, attach)) return false;
  }
  double ratio = percentile(row.rtr, 50) / percentile(row.floor, 50);
  std::printf("%10zu  %6.2f %7.2f  %8.2f %7.2f  %7.2f %7.2f  %6.2f %7.2f  %9.2fx  %14.1f\n",
              entries, percentile(row.floor, 50), percentile(row.floor, 99),
              percentile(row.neutral, 50), percentile(row.neutral, 99), percentile(row.sealed, 50),
              percentile(row.sealed, 99), percentile(row.rtr, 50), percentile(row.rtr, 99), ratio,
              static_cast<double>(world.map_bytes()) / static_cast<double>(world.map_entries()));
  std::fflush(stdout);
  return true;
}

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown CPU";
}

}  // namespace
}  // namespace qmasq::bench

int main(int argc, char** argv) {
  using namespace qmasq;  // NOLINT(google-build-using-namespace): the program is all about it
  CLI::App app{"What a trapped verb costs, natively, against a stub device"};
  std::vector<std::size_t> entries = {1'000, 100'000, 1'000'000};
  std::size_t rounds = 3;
  std::size_t count = 20'000;
  app.add_option("--entries", entries, "Sizes of the map");
  app.add_option("--rounds", rounds, "Alternating rounds of floor, neutral, RTR");
  app.add_option("--count", count, "Calls of each kind in a round");
  CLI11_PARSE(app, argc, argv);
  // Connections go to the event ring; their lines are left out, as they are above level info.
  spdlog::set_level(spdlog::level::warn);

  std::printf(
      "                  floor            neutral          sealed           RTR      RTR/floor   "
      "map, bytes\n");
  std::printf(
      "   entries     p50     p99       p50     p99      p50     p99     p50     p99        p50    "
      "per entry\n");
  for (std::size_t size : entries) {
    bench::Row row;
    if (!bench::measure(size, rounds, count, row)) return 1;
  }
  utsname kernel{};
  ::uname(&kernel);
  std::printf(
      "microseconds; %zu alternating rounds of %zu calls; log level warn; %s, %u cores, Linux %s\n",
      rounds, count, bench::cpu_model().c_str(), std::thread::hardware_concurrency(),
      kernel.release);
  return 0;
}
