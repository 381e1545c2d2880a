// SPDX-License-Identifier: Apache-2.0
// QoS policies in a store: they come back as they went in, stay while somebody has them, and who
// has them is found.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controller/store/sqlite/sqlite_store.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/controller/store_support.h"

namespace qmasq::controller {
namespace {

using testing::add_endpoint;
using testing::add_host;
using testing::add_policy;
using testing::add_vpc;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class StoreQos : public ::testing::Test {
 protected:
  void SetUp() override {
    open();
    write([&](WriteView& view) -> Status {
      QMASQ_ASSIGN(blue_, add_vpc(view, "blue", 4096));
      QMASQ_ASSIGN(red_, add_vpc(view, "red", 4097));
      // Not in the order of their names.
      QMASQ_ASSIGN(b_, add_host(view, "hostB"));
      QMASQ_ASSIGN(a_, add_host(view, "hostA"));
      QMASQ_ASSIGN(gold_, add_policy(view, "gold"));
      QMASQ_ASSIGN(tin_, add_policy(view, "tin"));
      return {};
    });
  }
  void open() {
    store_.reset();
    auto opened = sqlite::open_store({dir_.path()}, clock_);
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = std::move(*opened);
    store_->listen([this](const Commit& commit) { commits_.push_back(commit); });
  }
  void write(const Store::WriteFn& fn) {
    auto status = store_->write(fn);
    ASSERT_TRUE(status) << status.error().message;
  }
  void read(const Store::ReadFn& fn) {
    auto status = store_->read(fn);
    ASSERT_TRUE(status) << status.error().message;
  }
  static PolicyReference reference(const QosPolicyPtr& policy) {
    return {policy->policy.uid, policy->policy.id};
  }
  EndpointPtr put_endpoint(const VpcPtr& vpc, const HostPtr& host, const std::string& id,
                           const std::string& address, PolicyReference policy = {}) {
    EndpointPtr out;
    write([&](WriteView& view) -> Status {
      QMASQ_ASSIGN(auto made, add_endpoint(view, vpc, host, id, {address}));
      out = made;
      if (policy.uid.value == 0) return {};
      Endpoint with = *made;
      with.qos_policy = policy;
      QMASQ_ASSIGN(out, view.put(std::move(with)));
      return {};
    });
    return out;
  }
  void give(VpcPtr& vpc, PolicyReference policy) {
    write([&](WriteView& view) -> Status {
      Vpc with = *vpc;
      with.qos_policy = std::move(policy);
      QMASQ_ASSIGN(vpc, view.put(std::move(with)));
      return {};
    });
  }

  qmasq::testing::TempDir dir_;
  qmasq::testing::ManualClock clock_;
  std::unique_ptr<Store> store_;
  std::vector<Commit> commits_;
  VpcPtr blue_, red_;
  HostPtr a_, b_;
  QosPolicyPtr gold_, tin_;
};

// Every field at a value of its own, then none of them.
TEST_F(StoreQos, APolicyComesBackAsItWentIn) {
  QosPolicy full = *gold_;
  full.description = "text \xc3\xa4\nwith 'quotes'";
  full.policy.bandwidth = {BitsPerSecond{8001}, BitsPerSecond{9'999'999'999'999}, 4097, 99};
  full.policy.dscp = 0;
  full.policy.quotas.limits = {11, 12, 13, 14, std::uint64_t{1} << 60U};
  for (std::uint32_t i = 0; i < qos::kVerbKinds; ++i)
    full.policy.verb_rates.rates[i] = qos::VerbRate{21 + 2 * i, 22 + 2 * i};
  write([&](WriteView& view) -> Status {
    QMASQ_ASSIGN(gold_, view.put(full));
    return {};
  });
  open();
  read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(auto held, view.find_policy("gold"));
    if (held == nullptr) return fail(Code::kNotFound, "gold");
    EXPECT_EQ(held->policy, full.policy);
    EXPECT_EQ(held->description, full.description);
    EXPECT_EQ(held->version, 2U);
    EXPECT_EQ(held->revision, gold_->revision);
    EXPECT_EQ(held->create_time, gold_->create_time);
    QMASQ_ASSIGN(auto same, view.get_policy(full.policy.uid));
    EXPECT_EQ(same->policy, full.policy);
    QMASQ_ASSIGN(auto none, view.find_policy("nobody"));
    EXPECT_EQ(none, nullptr);
    QMASQ_ASSIGN(auto bare, view.find_policy("tin"));
    EXPECT_EQ(bare->policy, tin_->policy);
    EXPECT_FALSE(bare->policy.bandwidth.limits());
    return {};
  });
  full.policy = {full.policy.uid, "gold", {}, 63, {}, {}};
  write([&](WriteView& view) -> Status {
    QMASQ_TRY(view.put(full));
    return {};
  });
  open();
  read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(auto held, view.find_policy("gold"));
    EXPECT_EQ(held->policy, full.policy);
    return {};
  });
}

