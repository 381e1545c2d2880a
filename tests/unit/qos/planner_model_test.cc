// SPDX-License-Identifier: Apache-2.0
// Random histories against a planner that plans all of it each time, as simple as the rules in
// qos/planner.h.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <random>

#include "qos/planner.h"
#include "qos/port_blocks.h"
#include "tests/unit/qos/values.h"

namespace qmasq::qos {
namespace {

constexpr std::uint32_t kSeed = 20261127;
constexpr std::uint64_t kLeast = 8000;

struct Model {
  struct Endpoint {
    std::uint64_t vpc = 0;
    Bandwidth bandwidth;
    PortBlock ports;
  };
  std::uint64_t rate = 0;
  std::map<std::uint64_t, Bandwidth> vpcs;
  std::map<std::uint64_t, Endpoint> endpoints;

  [[nodiscard]] Plan plan() const { return make(nullptr); }
  [[nodiscard]] std::vector<Shortfall> shortfalls() const {
    std::vector<Shortfall> out;
    (void)make(&out);
    return out;
  }

 private:
  struct Child {
    std::uint64_t least = 0;
    std::uint64_t claim = 0;
    std::uint64_t guaranteed = 0;
  };
  static void share(std::uint64_t guaranteed, std::vector<Child>& children) {
    std::uint64_t claims = 0;
    std::uint64_t leasts = 0;
    for (const Child& child : children) {
      claims += child.claim;
      leasts += child.least;
    }
    for (Child& child : children) {
      child.guaranteed = child.claim;
      if (claims <= guaranteed) continue;
      __extension__ using Wide = unsigned __int128;
      const auto beyond = Wide{child.claim - child.least} * (guaranteed - leasts);
      child.guaranteed = child.least + static_cast<std::uint64_t>(beyond / (claims - leasts));
    }
  }
  static Node node(NodeId id, NodeId parent, std::uint64_t guaranteed, std::uint64_t maximum,
                   const Bandwidth& bandwidth) {
    Node out;
    out.id = id;
    out.parent = parent;
    out.guaranteed.value = guaranteed;
    out.maximum.value = maximum;
    out.burst = bandwidth.burst.value_or(std::max<std::uint64_t>(16384, maximum / 800));
    out.weight = bandwidth.weight;
    return out;
  }
  static std::uint64_t most(const Bandwidth& bandwidth, std::uint64_t parent, std::uint64_t least) {
    const std::uint64_t own = bandwidth.maximum ? bandwidth.maximum->value : parent;
    return std::max(std::min(own, parent), least);
  }
  static std::uint64_t asked(const Bandwidth& bandwidth) {
    return bandwidth.guaranteed ? bandwidth.guaranteed->value : 0;
  }

