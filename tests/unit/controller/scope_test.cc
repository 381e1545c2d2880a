// SPDX-License-Identifier: Apache-2.0
// The pure core of the watches against the trivial computation of a scope.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "controller/watch/batch_stream.h"
#include "controller/watch/scope_tracker.h"
#include "tests/unit/controller/watch_model.h"

namespace qmasq::controller {
namespace {

using testing::AgentModel;
using testing::RandomCloud;
using testing::scope_of;

void give(AgentModel& agent, Cut cut, std::size_t part = 200) {
  if (cut.empty()) {
    v1::Batch nothing;
    nothing.set_revision(cut.revision.value);
    agent.take(nothing);
    return;
  }
  BatchStream stream(std::move(cut), part);
  while (!stream.done()) {
    auto message = stream.next();
    ASSERT_LE(message.ByteSizeLong(), part + 300);
    agent.take(message.batch());
  }
}

// Cuts at random moments: whatever happened in between, the agent ends at the scope.
TEST(ScopeTracker, DeltasAddUpToTheScope) {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    RandomCloud cloud(seed);
    World world;
    world.load(cloud.all(), cloud.revision(), {});
    HostUid host = cloud.host(0);
    ScopeTracker tracker(host);
    AgentModel agent;
    for (int step = 0; step < 300; ++step) {
      auto commit = cloud.change();
      world.apply(commit);
      tracker.note(commit);
      if (cloud.random(4) != 0) continue;
      bool dirty = tracker.dirty();
      auto cut = tracker.cut(world);
      EXPECT_EQ(cut.revision, world.revision());
      ASSERT_TRUE(dirty || cut.empty());
      give(agent, std::move(cut));
      ASSERT_EQ(agent.held(), scope_of(world, host)) << "seed " << seed << " step " << step;
    }
  }
}

// Resumes at every revision that ever was acknowledged, from the log alone.
TEST(ScopeTracker, ResumesFromAnyHeldRevision) {
  for (unsigned seed = 100; seed <= 140; ++seed) {
    RandomCloud cloud(seed);
    World world;
    world.load(cloud.all(), cloud.revision(), {});
    HostUid host = cloud.host(1);
    std::vector<AgentModel> agents;
    for (int step = 0; step < 80; ++step) {
      world.apply(cloud.change());
      AgentModel fresh;
      give(fresh, ScopeTracker(host).cut(world));
      agents.push_back(fresh);
      for (const auto& held : agents) {
        auto missed = world.log_since(held.revision());
        ASSERT_TRUE(missed);
        std::vector<std::uint64_t> vpcs;
        for (const auto& [uid, revision] : held.held().vpcs)
          vpcs.push_back(uid);
        ScopeTracker tracker(host, world, vpcs, *missed);
        AgentModel agent = held;
        auto cut = tracker.cut(world);
        EXPECT_FALSE(cut.snapshot);
        give(agent, std::move(cut));
        ASSERT_EQ(agent.held(), scope_of(world, host))
            << "seed " << seed << " from " << held.revision().value << " to "
            << world.revision().value;
      }
    }
  }
}

TEST(ScopeTracker, NothingMissedIsNotDirty) {
  RandomCloud cloud(5);
  World world;
  world.load(cloud.all(), cloud.revision(), {});
  for (int i = 0; i < 50; ++i)
    world.apply(cloud.change());
  HostUid host = cloud.host(0);
  std::vector<std::uint64_t> vpcs;
  for (const auto& [uid, count] : world.vpcs_of(host))
    vpcs.push_back(uid);
  EXPECT_FALSE(ScopeTracker(host, world, vpcs, {}).dirty());
}

// Whatever came and went, a policy concerns the hosts where an endpoint or its VPC has it.
TEST(ScopeTracker, APolicyConcernsTheHostsWhereSomebodyHasIt) {
  int concerned = 0;
  for (unsigned seed = 200; seed <= 220; ++seed) {
    RandomCloud cloud(seed);
    World world;
    world.load(cloud.all(), cloud.revision(), {});
    for (int step = 0; step < 200; ++step) {
      world.apply(cloud.change());
      const Commit all = cloud.all();
      std::map<std::uint64_t, std::uint64_t> policy_of;  // of VPCs
      for (const auto& [before, vpc] : all.vpcs)
        policy_of[vpc->uid.value] = vpc->qos_policy.uid.value;
      for (const auto& [before, policy] : all.policies) {
        const std::uint64_t uid = policy->policy.uid.value;
        std::set<HostUid> expected;
        for (const auto& [none, endpoint] : all.endpoints) {
          if (endpoint->qos_policy.uid.value == uid || policy_of[endpoint->vpc.value] == uid) {
            expected.insert(endpoint->host);
          }
        }
        LogEntry entry;
        entry.kind = Kind::kQosPolicy;
        entry.uid = uid;
        ASSERT_EQ(concerned_hosts(world, std::span(&entry, 1)), expected)
            << "seed " << seed << " step " << step;
        concerned += expected.empty() ? 0 : 1;
      }
    }
  }
  EXPECT_GT(concerned, 1000);
}

TEST(ScopeTracker, OtherVpcsDoNotConcernAHost) {
  World world;
  Commit all;
  all.revision = Revision{1};
  HostPtr hosts[2];
  VpcPtr vpcs[2];
  for (std::uint64_t i = 0; i < 2; ++i) {
    Host host;
    host.uid = HostUid{10 + i};
    host.revision = Revision{1};
    hosts[i] = std::make_shared<const Host>(host);
    Vpc vpc;
    vpc.uid = VpcUid{20 + i};
    vpc.revision = Revision{1};
    vpcs[i] = std::make_shared<const Vpc>(vpc);
    Endpoint endpoint;
    endpoint.uid = EndpointUid{30 + i};
    endpoint.vpc = vpc.uid;
    endpoint.host = host.uid;
    all.hosts.push_back({nullptr, hosts[i]});
    all.vpcs.push_back({nullptr, vpcs[i]});
    all.endpoints.push_back({nullptr, std::make_shared<const Endpoint>(endpoint)});
  }
  world.load(all, Revision{1}, {});
  ScopeTracker tracker(hosts[0]->uid);
  (void)tracker.cut(world);
  Host changed = *hosts[1];
  changed.revision = Revision{2};
  Vpc vpc = *vpcs[1];
  vpc.revision = Revision{2};
  Commit commit{Revision{2},
                {{vpcs[1], std::make_shared<const Vpc>(vpc)}},
                {},
                {{hosts[1], std::make_shared<const Host>(changed)}}};
  world.apply(commit);
  tracker.note(commit);
  EXPECT_FALSE(tracker.dirty());
}

TEST(World, TheLogEndsWhereItWasTrimmed) {
  RandomCloud cloud(3);
  World world(20);
  world.load(cloud.all(), cloud.revision(), {});
  auto start = cloud.revision();
  for (int i = 0; i < 100; ++i)
    world.apply(cloud.change());
  EXPECT_FALSE(world.log_since(start));
  EXPECT_FALSE(world.log_at(Revision{start.value + 1}));
  ASSERT_TRUE(world.log_since(world.revision()));
  EXPECT_TRUE(world.log_since(world.revision())->empty());
  // What it still tells is complete: each revision from the oldest on can be followed.
  Revision oldest = world.revision();
  while (world.log_since(Revision{oldest.value - 1}))
    --oldest.value;
  EXPECT_LT(oldest, world.revision());
  EXPECT_GT(oldest, start);
}

// A VPC of many endpoints: bounded parts, all there, in time that does not grow with the square.
TEST(BatchStream, CutsALargeVpcIntoBoundedParts) {
  constexpr std::uint64_t kEndpoints = 100'000;
  World world;
  Commit all;
  all.revision = Revision{1};
  Host host;
  host.uid = HostUid{1};
  host.id = "hostA";
  Vpc vpc;
  vpc.uid = VpcUid{2};
  vpc.id = "blue";
  all.hosts.push_back({nullptr, std::make_shared<const Host>(host)});
  all.vpcs.push_back({nullptr, std::make_shared<const Vpc>(vpc)});
  for (std::uint64_t i = 0; i < kEndpoints; ++i) {
    Endpoint endpoint;
    endpoint.uid = EndpointUid{10 + i};
    endpoint.vpc = vpc.uid;
    endpoint.vpc_id = vpc.id;
    endpoint.id = "endpoint-" + std::to_string(i);
    endpoint.host = host.uid;
    endpoint.host_id = host.id;
    endpoint.addresses = {IpAddress::from_v4(0x0a000000U + static_cast<std::uint32_t>(i))};
    all.endpoints.push_back({nullptr, std::make_shared<const Endpoint>(endpoint)});
  }
  world.load(all, Revision{1}, {});
  BatchStream stream(ScopeTracker(host.uid).cut(world));
  std::set<std::uint64_t> seen;
  int parts = 0;
  while (!stream.done()) {
    auto message = stream.next();
    ASSERT_LE(message.ByteSizeLong(), kMaxPart);
    EXPECT_EQ(message.batch().more(), !stream.done());
    EXPECT_TRUE(message.batch().snapshot());
    for (const auto& endpoint : message.batch().endpoints())
      seen.insert(endpoint.uid());
    ++parts;
  }
  EXPECT_EQ(seen.size(), kEndpoints);
  EXPECT_GT(parts, 5);
}

TEST(BatchStream, AnEmptySnapshotIsOneMessage) {
  World world;
  BatchStream stream(ScopeTracker(HostUid{1}).cut(world));
  auto message = stream.next();
  EXPECT_TRUE(message.batch().snapshot());
  EXPECT_FALSE(message.batch().more());
  EXPECT_TRUE(stream.done());
}

}  // namespace
}  // namespace qmasq::controller