TEST_F(StoreQos, AChangeIsOneRevisionWithBothValues) {
  commits_.clear();
  write([&](WriteView& view) -> Status {
    QosPolicy next = *gold_;
    next.policy.dscp = 5;
    QMASQ_TRY(view.put(std::move(next)));
    return view.remove(tin_);
  });
  ASSERT_EQ(commits_.size(), 1U);
  ASSERT_EQ(commits_[0].policies.size(), 2U);
  EXPECT_FALSE(commits_[0].policies[0].before->policy.dscp);
  EXPECT_EQ(commits_[0].policies[0].after->policy.dscp, 5);
  EXPECT_EQ(commits_[0].policies[1].after, nullptr);
  read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(auto log, view.log(Revision{commits_[0].revision.value - 1}, 10));
    EXPECT_THAT(log, ElementsAre(LogEntry{commits_[0].revision,
                                          Kind::kQosPolicy,
                                          Op::kUpdate,
                                          gold_->policy.uid.value,
                                          {},
                                          {},
                                          {}},
                                 LogEntry{commits_[0].revision,
                                          Kind::kQosPolicy,
                                          Op::kDelete,
                                          tin_->policy.uid.value,
                                          {},
                                          {},
                                          {}}));
    return {};
  });
}

TEST_F(StoreQos, WhoHasAPolicyIsFoundAndHoldsIt) {
  give(blue_, reference(gold_));
  auto endpoint = put_endpoint(red_, b_, "x", "10.0.0.1", reference(gold_));
  open();
  read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(auto vpc, view.find_vpc("blue"));
    EXPECT_EQ(vpc->qos_policy, reference(gold_));
    QMASQ_ASSIGN(auto held, view.get_endpoint(endpoint->uid));
    EXPECT_EQ(held->qos_policy, reference(gold_));
    EXPECT_THAT(view.policy_vpcs(gold_->policy.uid, 5).value(), ElementsAre("vpcs/blue"));
    EXPECT_THAT(view.policy_endpoints(gold_->policy.uid, 5).value(),
                ElementsAre("vpcs/red/endpoints/x"));
    EXPECT_THAT(view.policy_endpoints(gold_->policy.uid, 0).value(), IsEmpty());
    EXPECT_EQ(view.count_policy_vpcs(gold_->policy.uid).value(), 1U);
    EXPECT_EQ(view.count_policy_endpoints(gold_->policy.uid).value(), 1U);
    EXPECT_EQ(view.count_policy_vpcs(tin_->policy.uid).value(), 0U);
    EXPECT_EQ(view.count_policies().value(), 2U);
    return {};
  });
  auto removed = [&] { return store_->write([&](WriteView& view) { return view.remove(gold_); }); };
  EXPECT_EQ(removed().error().code, Code::kFailedPrecondition);
  give(blue_, {});
  EXPECT_EQ(removed().error().code, Code::kFailedPrecondition);
  write([&](WriteView& view) -> Status { return view.remove(endpoint); });
  EXPECT_TRUE(removed());
  EXPECT_EQ(removed().error().code, Code::kNotFound);
}

TEST_F(StoreQos, AReferenceToNoPolicyIsRefused) {
  auto status = store_->write([&](WriteView& view) -> Status {
    Vpc with = *blue_;
    with.qos_policy = {QosPolicyUid{999}, "ghost"};
    QMASQ_TRY(view.put(std::move(with)));
    return {};
  });
  EXPECT_FALSE(status);
}

