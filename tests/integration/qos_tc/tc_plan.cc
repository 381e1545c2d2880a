// SPDX-License-Identifier: Apache-2.0
// Programs a plan on a device, or says what is there: for the lab, where packets flow, and for a
// look at a host. A plan is lines on standard input, parents first:
//
//   nic RATE
//   other
//   vpc UID GUARANTEED MAXIMUM [WEIGHT]
//   endpoint UID VPC GUARANTEED MAXIMUM FIRST_PORT COUNT [WEIGHT]
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>

#include "qos/backends/tc/backend.h"
#include "qos/backends/tc/limits.h"
#include "qos/policy.h"

namespace qmasq::qos {
namespace {

constexpr const char* kUsage =
    "usage: qmasq-tc-plan DEVICE set|hold|show|counters|remove   (set: a plan from standard input; "
    "hold: the same, then waits)\n";

int give_up(const Error& error) {
  std::fprintf(stderr, "qmasq-tc-plan: %s\n", error.message.c_str());
  return 1;
}

// Burst as the planner gives it where a policy has none: 10 ms of the maximum, at least 16 KiB.
Node node(NodeId id, NodeId parent, BitsPerSecond guaranteed, BitsPerSecond maximum,
          std::uint32_t weight) {
  Node made;
  made.id = id;
  made.parent = parent;
  made.guaranteed = std::max(guaranteed, kLeastGuarantee);
  made.maximum = maximum;
  made.burst = std::max<std::uint64_t>(maximum.value / 800, 16384);
  made.weight = weight;
  return made;
}

Result<Plan> read_plan(std::istream& in) {
  Plan plan;
  BitsPerSecond nic;
  std::string line;
  while (std::getline(in, line)) {
    std::istringstream words(line);
    std::string what;
    std::string guaranteed = "8kbit";
    std::string maximum;
    std::uint64_t uid = 0;
    std::uint64_t vpc = 0;
    std::uint32_t weight = kDefaultWeight;
    PortBlock ports;
    words >> what;
    if (what.empty()) continue;
    NodeId id;
    NodeId parent = NodeId::nic();
    if (what == "nic") {
      words >> maximum;
      guaranteed = maximum;
    } else if (what == "other") {
      id = NodeId::other();
      maximum = std::to_string(nic.value) + "bit";
    } else if (what == "vpc") {
      words >> uid >> guaranteed >> maximum;
      id = NodeId::vpc(VpcUid{uid});
    } else if (what == "endpoint") {
      words >> uid >> vpc >> guaranteed >> maximum >> ports.first >> ports.count;
      id = NodeId::endpoint(EndpointUid{uid});
      parent = NodeId::vpc(VpcUid{vpc});
    }
    if (words.fail() || maximum.empty()) {
      return fail(Code::kInvalidArgument, "not understood: " + line);
    }
    if (std::uint32_t other = 0; words >> other) weight = other;
    QMASQ_ASSIGN(BitsPerSecond low, parse_rate(guaranteed));
    QMASQ_ASSIGN(BitsPerSecond high, parse_rate(maximum));
    if (what == "nic") nic = high;
    Node made = node(id, parent, low, high, weight);
    made.ports = ports;
    plan.nodes[id] = made;
  }
  return plan;
}

void print(const Node& one) {
  std::printf("%s in %s: guaranteed %s maximum %s burst %s weight %u ports %u+%u\n",
              to_string(one.id).c_str(), to_string(one.parent).c_str(),
              to_string(one.guaranteed).c_str(), to_string(one.maximum).c_str(),
              size_to_string(one.burst).c_str(), one.weight, one.ports.first, one.ports.count);
}

int set(Backend& backend, const Plan& there, const Plan& want) {
  int failed = 0;
  auto steps = diff(there, want);
  auto results = backend.program(steps);
  for (const Status& one : results) {
    if (!one) failed = give_up(one.error());
  }
  std::printf("%zu steps\n", steps.size());
  return failed;
}

// Endpoints are known by VPCs that they are given as here: number / 100.
std::optional<VpcUid> vpc_of(EndpointUid endpoint) {
  return VpcUid{endpoint.value / 100};
}

int run(const std::string& device, const std::string& verb) {
  auto backend = tc::make_tc_backend({device});
  if (!backend) return give_up(backend.error());
  auto there = (*backend)->readback(vpc_of);
  if (!there) return give_up(there.error());
  if (verb == "show") {
    for (const auto& [id, one] : there->nodes)
      print(one);
    return 0;
  }
  if (verb == "remove") return set(**backend, *there, {});
  if (verb == "counters") {
    auto counters = (*backend)->counters();
    if (!counters) return give_up(counters.error());
    for (const auto& [id, one] : *counters) {
      std::printf("%s bytes %" PRIu64 " packets %" PRIu64 " drops %" PRIu64 " overlimits %" PRIu64
                  " backlog %" PRIu64 "\n",
                  to_string(id).c_str(), one.bytes, one.packets, one.drops, one.overlimits,
                  one.backlog);
    }
    return 0;
  }
  if (verb != "set" && verb != "hold") {
    std::fputs(kUsage, stderr);
    return 2;
  }
  auto want = read_plan(std::cin);
  if (!want) return give_up(want.error());
  Plan rounded;
  for (const auto& [id, one] : want->nodes)
    rounded.nodes[id] = tc::as_programmed(one);
  int result = set(**backend, *there, rounded);
  std::fflush(stdout);
  while (verb == "hold")
    ::pause();
  return result;
}

}  // namespace
}  // namespace qmasq::qos

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs(qmasq::qos::kUsage, stderr);
    return 2;
  }
  return qmasq::qos::run(argv[1], argv[2]);
}
