// SPDX-License-Identifier: Apache-2.0
#include "qos/backends/tc/backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "qos/backends/tc/limits.h"
#include "qos/backends/tc/scan.h"
#include "qos/policy.h"
#include "tests/support/fake_tc.h"
#include "tests/support/qos_contract.h"

namespace qmasq::test {
namespace {

using namespace qos::tc;  // NOLINT(google-build-using-namespace): the tests are all about it
using qos::Backend;
using qos::Node;
using qos::NodeId;
using qos::Plan;
using qos::Step;
using ::testing::HasSubstr;

class FakeWorld final : public QosWorld {
 public:
  std::unique_ptr<Backend> backend() override { return make_tc_backend({"eth7"}, fake_.seam()); }
  bool is_clean() override { return fake_.root().handle == 0; }
  Node rounded(const Node& node) override { return as_programmed(node); }

 private:
  FakeTc fake_;
};

}  // namespace

INSTANTIATE_TEST_SUITE_P(FakeTc, QosContract, ::testing::Values(QosWorldFactory([] {
                           return std::make_unique<FakeWorld>();
                         })));

namespace {

class TcBackendTest : public ::testing::Test {
 protected:
  TcBackendTest() { restart(); }

  // Endpoint 100 to 199 are of VPC 1, 200 to 299 of VPC 2, as far as they are known.
  static std::optional<VpcUid> vpc_of(EndpointUid endpoint) {
    if (endpoint.value >= 900) return std::nullopt;
    return VpcUid{endpoint.value / 100};
  }
  Plan restart() {
    backend_ = make_tc_backend({"eth7"}, fake_.seam());
    auto found = backend_->readback(vpc_of);
    EXPECT_TRUE(found) << found.error().message;
    return *found;
  }

  static Node node(NodeId id, NodeId parent) {
    Node made;
    made.id = id;
    made.parent = parent;
    made.guaranteed = BitsPerSecond{1'000'000};
    made.maximum = BitsPerSecond{100'000'000};
    made.burst = 65536;
    made.weight = 10;
    return made;
  }
  static Node nic() { return node(NodeId::nic(), NodeId::nic()); }
  static Node other() { return node(NodeId::other(), NodeId::nic()); }
  static Node vpc(std::uint64_t uid) { return node(NodeId::vpc(VpcUid{uid}), NodeId::nic()); }
  static Node endpoint(std::uint64_t uid) {
    Node made = node(NodeId::endpoint(EndpointUid{uid}), NodeId::vpc(VpcUid{uid / 100}));
    made.ports = {static_cast<std::uint16_t>(0xc000 + 4 * uid), 4};
    return made;
  }
  static Plan plan_of(std::vector<Node> nodes) {
    Plan plan;
    for (Node& one : nodes)
      plan.nodes[one.id] = std::move(one);
    return plan;
  }
  static Plan usual() {
    return plan_of({nic(), other(), vpc(1), vpc(2), endpoint(101), endpoint(102), endpoint(201)});
  }

  static Plan plan_as_programmed(Plan plan) {
    for (auto& [id, one] : plan.nodes)
      one = as_programmed(one);
    return plan;
  }

  std::vector<Status> run(Step::Kind kind, std::vector<Node> nodes) {
    std::vector<Step> steps;
    for (Node& one : nodes)
      steps.push_back({kind, std::move(one)});
    return backend_->program(steps);
  }
  void program(const Plan& from, const Plan& to) {
    for (const Status& done : backend_->program(qos::diff(from, to)))
      ASSERT_TRUE(done) << done.error().message;
  }
  const Class* class_of(std::uint64_t endpoint) {
    for (const Filter& one : fake_.filters()) {
      if (one.handle == endpoint && one.priority == kEndpointPriority) {
        return &fake_.classes().at(one.target);
      }
    }
    return nullptr;
  }