  Plan make(std::vector<Shortfall>* shortfalls) const {
    Plan plan;
    if (rate == 0 || endpoints.empty()) return plan;
    std::map<std::uint64_t, std::vector<std::uint64_t>> members;
    for (const auto& [uid, endpoint] : endpoints)
      members[endpoint.vpc].push_back(uid);
    auto put = [&plan](const Node& value) { plan.nodes[value.id] = value; };

    const std::uint64_t nic = std::max(rate, (endpoints.size() + 1) * kLeast);
    put(node(NodeId::nic(), NodeId::nic(), nic, nic, {}));
    put(node(NodeId::other(), NodeId::nic(), kLeast, nic, {}));

    std::vector<Child> vpc_claims;
    std::map<std::uint64_t, std::vector<Child>> endpoint_claims;
    std::map<std::uint64_t, std::uint64_t> asked_by_vpc;
    for (const auto& [uid, ours] : members) {
      std::uint64_t sum = 0;
      for (std::uint64_t member : ours) {
        const Bandwidth& bandwidth = endpoints.at(member).bandwidth;
        std::uint64_t claim = asked(bandwidth);
        asked_by_vpc[uid] += claim;
        if (bandwidth.maximum) claim = std::min(claim, bandwidth.maximum->value);
        claim = std::max(claim, kLeast);
        endpoint_claims[uid].push_back({kLeast, claim, 0});
        sum += claim;
      }
      const Bandwidth bandwidth = of(uid);
      const std::uint64_t least = ours.size() * kLeast;
      const std::uint64_t claim = std::max(asked(bandwidth), sum);
      vpc_claims.push_back({least, std::min(claim, most(bandwidth, nic, least)), 0});
    }
    share(nic - kLeast, vpc_claims);

    std::vector<Shortfall> of_vpcs;
    std::map<std::uint64_t, Shortfall> of_endpoints;
    std::size_t number = 0;
    for (const auto& [uid, ours] : members) {
      const NodeId id = NodeId::vpc(VpcUid{uid});
      const std::uint64_t guaranteed = vpc_claims[number++].guaranteed;
      const std::uint64_t maximum = most(of(uid), nic, ours.size() * kLeast);
      put(node(id, NodeId::nic(), guaranteed, maximum, of(uid)));
      const std::uint64_t wanted = std::max(asked(of(uid)), asked_by_vpc[uid]);
      if (guaranteed < wanted)
        of_vpcs.push_back({id, BitsPerSecond{wanted}, BitsPerSecond{guaranteed}});
      auto& claims = endpoint_claims[uid];
      share(guaranteed, claims);
      for (std::size_t i = 0; i < ours.size(); ++i) {
        const Endpoint& endpoint = endpoints.at(ours[i]);
        const NodeId own = NodeId::endpoint(EndpointUid{ours[i]});
        Node value = node(own, id, claims[i].guaranteed, most(endpoint.bandwidth, maximum, kLeast),
                          endpoint.bandwidth);
        value.ports = endpoint.ports;
        put(value);
        if (claims[i].guaranteed < asked(endpoint.bandwidth)) {
          of_endpoints[ours[i]] = {own, BitsPerSecond{asked(endpoint.bandwidth)},
                                   BitsPerSecond{claims[i].guaranteed}};
        }
      }
    }
    if (shortfalls != nullptr) {
      *shortfalls = of_vpcs;
      for (const auto& [uid, one] : of_endpoints)
        shortfalls->push_back(one);
    }
    return plan;
  }
  [[nodiscard]] Bandwidth of(std::uint64_t vpc) const {
    auto found = vpcs.find(vpc);
    return found == vpcs.end() ? Bandwidth{} : found->second;
  }
};

Bandwidth random_bandwidth(std::mt19937& random) {
  Bandwidth out;
  auto rate = [&random] {
    // From what is nearly nothing to more than the NIC has.
    static constexpr std::uint64_t kScales[] = {8'000, 100'000, 1'000'000, 10'000'000};
    return BitsPerSecond{kScales[random() % 4] * (1 + random() % 9) + random() % 3};
  };
  if (random() % 2 == 0) out.guaranteed = rate();
  if (random() % 2 == 0) out.maximum = rate();
  if (random() % 4 == 0) out.burst = 4096 + random() % 100'000;
  if (random() % 3 == 0) out.weight = 1 + random() % kMaxWeight;
  return out;
}

// Does the same to a planner and to the model.
struct Both {
  Planner planner;
  Model model;
  PortBlocks ports;

  void rate(std::uint64_t value) {
    model.rate = value;
    planner.set_rate(BitsPerSecond{value});
  }
  void vpc(std::uint64_t uid, const Bandwidth& bandwidth) {
    model.vpcs[uid] = bandwidth;
    planner.put_vpc(VpcUid{uid}, bandwidth);
  }
  void remove_vpc(std::uint64_t uid) {
    model.vpcs.erase(uid);
    std::erase_if(model.endpoints, [&](const auto& entry) {
      if (entry.second.vpc != uid) return false;
      ports.give_back(EndpointUid{entry.first});
      return true;
    });
    planner.remove_vpc(VpcUid{uid});
  }
  void endpoint(std::uint64_t uid, std::uint64_t vpc, const Bandwidth& bandwidth) {
    const PortBlock block = ports.take(EndpointUid{uid}).value();
    model.endpoints[uid] = {vpc, bandwidth, block};
    planner.put_endpoint(EndpointUid{uid}, VpcUid{vpc}, bandwidth, block);
  }
  void remove_endpoint(std::uint64_t uid) {
    model.endpoints.erase(uid);
    ports.give_back(EndpointUid{uid});
    planner.remove_endpoint(EndpointUid{uid});
  }

