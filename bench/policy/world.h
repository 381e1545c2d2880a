// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "conntrack/group_sets.h"

namespace qmasq::bench {

// A large VPC: IPv4 endpoints with one to three groups each, in 5000 combinations, and groups with
// rules of every kind.
struct World {
  World(std::size_t groups, std::size_t rules, std::size_t endpoints);

  struct Endpoint {
    IpAddress address;
    conntrack::SetId set = 0;
  };
  std::vector<conntrack::Group> groups;
  conntrack::GroupSets sets;
  std::vector<Endpoint> endpoints;
};

// One side's question: what do the rules of `own` in one direction say to this peer, on RC?
struct Question {
  const conntrack::GroupSet* own;
  const conntrack::GroupSet* peer;
  IpAddress peer_address;
  conntrack::Direction direction;
};

// A way to answer it. Order of the deciding rule (conntrack::Match), or kNoOrder.
class Rules {
 public:
  virtual ~Rules() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  [[nodiscard]] virtual std::uint32_t decide(const Question& question) const = 0;
  // Many at once, where the library is made for that.
  virtual void decide_all(const std::vector<Question>& questions,
                          std::vector<std::uint32_t>& out) const {
    for (std::size_t i = 0; i < questions.size(); ++i)
      out[i] = decide(questions[i]);
  }
};

[[nodiscard]] std::unique_ptr<Rules> compiled_rules();
[[nodiscard]] std::unique_ptr<Rules> scanned_rules(const World& world);
[[nodiscard]] std::unique_ptr<Rules> absl_rules(const World& world);
[[nodiscard]] std::unique_ptr<Rules> std_rules(const World& world);
// Starts DPDK's EAL: without huge pages and devices, and checks that it left the process' affinity
// and signal mask alone. Empty with a reason on standard error when that fails.
[[nodiscard]] std::vector<std::unique_ptr<Rules>> dpdk_rules(const World& world);

// A million connections looked at again after one change.
void reevaluate(std::size_t connections);

}  // namespace qmasq::bench
