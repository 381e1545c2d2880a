// SPDX-License-Identifier: Apache-2.0
// ./x bench qos: the plan of one NIC, from scratch and after one change, beside a plain planner
// that plans all of it each time and compares. Both hand out the same steps, which is checked.
#include <malloc.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/qos/plain.h"
#include "qos/planner.h"
#include "qos/port_blocks.h"

namespace qmasq::bench {
namespace {

using qos::Bandwidth;
using qos::Plan;
using qos::Planner;
using qos::Step;

constexpr std::uint32_t kSeed = 1;
constexpr std::uint64_t kMbit = 1'000'000;
constexpr int kScratchRounds = 21;
constexpr int kChangeRounds = 301;

// Of this thread on a processor: nothing here waits, and what others do on the machine is not ours.
double now_ms() {
  timespec now{};
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}
double milliseconds(double since) {
  return now_ms() - since;
}

struct Times {
  std::vector<double> all;
  [[nodiscard]] double at(std::size_t percent) {
    std::sort(all.begin(), all.end());
    return all[(all.size() - 1) * percent / 100];
  }
};

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

// Every endpoint has a guarantee and every fourth a maximum; every VPC has a maximum. Of the NIC's
// rate half is promised, or twice as much as it has.
struct World {
  std::size_t endpoints;
  std::size_t vpcs;
  std::uint64_t rate;

  struct Attached {
    std::uint64_t uid = 0;
    std::uint64_t vpc = 0;
    Bandwidth bandwidth;
    qos::PortBlock ports;
  };
  std::vector<Attached> attached;
  std::vector<Bandwidth> of_vpcs;

  World(std::size_t endpoint_count, std::size_t vpc_count, bool oversubscribed)
      : endpoints(endpoint_count), vpcs(vpc_count), rate(0) {
    std::mt19937 random(kSeed);
    qos::PortBlocks blocks;
    std::uint64_t promised = 0;
    for (std::uint64_t uid = 1; uid <= endpoints; ++uid) {
      Attached one;
      one.uid = uid;
      one.vpc = 1 + random() % vpcs;
      one.bandwidth.guaranteed = BitsPerSecond{(1 + random() % 10) * kMbit};
      if (random() % 4 == 0) one.bandwidth.maximum = BitsPerSecond{100 * kMbit};
      one.ports = blocks.take(EndpointUid{uid}).value();
      promised += one.bandwidth.guaranteed->value;
      attached.push_back(one);
    }
    rate = oversubscribed ? promised / 2 : promised * 2;
    for (std::size_t vpc = 0; vpc < vpcs; ++vpc) {
      Bandwidth bandwidth;
      bandwidth.maximum = BitsPerSecond{promised};
      of_vpcs.push_back(bandwidth);
    }
  }
  void fill(Planner& planner) const {
    planner.set_rate(BitsPerSecond{rate});
    for (std::size_t vpc = 0; vpc < vpcs; ++vpc)
      planner.put_vpc(VpcUid{vpc + 1}, of_vpcs[vpc]);
    for (const Attached& one : attached)
      planner.put_endpoint(EndpointUid{one.uid}, VpcUid{one.vpc}, one.bandwidth, one.ports);
  }
  void fill(Plain& plain) const {
    plain.rate = rate;
    for (std::size_t vpc = 0; vpc < vpcs; ++vpc)
      plain.vpcs[vpc + 1].bandwidth = of_vpcs[vpc];
    for (const Attached& one : attached)
      plain.vpcs[one.vpc].endpoints[one.uid] = {one.bandwidth, one.ports};
  }
};

int wrong = 0;

void agree(const std::vector<Step>& ours, const std::vector<Step>& plain) {
  if (ours == plain) return;
  std::printf("STEPS DIFFER\n");
  ++wrong;
}

void from_scratch(std::size_t endpoints, std::size_t vpcs) {
  const World world(endpoints, vpcs, true);
  Times ours;
  Times plain;
  std::size_t steps = 0;
  double bytes = 0;
  for (int round = 0; round < kScratchRounds; ++round) {
    const std::size_t before = mallinfo2().uordblks;
    auto start = now_ms();
    Planner planner;
    world.fill(planner);
    std::vector<Step> all = planner.take_changes();
    ours.all.push_back(milliseconds(start));
    steps = all.size();
    start = now_ms();
    Plain other;
    world.fill(other);
    const auto found = qos::diff({}, other.plan());
    plain.all.push_back(milliseconds(start));
    agree(all, found);
    // Of the planner alone: what it handed out is the backend's.
    other = {};
    std::vector<Step>().swap(all);
    bytes = static_cast<double>(mallinfo2().uordblks - before) -
            static_cast<double>(found.capacity() * sizeof(Step));
  }
  std::printf("%10zu %6zu %8zu %11.3f %8.3f %11.3f %8.3f %7.2fx %10.0f\n", endpoints, vpcs, steps,
              ours.at(50), ours.at(99), plain.at(50), plain.at(99), plain.at(50) / ours.at(50),
              bytes / static_cast<double>(endpoints));
}

class Changes {
 public:
  explicit Changes(const World& world) : world_(world) {
    world.fill(planner_);
    world.fill(plain_);
    (void)planner_.take_changes();
    programmed_ = plain_.plan();
  }