  void anything(std::mt19937& random, std::uint64_t vpc_count, std::uint64_t endpoint_count) {
    const std::uint64_t vpc_uid = 1 + random() % vpc_count;
    const std::uint64_t uid = 1 + random() % endpoint_count;
    switch (random() % 16) {
      case 0:
        rate(random() % 8 == 0 ? 0 : 1'000 + random() % 100'000'000);
        break;
      case 1:
        rate(1 + random() % 100'000);  // too small for anything
        break;
      case 2:
      case 3:
      case 4:
        vpc(vpc_uid, random_bandwidth(random));
        break;
      case 5:
        remove_vpc(vpc_uid);
        break;
      case 6:
      case 7:
      case 8:
        remove_endpoint(uid);
        break;
      case 9: {
        // As it is, but for the weight: what most changes are.
        auto known = model.endpoints.find(uid);
        if (known == model.endpoints.end()) break;
        Bandwidth bandwidth = known->second.bandwidth;
        bandwidth.weight = 1 + random() % kMaxWeight;
        endpoint(uid, known->second.vpc, bandwidth);
        break;
      }
      default:
        endpoint(uid, vpc_uid, random_bandwidth(random));
    }
  }
};

void follow(int steps, std::uint64_t vpcs, std::uint64_t endpoints, std::uint32_t seed) {
  std::mt19937 random(seed);
  Both both;
  Plan programmed;
  int scaled = 0;
  int empty = 0;
  for (int step = 0; step < steps; ++step) {
    both.anything(random, vpcs, endpoints);
    // Several changes before somebody looks are one.
    if (random() % 4 == 0) continue;
    const Plan expected = both.model.plan();
    if (random() % 2 == 0) {
      ASSERT_EQ(both.planner.plan(), expected) << "step " << step;
    }
    if (random() % 50 == 0) {
      // The agent restarted, or somebody meddled.
      Plan found = random() % 2 == 0 ? Plan{} : programmed;
      for (auto& [id, node] : found.nodes) {
        if (random() % 4 == 0) node.weight = 1 + random() % kMaxWeight;
      }
      std::erase_if(found.nodes, [&](const auto& entry) {
        return entry.first.kind == NodeId::Kind::kEndpoint && random() % 4 == 0;
      });
      both.planner.assume(found);
      programmed = std::move(found);
      if (random() % 2 == 0) continue;
    }
    ASSERT_EQ(test::fault(expected), "") << "step " << step;
    const auto steps_to_do = both.planner.take_changes();
    ASSERT_EQ(steps_to_do, diff(programmed, expected)) << "step " << step;
    for (auto one = steps_to_do.begin(); one != steps_to_do.end(); ++one) {
      apply(one, one + 1, programmed);
      ASSERT_EQ(test::fault_of_tree(programmed), "") << "step " << step;
    }
    ASSERT_EQ(programmed, expected) << "step " << step;
    ASSERT_EQ(both.planner.plan(), expected) << "step " << step;
    ASSERT_TRUE(both.planner.take_changes().empty());
    const auto shortfalls = both.model.shortfalls();
    ASSERT_EQ(both.planner.shortfalls(), shortfalls) << "step " << step;
    scaled += shortfalls.empty() ? 0 : 1;
    empty += expected.nodes.empty() ? 1 : 0;
  }
  // That it was about something.
  EXPECT_GT(scaled, steps / 10);
  EXPECT_GT(empty, 0);
  EXPECT_LT(empty + scaled, steps);
}

TEST(PlannerModel, AgreesOnSmallTrees) {
  follow(100'000, 3, 6, kSeed);
}

TEST(PlannerModel, AgreesOnLargerTrees) {
  follow(30'000, 8, 40, kSeed + 1);
}

// What there is at the end decides, not how it came about.
TEST(PlannerModel, TheOrderOfEventsDoesNotMatter) {
  std::mt19937 random(kSeed + 2);
  for (int round = 0; round < 300; ++round) {
    Both first;
    for (int step = 0; step < 100; ++step)
      first.anything(random, 4, 20);
    first.rate(1'000 + random() % 100'000'000);
    const Model& state = first.model;
    const Plan expected = first.planner.plan();

    for (int history = 0; history < 5; ++history) {
      Planner planner;
      std::vector<std::function<void()>> events;
      events.emplace_back([&] { planner.set_rate(BitsPerSecond{state.rate}); });
      for (const auto& [uid, bandwidth] : state.vpcs)
        events.emplace_back([&, uid = uid] { planner.put_vpc(VpcUid{uid}, bandwidth); });
      for (const auto& [uid, endpoint] : state.endpoints) {
        events.emplace_back([&, uid = uid] {
          planner.put_endpoint(EndpointUid{uid}, VpcUid{endpoint.vpc}, endpoint.bandwidth,
                               endpoint.ports);
        });
      }
      std::shuffle(events.begin(), events.end(), random);
      // What comes and goes in between leaves no trace; nor does who looks when.
      Plan programmed;
      for (const auto& event : events) {
        if (random() % 4 == 0) {
          planner.put_endpoint(EndpointUid{1000}, VpcUid{1 + random() % 5},
                               random_bandwidth(random), {0xff00, 16});
        }
        if (random() % 4 == 0) planner.set_rate(BitsPerSecond{random() % 100'000'000});
        event();
        planner.set_rate(BitsPerSecond{state.rate});
        if (random() % 4 == 0) {
          const auto steps = planner.take_changes();
          apply(steps.begin(), steps.end(), programmed);
        }
      }
      planner.remove_endpoint(EndpointUid{1000});
      ASSERT_EQ(planner.plan(), expected);
      const auto steps = planner.take_changes();
      apply(steps.begin(), steps.end(), programmed);
      ASSERT_EQ(programmed, expected);
    }
  }
}

}  // namespace
}  // namespace qmasq::qos