  FakeTc fake_;
  std::unique_ptr<Backend> backend_;
};

TEST_F(TcBackendTest, TheTreeIsAsItIsDocumented) {
  program({}, usual());
  EXPECT_EQ(fake_.root(), (Qdisc{kOurs, kRoot, "htb"}));
  EXPECT_EQ(fake_.classes().at(with_minor(1)).parent, kRoot);
  EXPECT_EQ(fake_.classes().at(with_minor(2)).parent, with_minor(1));
  EXPECT_EQ(fake_.classes().at(with_minor(0x10)).parent, with_minor(1));
  ASSERT_NE(class_of(101), nullptr);
  EXPECT_EQ(class_of(101)->parent, with_minor(0x10));
  EXPECT_EQ(class_of(201)->parent, with_minor(0x11));
  EXPECT_EQ(fake_.filters().size(), 8U);
  const Filter& v4 = *std::find_if(fake_.filters().begin(), fake_.filters().end(),
                                   [](const Filter& one) { return one.handle == 101; });
  EXPECT_EQ(v4.priority, 10);
  EXPECT_EQ(v4.protocol, 0x0800);
  EXPECT_EQ(v4.match, (Filter::Match{4791, 0xc000 + 404, 0xfffc}));
  // Asked after those of endpoints, and of any port.
  EXPECT_EQ(fake_.filters()[1].priority, 21);
  EXPECT_EQ(fake_.filters()[1].protocol, 0x86dd);
  EXPECT_EQ(fake_.filters()[1].match, (Filter::Match{4791, 0, 0}));
}

TEST_F(TcBackendTest, TheSitesRootIsRefusedWithAdvice) {
  for (const char* kind : {"mq", "htb", "fq"}) {
    fake_.set_root({0x80010000, kRoot, kind});
    restart();
    auto results = run(Step::Kind::kAdd, {nic(), other(), vpc(1), endpoint(101)});
    for (const Status& one : results) {
      ASSERT_FALSE(one);
      EXPECT_EQ(one.error().code, Code::kFailedPrecondition);
    }
    EXPECT_THAT(results[0].error().message,
                HasSubstr(std::string("eth7 has a root queueing discipline that is not qmasq's: ") +
                          kind + " 8001:"));
    EXPECT_THAT(results[0].error().message, HasSubstr("tc qdisc del dev eth7 root"));
    EXPECT_TRUE(run(Step::Kind::kRemove, {nic()})[0]);
    EXPECT_EQ(fake_.root().kind, kind);
  }
  // Of our handle and not HTB: somebody else's too.
  fake_.set_root({kOurs, kRoot, "prio"});
  EXPECT_TRUE(restart().nodes.empty());
  EXPECT_EQ(run(Step::Kind::kAdd, {nic()})[0].error().code, Code::kFailedPrecondition);
  EXPECT_EQ(fake_.root().kind, "prio");
}

TEST_F(TcBackendTest, AKernelThatLacksSomethingIsNamed) {
  fake_.has_htb = false;
  Status done = run(Step::Kind::kAdd, {nic()})[0];
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::kUnsupported);
  EXPECT_THAT(done.error().message, HasSubstr("CONFIG_NET_SCH_HTB"));
  fake_.has_htb = true;
  fake_.has_flower = false;
  auto results = run(Step::Kind::kAdd, {nic(), other()});
  EXPECT_TRUE(results[0]);
  EXPECT_EQ(results[1].error().code, Code::kUnsupported);
  EXPECT_THAT(results[1].error().message, HasSubstr("CONFIG_NET_CLS_FLOWER"));
  // The class that no packet finds is not left.
  EXPECT_FALSE(fake_.classes().contains(with_minor(2)));
  fake_.has_flower = true;
  EXPECT_TRUE(run(Step::Kind::kAdd, {other()})[0]);
}

TEST_F(TcBackendTest, NonsenseIsRefusedWithTheField) {
  program({}, plan_of({nic(), other(), vpc(1)}));
  (void)fake_.take_log();
  auto refused = [this](Node node, const char* field) {
    Status done = run(Step::Kind::kAdd, {std::move(node)})[0];
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, Code::kInvalidArgument) << done.error().message;
    EXPECT_EQ(done.error().field, field);
  };
  Node bad = endpoint(101);
  bad.ports.count = 3;
  refused(bad, "ports");
  bad.ports = {};
  refused(bad, "ports");
  bad.ports = {0xc001, 2};
  refused(bad, "ports");
  bad = endpoint(101);
  bad.weight = 0;
  refused(bad, "weight");
  bad.weight = 101;
  refused(bad, "weight");
  bad = endpoint(101);
  bad.maximum.value = 0;
  refused(bad, "maximum");
  bad.maximum.value = 999'999;
  refused(bad, "maximum");
  bad = endpoint(101);
  bad.parent = NodeId::nic();
  refused(bad, "parent");
  bad = endpoint(101);
  bad.id.uid = 1ULL << 32U;
  refused(bad, "id");
  bad = vpc(2);
  bad.parent = NodeId::vpc(VpcUid{1});
  refused(bad, "parent");
  EXPECT_TRUE(fake_.take_log().empty());
}