TEST_F(StoreQos, HostsAreFoundByVpcAndPolicy) {
  put_endpoint(blue_, a_, "one", "10.0.0.1");
  put_endpoint(blue_, a_, "two", "10.0.0.2");
  put_endpoint(blue_, b_, "three", "10.0.0.3");
  auto own = put_endpoint(red_, b_, "four", "10.0.0.4", reference(tin_));
  const HostReference a{a_->uid, "hostA"};
  const HostReference b{b_->uid, "hostB"};
  read([&](ReadView& view) -> Status {
    EXPECT_THAT(view.used_hosts().value(), ElementsAre(a, b));
    EXPECT_THAT(view.hosts_of(blue_->uid).value(), ElementsAre(a, b));
    EXPECT_THAT(view.hosts_of(red_->uid).value(), ElementsAre(b));
    EXPECT_THAT(view.hosts_of(VpcUid{999}).value(), IsEmpty());
    EXPECT_THAT(view.hosts_of(gold_->policy.uid).value(), IsEmpty());
    EXPECT_THAT(view.hosts_of(tin_->policy.uid).value(), ElementsAre(b));
    EXPECT_THAT(view.policed_vpcs(a_->uid).value(), IsEmpty());
    EXPECT_THAT(view.policed_endpoints(a_->uid).value(), IsEmpty());
    EXPECT_THAT(view.policed_endpoints(b_->uid).value(),
                ElementsAre(PolicedEndpoint{own->uid, red_->uid, tin_->policy.uid}));
    return {};
  });
  give(blue_, reference(gold_));
  give(red_, reference(gold_));
  read([&](ReadView& view) -> Status {
    EXPECT_THAT(view.hosts_of(gold_->policy.uid).value(), ElementsAre(a, b));
    EXPECT_THAT(view.hosts_of(tin_->policy.uid).value(), ElementsAre(b));
    EXPECT_THAT(view.policed_vpcs(a_->uid).value(),
                ElementsAre(PolicedVpc{blue_->uid, gold_->policy.uid}));
    EXPECT_THAT(view.policed_vpcs(b_->uid).value(),
                UnorderedElementsAre(PolicedVpc{blue_->uid, gold_->policy.uid},
                                     PolicedVpc{red_->uid, gold_->policy.uid}));
    return {};
  });
}

TEST_F(StoreQos, AnAdministratorsRateGoesBeforeTheReported) {
  write([&](WriteView& view) -> Status {
    Host host = *a_;
    for (const char* device : {"rxe0", "rxe1", "rxe2"}) {
      Nic nic;
      nic.device = device;
      nic.rate_bps = 100'000'000;
      host.nics.push_back(nic);
    }
    host.nics[2].rate_bps = 0;
    host.nic_rates = {{"rxe1", 30'000'000}, {"later", 5000}};
    QMASQ_ASSIGN(a_, view.put(std::move(host), true));
    return {};
  });
  open();
  read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(auto host, view.find_host("hostA"));
    EXPECT_EQ(host->nic_rates, a_->nic_rates);
    EXPECT_THAT(view.shared_rates(a_->uid).value(),
                ElementsAre(NicRate{"later", 5000}, NicRate{"rxe0", 100'000'000},
                            NicRate{"rxe1", 30'000'000}));
    EXPECT_THAT(view.shared_rates(b_->uid).value(), IsEmpty());
    return {};
  });
  // Reports leave them alone, and they go with the host.
  write([&](WriteView& view) -> Status {
    Host host = *a_;
    host.nics.clear();
    QMASQ_ASSIGN(a_, view.put(std::move(host), true));
    return {};
  });
  read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(auto host, view.find_host("hostA"));
    EXPECT_EQ(host->nic_rates.size(), 2U);
    return {};
  });
  write([&](WriteView& view) -> Status { return view.remove(a_); });
}

TEST_F(StoreQos, ListsGoOnWhereTheyStopped) {
  write([&](WriteView& view) -> Status {
    QMASQ_TRY(add_policy(view, "silver"));
    return {};
  });
  read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(auto first, view.list_policies({"", 2}));
    EXPECT_EQ(first.size(), 2U);
    EXPECT_EQ(first[0]->policy.id, "gold");
    EXPECT_EQ(first[1]->policy.id, "silver");
    QMASQ_ASSIGN(auto rest, view.list_policies({"silver", 2}));
    EXPECT_EQ(rest.size(), 1U);
    EXPECT_EQ(rest[0]->policy.id, "tin");
    return {};
  });
  auto again = store_->write([&](WriteView& view) -> Status {
    QMASQ_TRY(add_policy(view, "gold"));
    return {};
  });
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::kAlreadyExists);
}

}  // namespace
}  // namespace qmasq::controller
