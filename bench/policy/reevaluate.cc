// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "bench/policy/world.h"
#include "conntrack/tracker.h"

namespace qmasq::bench {
namespace {

using conntrack::Group;
using conntrack::Remote;
using conntrack::Rule;
using conntrack::Tracker;

constexpr std::uint64_t kEndpoints = 1000;  // of this host; each connects to peers elsewhere
constexpr int kRounds = 5;

Rule rule(const char* id, Remote::Kind kind, std::uint64_t group) {
  Rule out;
  out.id = id;
  out.remote.kind = kind;
  if (kind == Remote::Kind::kGroup) out.remote.group = SecurityGroupUid{group};
  if (kind == Remote::Kind::kCidr) out.remote.cidr = {IpAddress::from_v4(0x0a000000U), 8};
  return out;
}

// Group 1 is everybody's here, 2 that of the peers, 3 that of ten peers only.
Group everybody(std::vector<Rule> rules) {
  Group out;
  out.uid = SecurityGroupUid{1};
  out.vpc = VpcUid{1};
  out.name = "vpcs/bench/securityGroups/everybody";
  out.rules = std::move(rules);
  return out;
}

IpAddress address(std::uint64_t uid) {
  return IpAddress::from_v4(0x0a000000U + static_cast<std::uint32_t>(uid));
}

// Answers as the agent's map of peers does, without its size: that is `./x bench trap`'s matter.
class Endpoints final : public conntrack::Directory {
 public:
  explicit Endpoints(conntrack::GroupSets& sets) {
    const std::vector<SecurityGroupUid> here{SecurityGroupUid{1}};
    const std::vector<SecurityGroupUid> there{SecurityGroupUid{2}};
    const std::vector<SecurityGroupUid> few{SecurityGroupUid{2}, SecurityGroupUid{3}};
    here_ = sets.acquire(here);
    there_ = sets.acquire(there);
    few_ = sets.acquire(few);
  }
  [[nodiscard]] std::optional<conntrack::Standing> look(EndpointUid endpoint,
                                                        const IpAddress&) const override {
    if (endpoint.value <= kEndpoints) return conntrack::Standing{VpcUid{1}, HostUid{1}, here_};
    const bool one_of_few = endpoint.value <= kEndpoints + 10;
    return conntrack::Standing{VpcUid{1}, HostUid{2}, one_of_few ? few_ : there_};
  }

 private:
  conntrack::SetId here_;
  conntrack::SetId there_;
  conntrack::SetId few_;
};

double milliseconds_of(Tracker& tracker, Group group, std::size_t* effects) {
  conntrack::PolicyChange change;
  change.groups = {std::move(group)};
  const auto start = std::chrono::steady_clock::now();
  *effects = tracker.apply(std::move(change)).size();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

}  // namespace

void reevaluate(std::size_t connections) {
  conntrack::GroupSets sets;
  Endpoints endpoints(sets);
  Tracker tracker(sets, endpoints, {connections + 1});
  const std::vector<Rule> open = {rule("peers", Remote::Kind::kGroup, 2),
                                  rule("range", Remote::Kind::kCidr, 0)};
  std::size_t effects = 0;
  (void)milliseconds_of(tracker, everybody(open), &effects);
  for (std::size_t i = 0; i < connections; ++i) {
    conntrack::Tracked connection;
    connection.key = {i / 64, static_cast<std::uint32_t>(i % 64)};
    connection.own = EndpointUid{1 + i % kEndpoints};
    // Ten of them lead to the few.
    connection.peer = EndpointUid{i < 10 ? kEndpoints + 1 + i : kEndpoints + 11 + i};
    connection.own_address = address(connection.own.value);
    connection.peer_address = address(connection.peer.value);
    connection.peer_host = HostUid{2};
    (void)tracker.admit(connection);
  }
  std::printf("\n%zu connections tracked, %.0f bytes each\n", tracker.size(),
              static_cast<double>(tracker.memory_bytes()) / static_cast<double>(tracker.size()));

  struct Case {
    const char* name;
    std::vector<Rule> extra;
  };
  auto by_group = rule("few", Remote::Kind::kGroup, 3);
  auto deny = by_group;
  deny.action = conntrack::Action::kDeny;
  deny.priority = 9;
  auto wide = rule("wide", Remote::Kind::kCidr, 0);
  wide.remote.cidr = {IpAddress::from_v4(0x0a000000U), 9};
  auto log = rule("everybody", Remote::Kind::kAny, 0);
  const std::vector<Case> cases = {
      {"a rule for everybody: all are looked at", {log}},
      {"a rule for a range: all are looked at", {wide}},
      {"a rule for a group that 10 peers carry", {by_group}},
      {"a rule that cuts these 10", {deny}},
  };
  std::printf("%-44s %12s %10s %8s\n", "one change of a group that all carry", "looked at",
              "median ms", "effects");
  for (const Case& one : cases) {
    std::vector<double> times;
    std::uint64_t looked = 0;
    std::size_t seen = 0;
    for (int round = 0; round < kRounds; ++round) {
      std::vector<Rule> rules = open;
      rules.insert(rules.end(), one.extra.begin(), one.extra.end());
      const auto before = tracker.counters().looked_at_again;
      std::size_t now = 0;
      times.push_back(milliseconds_of(tracker, everybody(rules), &now));
      looked = std::max(looked, tracker.counters().looked_at_again - before);
      seen = std::max(seen, now);
      (void)milliseconds_of(tracker, everybody(open), &effects);
    }
    std::sort(times.begin(), times.end());
    std::printf("%-44s %12llu %10.3f %8zu\n", one.name, static_cast<unsigned long long>(looked),
                times[kRounds / 2], seen);
  }
}

}  // namespace qmasq::bench