TEST_F(TcBackendTest, AChangeOfLimitsTouchesNoFilter) {
  program({}, usual());
  (void)fake_.take_log();
  Plan changed = usual();
  changed.nodes.at(NodeId::endpoint(EndpointUid{101})).maximum = BitsPerSecond{50'000'000};
  program(usual(), changed);
  auto log = fake_.take_log();
  ASSERT_EQ(log.size(), 1U);
  EXPECT_TRUE(is<ChangeClass>(log[0]));
  EXPECT_EQ(class_of(101)->ceil, 6'250'000U);
}

TEST_F(TcBackendTest, TheWeightOfAVpcIsAFactorOfItsEndpoints) {
  program({}, usual());
  EXPECT_EQ(class_of(101)->quantum, 10 * kFrame);
  Plan changed = usual();
  changed.nodes.at(NodeId::vpc(VpcUid{1})).weight = 30;
  program(usual(), changed);
  EXPECT_EQ(class_of(101)->quantum, 30 * kFrame);
  EXPECT_EQ(class_of(102)->quantum, 30 * kFrame);
  EXPECT_EQ(class_of(201)->quantum, 10 * kFrame);
  // Although the kernel does not change the quantum of a class with children.
  EXPECT_EQ(restart().nodes.at(NodeId::vpc(VpcUid{1})).weight, 30U);
}

TEST_F(TcBackendTest, FiltersGoBeforeTheirClasses) {
  program({}, usual());
  (void)fake_.take_log();
  EXPECT_TRUE(run(Step::Kind::kRemove, {endpoint(101)})[0]);
  auto log = fake_.take_log();
  ASSERT_EQ(log.size(), 3U);
  EXPECT_TRUE(is<DeleteFilter>(log[0]) && is<DeleteFilter>(log[1]) && is<DeleteClass>(log[2]));
  // Its class number is the next to be given.
  Handle free = std::get<DeleteClass>(log[2]).id;
  EXPECT_TRUE(run(Step::Kind::kAdd, {endpoint(103)})[0]);
  EXPECT_EQ(class_of(103)->id, free);
}

TEST_F(TcBackendTest, RemovingAllIsOneMessage) {
  program({}, usual());
  (void)fake_.take_log();
  program(usual(), {});
  EXPECT_EQ(fake_.take_log().size(), 1U);
  EXPECT_EQ(fake_.root().kind, "fq_codel");
}

TEST_F(TcBackendTest, AdditionsAndRemovalsMayBeRepeated) {
  program({}, usual());
  for (const Status& done : run(Step::Kind::kAdd, {nic(), other(), vpc(1), endpoint(101)}))
    EXPECT_TRUE(done) << done.error().message;
  Node moved = endpoint(101);
  moved.ports.first = 0xe000;
  EXPECT_EQ(run(Step::Kind::kAdd, {moved})[0].error().code, Code::kAlreadyExists);
  for (int i = 0; i < 2; ++i)
    EXPECT_TRUE(run(Step::Kind::kRemove, {endpoint(101)})[0]);
  EXPECT_EQ(run(Step::Kind::kChange, {endpoint(101)})[0].error().code, Code::kNotFound);
  Plan rest = usual();
  rest.nodes.erase(NodeId::endpoint(EndpointUid{101}));
  EXPECT_EQ(restart(), rest);
}

TEST_F(TcBackendTest, AVpcWithEndpointsIsNotRemoved) {
  program({}, usual());
  Status done = run(Step::Kind::kRemove, {vpc(1)})[0];
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().err, EBUSY);
  EXPECT_THAT(done.error().message, HasSubstr("HTB class in use"));
  EXPECT_EQ(restart(), usual());
}