  // One change done to both, over and over.
  template <typename Change>
  void measure(const char* name, Change change) {
    Times ours;
    Times plain;
    std::vector<std::size_t> steps;
    std::mt19937 random(kSeed);
    for (int round = 0; round < kChangeRounds; ++round) {
      const std::uint32_t number = random();
      auto start = now_ms();
      change(planner_, number);
      const auto mine = planner_.take_changes();
      ours.all.push_back(milliseconds(start));
      // The slow one need not be asked as often.
      if (round % 10 != 0) {
        change(plain_, number);
        qos::apply(mine.begin(), mine.end(), programmed_);
        steps.push_back(mine.size());
        continue;
      }
      start = now_ms();
      change(plain_, number);
      Plan now = plain_.plan();
      const auto found = qos::diff(programmed_, now);
      plain.all.push_back(milliseconds(start));
      agree(mine, found);
      steps.push_back(mine.size());
      programmed_ = std::move(now);
    }
    std::sort(steps.begin(), steps.end());
    std::printf("  %-26s %8zu %11.4f %9.4f %11.3f %8.3f %9.1fx\n", name, steps[steps.size() / 2],
                ours.at(50), ours.at(99), plain.at(50), plain.at(99), plain.at(50) / ours.at(50));
  }

  void run() {
    auto endpoint = [this](auto& target, std::uint32_t number, auto alter) {
      const auto& one = world_.attached[number % world_.attached.size()];
      Bandwidth bandwidth = one.bandwidth;
      alter(bandwidth);
      put(target, one, bandwidth);
    };
    measure("weight of an endpoint", [&](auto& target, std::uint32_t number) {
      endpoint(target, number, [&](Bandwidth& bandwidth) { bandwidth.weight = 1 + number % 100; });
    });
    measure("maximum of an endpoint", [&](auto& target, std::uint32_t number) {
      endpoint(target, number, [&](Bandwidth& bandwidth) {
        bandwidth.maximum = BitsPerSecond{(20 + number % 50) * kMbit};
      });
    });
    measure("guarantee of an endpoint", [&](auto& target, std::uint32_t number) {
      endpoint(target, number, [&](Bandwidth& bandwidth) {
        bandwidth.guaranteed = BitsPerSecond{(1 + number % 19) * kMbit / 2};
      });
    });
    auto vpc = [this](auto& target, std::uint32_t number, auto alter) {
      const std::size_t which = number % world_.vpcs;
      Bandwidth bandwidth = world_.of_vpcs[which];
      alter(bandwidth);
      put(target, which + 1, bandwidth);
    };
    measure("weight of a VPC", [&](auto& target, std::uint32_t number) {
      vpc(target, number, [&](Bandwidth& bandwidth) { bandwidth.weight = 1 + number % 100; });
    });
    measure("maximum of a VPC", [&](auto& target, std::uint32_t number) {
      vpc(target, number, [&](Bandwidth& bandwidth) {
        bandwidth.maximum = BitsPerSecond{world_.rate / 4 + (number % 1000) * kMbit};
      });
    });
    measure("guarantee of a VPC", [&](auto& target, std::uint32_t number) {
      vpc(target, number, [&](Bandwidth& bandwidth) {
        bandwidth.guaranteed = BitsPerSecond{world_.rate / 4 + (number % 1000) * kMbit};
      });
    });
    measure("rate of the NIC", [&](auto& target, std::uint32_t number) {
      put(target, world_.rate + (number % 1000) * kMbit);
    });
  }

 private:
  static void put(Planner& planner, const World::Attached& one, const Bandwidth& bandwidth) {
    planner.put_endpoint(EndpointUid{one.uid}, VpcUid{one.vpc}, bandwidth, one.ports);
  }
  static void put(Plain& plain, const World::Attached& one, const Bandwidth& bandwidth) {
    plain.vpcs[one.vpc].endpoints[one.uid].bandwidth = bandwidth;
  }
  static void put(Planner& planner, std::uint64_t vpc, const Bandwidth& bandwidth) {
    planner.put_vpc(VpcUid{vpc}, bandwidth);
  }
  static void put(Plain& plain, std::uint64_t vpc, const Bandwidth& bandwidth) {
    plain.vpcs[vpc].bandwidth = bandwidth;
  }
  static void put(Planner& planner, std::uint64_t rate) { planner.set_rate(BitsPerSecond{rate}); }
  static void put(Plain& plain, std::uint64_t rate) { plain.rate = rate; }

  const World& world_;
  Planner planner_;
  Plain plain_;
  Plan programmed_;
};

void changes(std::size_t endpoints, std::size_t vpcs, bool oversubscribed) {
  std::printf("%zu endpoints, %zu VPCs, %s\n", endpoints, vpcs,
              oversubscribed ? "twice the NIC promised" : "half the NIC promised");
  const World world(endpoints, vpcs, oversubscribed);
  Changes(world).run();
}

int run() {
  std::printf("from scratch, twice the NIC promised: all is scaled\n");
  std::printf("%10s %6s %8s %11s %8s %11s %8s %8s %10s\n", "endpoints", "VPCs", "steps", "ours p50",
              "p99", "plain p50", "p99", "ratio", "bytes each");
  for (auto [endpoints, vpcs] : {std::pair<std::size_t, std::size_t>{100, 1},
                                 {100, 10},
                                 {1000, 1},
                                 {1000, 100},
                                 {10'000, 1},
                                 {10'000, 100},
                                 {10'000, 1000}}) {
    from_scratch(endpoints, vpcs);
  }
  std::printf("\n%-28s %8s %11s %9s %11s %8s %10s\n", "one change", "steps", "ours p50", "p99",
              "plain p50", "p99", "ratio");
  for (std::size_t vpcs : {1, 100, 1000}) {
    changes(10'000, vpcs, false);
    changes(10'000, vpcs, true);
  }
  std::printf("milliseconds of processor time; %d rounds from scratch, %d of each change; %s\n",
              kScratchRounds, kChangeRounds, machine().c_str());
  return wrong == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace qmasq::bench

int main() {
  return qmasq::bench::run();
}
