// SPDX-License-Identifier: Apache-2.0
// How fast plans come into the kernel. On a device whose root nobody has set up: bench/tc/run.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "qos/backends/tc/backend.h"
#include "qos/backends/tc/limits.h"
#include "qos/policy.h"

namespace qmasq::qos {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::uint64_t kEndpointsOfAVpc = 100;
constexpr int kChanges = 200;

double milliseconds(Clock::time_point since) {
  return std::chrono::duration<double, std::milli>(Clock::now() - since).count();
}

[[noreturn]] void give_up(const Error& error) {
  std::fprintf(stderr, "bench tc: %s\n", error.message.c_str());
  std::exit(1);
}

void program(Backend& backend, const std::vector<Step>& steps) {
  for (const Status& one : backend.program(steps)) {
    if (!one) give_up(one.error());
  }
}

VpcUid vpc_of(std::uint64_t endpoint) {
  return VpcUid{endpoint / kEndpointsOfAVpc + 1};
}

Plan plan_of(std::uint64_t endpoints) {
  Plan plan;
  auto put = [&plan](NodeId id, NodeId parent, std::uint64_t guaranteed) -> Node& {
    Node node{id, parent, BitsPerSecond{guaranteed}, BitsPerSecond{100'000'000'000}, 65536, 10, {}};
    return plan.nodes[id] = tc::as_programmed(node);
  };
  put(NodeId::nic(), NodeId::nic(), 100'000'000'000);
  put(NodeId::other(), NodeId::nic(), 8000);
  for (std::uint64_t i = 1; i <= endpoints; ++i) {
    put(NodeId::vpc(vpc_of(i)), NodeId::nic(), 100'000'000);
    Node& node = put(NodeId::endpoint(EndpointUid{i}), NodeId::vpc(vpc_of(i)), 1'000'000);
    node.ports = {static_cast<std::uint16_t>(0xc000 + i), 1};
  }
  return plan;
}

double median(std::vector<double> samples) {
  std::nth_element(samples.begin(), samples.begin() + static_cast<long>(samples.size() / 2),
                   samples.end());
  return samples[samples.size() / 2];
}

// One line: endpoints, classes, and milliseconds of each.
void measure(const std::string& device, std::uint64_t endpoints) {
  auto made = tc::make_tc_backend({device});
  if (!made) give_up(made.error());
  Backend& backend = **made;
  auto known = [](EndpointUid uid) { return std::optional(vpc_of(uid.value)); };
  auto there = backend.readback(known);
  if (!there) give_up(there.error());
  if (!there->nodes.empty()) give_up(Error{Code::kFailedPrecondition, "something is there", 0, {}});

  Plan plan = plan_of(endpoints);
  auto steps = diff({}, plan);
  auto begun = Clock::now();
  program(backend, steps);
  double all = milliseconds(begun);

  std::vector<double> changes;
  std::vector<double> replacements;
  for (int i = 0; i < kChanges; ++i) {
    std::uint64_t uid = 1 + static_cast<std::uint64_t>(i) * 37 % endpoints;
    Node node = plan.nodes.at(NodeId::endpoint(EndpointUid{uid}));
    node.maximum = BitsPerSecond{1'000'000'000};
    begun = Clock::now();
    program(backend, {{Step::Kind::kChange, node}});
    changes.push_back(milliseconds(begun));
    begun = Clock::now();
    program(backend, {{Step::Kind::kRemove, node}, {Step::Kind::kAdd, node}});
    replacements.push_back(milliseconds(begun));
  }

  begun = Clock::now();
  if (auto counters = backend.counters(); !counters) give_up(counters.error());
  double counted = milliseconds(begun);
  begun = Clock::now();
  there = backend.readback(known);
  if (!there) give_up(there.error());
  double read = milliseconds(begun);
  if (there->nodes.size() != plan.nodes.size()) {
    give_up(Error{Code::kInternal, "not all was read back", 0, {}});
  }
  begun = Clock::now();
  program(backend, diff(*there, {}));
  double removed = milliseconds(begun);
  std::printf("%llu %zu %.3f %.3f %.3f %.3f %.3f %.3f\n",
              static_cast<unsigned long long>(endpoints), plan.nodes.size(), all, median(changes),
              median(replacements), counted, read, removed);
}

}  // namespace
}  // namespace qmasq::qos

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: qmasq-bench-tc DEVICE ENDPOINTS...   (at most 16383 each)\n", stderr);
    return 2;
  }
  for (int i = 2; i < argc; ++i) {
    long endpoints = std::atol(argv[i]);
    if (endpoints < 1 || endpoints > 16383) return 2;
    qmasq::qos::measure(argv[1], static_cast<std::uint64_t>(endpoints));
  }
  return 0;
}