// Each operation that adding an endpoint takes fails once, with each errno: either all of it is
// there or nothing, and the second try succeeds.
TEST_F(TcBackendTest, AnAdditionThatFailsLeavesNothing) {
  for (int at = 0; at < 3; ++at) {
    for (int err : {ENOMEM, EINVAL, EEXIST, ETIMEDOUT}) {
      for (bool carried_out : {false, true}) {
        SCOPED_TRACE(std::to_string(at) + " " + std::to_string(err));
        if (carried_out && err != ETIMEDOUT) continue;
        fake_.set_root({0, kRoot, "noqueue"});
        restart();
        program({}, plan_of({nic(), other(), vpc(1)}));
        int seen = 0;
        fake_.fail_next([&seen, at](const Operation&) { return seen++ == at; }, err, 1,
                        carried_out);
        auto results = run(Step::Kind::kAdd, {endpoint(101), endpoint(102)});
        EXPECT_TRUE(fake_.failures_spent());
        // Operations go class by class, then filter by filter.
        int failed = at == 1 ? 1 : 0;
        EXPECT_FALSE(results[failed]);
        EXPECT_TRUE(results[1 - failed]) << results[1 - failed].error().message;
        auto again = run(Step::Kind::kAdd, {endpoint(101), endpoint(102)});
        EXPECT_TRUE(again[0]) << again[0].error().message;
        EXPECT_TRUE(again[1]) << again[1].error().message;
        EXPECT_EQ(restart(), plan_of({nic(), other(), vpc(1), endpoint(101), endpoint(102)}));
        EXPECT_EQ(fake_.classes().size(), 5U);
        EXPECT_EQ(fake_.filters().size(), 6U);
      }
    }
  }
}

TEST_F(TcBackendTest, ChildrenOfAVpcThatFailsAreNotProgrammed) {
  fake_.fail_next(
      [](const Operation& one) {
        const auto* add = std::get_if<AddClass>(&one);
        return add != nullptr && add->spec.id == with_minor(0x10);
      },
      ENOMEM);
  auto results =
      run(Step::Kind::kAdd, {nic(), other(), vpc(1), endpoint(101), vpc(2), endpoint(201)});
  EXPECT_EQ(results[2].error().code, Code::kResourceExhausted);
  EXPECT_EQ(results[3].error().code, Code::kFailedPrecondition);
  EXPECT_THAT(results[3].error().message, HasSubstr("vpc 1"));
  EXPECT_TRUE(results[5]);
  EXPECT_EQ(restart(), plan_of({nic(), other(), vpc(2), endpoint(201)}));
}

TEST_F(TcBackendTest, ANicThatFailsLeavesTheRootAsItWas) {
  fake_.fail_next(is<AddClass>, ENOMEM);
  EXPECT_FALSE(run(Step::Kind::kAdd, {nic()})[0]);
  EXPECT_EQ(fake_.root().kind, "fq_codel");
  EXPECT_TRUE(run(Step::Kind::kAdd, {nic()})[0]);
}

TEST_F(TcBackendTest, AChangeThatFailsIsNotRemembered) {
  program({}, usual());
  Node changed = endpoint(101);
  changed.maximum = BitsPerSecond{2'000'000};
  fake_.fail_next(is<ChangeClass>, ENOMEM);
  EXPECT_FALSE(run(Step::Kind::kChange, {changed})[0]);
  EXPECT_EQ(restart(), usual());
}

TEST_F(TcBackendTest, ARemovalThatFailsCanBeTriedAgain) {
  for (auto which : {FakeTc::Which(is<DeleteFilter>), FakeTc::Which(is<DeleteClass>)}) {
    for (int err : {EBUSY, ETIMEDOUT}) {
      fake_.set_root({0, kRoot, "noqueue"});
      restart();
      program({}, usual());
      fake_.fail_next(which, err);
      EXPECT_FALSE(run(Step::Kind::kRemove, {endpoint(101)})[0]);
      EXPECT_TRUE(run(Step::Kind::kRemove, {endpoint(101)})[0]);
      Plan rest = usual();
      rest.nodes.erase(NodeId::endpoint(EndpointUid{101}));
      EXPECT_EQ(restart(), rest);
      EXPECT_EQ(fake_.classes().size(), 6U);
    }
  }
}

TEST_F(TcBackendTest, ALostAnswerMakesItLookAgain) {
  program({}, usual());
  // Removed, and nobody said so.
  fake_.fail_next(is<DeleteClass>, ETIMEDOUT, 1, true);
  EXPECT_FALSE(run(Step::Kind::kRemove, {endpoint(102)})[0]);
  auto counters = backend_->counters();
  ASSERT_TRUE(counters);
  EXPECT_EQ(counters->size(), 6U);
  // VPCs without endpoints are kept over it.
  fake_.fail_next(is<DeleteClass>, ETIMEDOUT, 1, true);
  EXPECT_FALSE(run(Step::Kind::kRemove, {endpoint(101)})[0]);
  EXPECT_TRUE(run(Step::Kind::kAdd, {endpoint(103)})[0]);
  EXPECT_EQ(restart(), plan_of({nic(), other(), vpc(1), vpc(2), endpoint(103), endpoint(201)}));
  fake_.fail_reads(ENOMEM);
  EXPECT_FALSE(backend_->counters());
}

TEST_F(TcBackendTest, HalfAnEndpointIsMadeAnew) {
  // As a crash between any two messages leaves it.
  program({}, usual());
  const Filter v6 = *std::find_if(
      fake_.filters().begin(), fake_.filters().end(),
      [](const Filter& one) { return one.handle == 101 && one.priority == kEndpointPriority + 1; });
  auto seam = fake_.seam();
  std::vector<Operation> cut{DeleteFilter{v6.priority, v6.protocol, v6.handle}};
  ASSERT_TRUE(seam->apply(cut)[0]);
  Plan rest = usual();
  rest.nodes.erase(NodeId::endpoint(EndpointUid{101}));
  EXPECT_EQ(restart(), rest);
  program(rest, usual());
  EXPECT_EQ(restart(), usual());
  EXPECT_EQ(fake_.classes().size(), 7U);
  EXPECT_EQ(fake_.filters().size(), 8U);
}

TEST_F(TcBackendTest, ARootWithoutTheNicsClassIsMadeAnew) {
  fake_.set_root({kOurs, kRoot, "htb"});
  EXPECT_TRUE(restart().nodes.empty());
  program({}, usual());
  EXPECT_EQ(restart(), usual());
}

TEST_F(TcBackendTest, WhatTheSiteAddsIsLeftAlone) {
  program({}, usual());
  Class site;
  site.id = with_minor(0x20);
  site.parent = with_minor(1);
  site.rate = site.ceil = 1000;
  fake_.put_class(site);
  Filter filter;
  filter.kind = "u32";
  filter.priority = 5;
  filter.protocol = 0x0800;
  filter.handle = 0x80000800;
  filter.target = site.id;
  fake_.put_filter(filter);
  Plan found = restart();
  EXPECT_EQ(found, usual());
  // Numbers that are in use are not given again.
  std::vector<Node> many;
  for (std::uint64_t uid = 110; uid < 140; ++uid)
    many.push_back(endpoint(uid));
  for (const Status& done : run(Step::Kind::kAdd, many))
    ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(fake_.classes().at(site.id), site);
  EXPECT_TRUE(std::count(fake_.filters().begin(), fake_.filters().end(), filter));
  EXPECT_TRUE(run(Step::Kind::kRemove, {nic()})[0]);
}

TEST_F(TcBackendTest, CountersAddUpWhatWaitsAndIsDropped) {
  program({}, usual());
  fake_.set_stats(class_of(101)->id, {1000, 10, 3, 7, 500});
  fake_.set_stats(class_of(102)->id, {2000, 20, 4, 8, 600});
  fake_.set_stats(class_of(201)->id, {10, 1, 1, 0, 1});
  fake_.set_stats(with_minor(0x10), {3000, 30, 0, 2, 0});
  fake_.set_stats(with_minor(1), {3010, 31, 0, 1, 0});
  fake_.set_stats(with_minor(2), {5, 1, 9, 0, 0});
  auto counters = backend_->counters();
  ASSERT_TRUE(counters);
  using qos::Counters;
  EXPECT_EQ((*counters)[NodeId::endpoint(EndpointUid{101})], (Counters{1000, 10, 3, 7, 500}));
  EXPECT_EQ((*counters)[NodeId::vpc(VpcUid{1})], (Counters{3000, 30, 7, 2, 1100}));
  EXPECT_EQ((*counters)[NodeId::nic()], (Counters{3010, 31, 17, 1, 1101}));
  // Drops of those that are gone stay with their VPC, and then with the NIC.
  EXPECT_TRUE(run(Step::Kind::kRemove, {endpoint(101)})[0]);
  EXPECT_EQ((*backend_->counters())[NodeId::vpc(VpcUid{1})], (Counters{3000, 30, 7, 2, 600}));
  EXPECT_TRUE(run(Step::Kind::kRemove, {endpoint(102)})[0]);
  EXPECT_TRUE(run(Step::Kind::kRemove, {vpc(1)})[0]);
  EXPECT_EQ((*backend_->counters())[NodeId::nic()].drops, 17U);
}

TEST_F(TcBackendTest, CountersSayWhenSomebodyRemovedTheRoot) {
  program({}, usual());
  fake_.set_root({0, kRoot, "noqueue"});
  auto counters = backend_->counters();
  ASSERT_FALSE(counters);
  EXPECT_EQ(counters.error().code, Code::kNotFound);
  EXPECT_THAT(counters.error().message, HasSubstr("somebody removed it"));
  EXPECT_TRUE(restart().nodes.empty());
  // Removing what is gone is done, also without a new look.
  program({}, usual());
  fake_.set_root({0x80020000, kRoot, "mq"});
  EXPECT_TRUE(run(Step::Kind::kRemove, {nic()})[0]);
  EXPECT_EQ(fake_.root().kind, "mq");
}

TEST_F(TcBackendTest, ADeviceThatIsGoneIsSaidForEachStep) {
  program({}, usual());
  fake_.device_there = false;
  for (const Status& done : run(Step::Kind::kChange, {vpc(1), endpoint(101)}))
    EXPECT_EQ(done.error().err, ENODEV);
  EXPECT_EQ(backend_->readback(vpc_of).error().err, ENODEV);
}

// Random plans, one after the other, with failures and restarts in between: what is read back is
// what was programmed, and nothing else is in the kernel.
TEST_F(TcBackendTest, AnySequenceOfPlansEndsInTheLast) {
  std::mt19937 random(7);
  Plan have;
  for (int round = 0; round < 300; ++round) {
    Plan want;
    if (random() % 10 != 0) {
      want = plan_of({nic(), other()});
      for (std::uint64_t v = 1; v <= 3; ++v) {
        bool any = false;
        for (std::uint64_t e = 0; e < 6; ++e) {
          if (random() % 2 == 0) continue;
          Node one = endpoint(100 * v + e);
          one.weight = 1 + random() % 100;
          one.maximum = BitsPerSecond{8'000'000 + 8 * (random() % 1000)};
          if (random() % 4 == 0) one.ports.first ^= 0x1000;
          want.nodes[one.id] = one;
          any = true;
        }
        Node one = vpc(v);
        one.weight = 1 + random() % 100;
        if (any) want.nodes[one.id] = one;
      }
    }
    if (random() % 3 == 0) {
      fake_.fail_next([&random](const Operation&) { return random() % 8 == 0; },
                      random() % 2 == 0 ? ENOMEM : ETIMEDOUT, 3, random() % 2 == 0);
    }
    (void)backend_->program(qos::diff(have, want));
    // Failed or not: the agent looks again and does the rest.
    for (int tries = 0; tries < 10; ++tries) {
      have = restart();
      auto steps = qos::diff(have, plan_as_programmed(want));
      if (steps.empty()) break;
      (void)backend_->program(steps);
    }
    (void)backend_->program({});
    ASSERT_EQ(restart(), plan_as_programmed(want)) << round;
    ASSERT_EQ(fake_.classes().size(), want.nodes.size()) << round;
    have = want;
  }
}

}  // namespace
}  // namespace qmasq::test
