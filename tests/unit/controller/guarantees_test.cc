// SPDX-License-Identifier: Apache-2.0
// Whether promises fit: each way to promise too much, and a random cloud against adding everything
// up from scratch.
#include "controller/service/guarantees.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "common/resource_name.h"
#include "controller/service/actions.h"
#include "controller/store/sqlite/sqlite_store.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temp_dir.h"

namespace qmasq::controller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kMbit = 1'000'000;

class GuaranteesTest : public ::testing::Test {
 protected:
  GuaranteesTest() {
    auto opened = sqlite::open_store({dir_.path()}, clock_);
    EXPECT_TRUE(opened);
    store_ = std::move(*opened);
    store_->listen([this](const Commit& commit) { allocator_.apply(commit); });
  }

  Status change(const Store::WriteFn& fn) { return store_->write(fn); }

  Status host(const std::string& id, std::uint64_t mbit) {
    v1::CreateHostRequest request;
    request.set_host_id(id);
    if (mbit > 0) add_rate(request.mutable_host(), "rxe0", mbit);
    return change([&](WriteView& view) -> Status {
      QMASQ_TRY(create_host(view, request));
      return {};
    });
  }
  static void add_rate(v1::Host* host, const std::string& device, std::uint64_t mbit) {
    auto* rate = host->add_nic_rates();
    rate->set_device(device);
    rate->set_rate_bps(mbit * kMbit);
  }
  Status vpc(const std::string& id, const std::string& policy = "") {
    v1::CreateVpcRequest request;
    request.set_vpc_id(id);
    request.mutable_vpc()->add_ranges("10.0.0.0/16");
    if (!policy.empty()) request.mutable_vpc()->set_qos_policy("qosPolicies/" + policy);
    return change([&](WriteView& view) -> Status {
      QMASQ_TRY(create_vpc(view, {allocator_, board_}, request));
      return {};
    });
  }
  // 0: none.
  Status policy(const std::string& id, std::uint64_t guaranteed, std::uint64_t maximum = 0) {
    v1::CreateQosPolicyRequest request;
    request.set_qos_policy_id(id);
    if (guaranteed > 0) request.mutable_qos_policy()->set_guaranteed_bps(guaranteed * kMbit);
    if (maximum > 0) request.mutable_qos_policy()->set_maximum_bps(maximum * kMbit);
    return change([&](WriteView& view) -> Status {
      QMASQ_TRY(create_policy(view, request));
      return {};
    });
  }

  // These run a change that may promise too much; `over_` is what it says of that.
  Status endpoint(const std::string& vpc, const std::string& id, const std::string& host,
                  const std::string& policy, bool force = false) {
    v1::CreateEndpointRequest request;
    request.set_parent("vpcs/" + vpc);
    request.set_endpoint_id(id);
    request.mutable_endpoint()->set_host("hosts/" + host);
    if (!policy.empty()) request.mutable_endpoint()->set_qos_policy("qosPolicies/" + policy);
    request.set_force(force);
    return change([&](WriteView& view) -> Status {
      over_.clear();
      QMASQ_TRY(create_endpoint(view, {allocator_, board_}, request, over_));
      return {};
    });
  }
  // "host" or "qos_policy" to a new value.
  Status update(const std::string& name, const std::string& field, const std::string& value,
                bool force = false) {
    v1::UpdateEndpointRequest request;
    request.mutable_endpoint()->set_name(name);
    request.mutable_update_mask()->add_paths(field);
    if (field == "host") {
      request.mutable_endpoint()->set_host("hosts/" + value);
    } else if (!value.empty()) {
      request.mutable_endpoint()->set_qos_policy("qosPolicies/" + value);
    }
    request.set_force(force);
    return change([&](WriteView& view) -> Status {
      over_.clear();
      QMASQ_TRY(update_endpoint(view, {allocator_, board_}, request, over_));
      return {};
    });
  }
  Status give_vpc(const std::string& id, const std::string& policy, bool force = false) {
    v1::UpdateVpcRequest request;
    request.mutable_vpc()->set_name("vpcs/" + id);
    if (!policy.empty()) request.mutable_vpc()->set_qos_policy("qosPolicies/" + policy);
    request.mutable_update_mask()->add_paths("qos_policy");
    request.set_force(force);
    return change([&](WriteView& view) -> Status {
      over_.clear();
      QMASQ_TRY(update_vpc(view, request, over_));
      return {};
    });
  }
  Status set_policy(const std::string& id, std::uint64_t guaranteed, std::uint64_t maximum,
                    bool force = false) {
    v1::UpdateQosPolicyRequest request;
    request.mutable_qos_policy()->set_name("qosPolicies/" + id);
    if (guaranteed > 0) request.mutable_qos_policy()->set_guaranteed_bps(guaranteed * kMbit);
    if (maximum > 0) request.mutable_qos_policy()->set_maximum_bps(maximum * kMbit);
    request.set_force(force);
    return change([&](WriteView& view) -> Status {
      over_.clear();
      QMASQ_TRY(update_policy(view, request, over_));
      return {};
    });
  }
  Status set_rates(const std::string& id, const std::map<std::string, std::uint64_t>& rates,
                   bool force = false) {
    v1::UpdateHostRequest request;
    request.mutable_host()->set_name("hosts/" + id);
    for (const auto& [device, mbit] : rates)
      add_rate(request.mutable_host(), device, mbit);
    request.mutable_update_mask()->add_paths("nic_rates");
    request.set_force(force);
    return change([&](WriteView& view) -> Status {
      over_.clear();
      QMASQ_TRY(update_host(view, request, over_));
      return {};
    });
  }

  static void refused(const Status& status, const std::string& field,
                      const std::vector<std::string>& texts) {
    ASSERT_FALSE(status) << field;
    EXPECT_EQ(status.error().code, Code::kFailedPrecondition) << status.error().message;
    EXPECT_EQ(status.error().field, field) << status.error().message;
    for (const std::string& text : texts)
      EXPECT_THAT(status.error().message, HasSubstr(text));
  }
  static void works(const Status& status) {
    EXPECT_TRUE(status) << status.error().field << ": " << status.error().message;
  }

  qmasq::testing::TempDir dir_;
  qmasq::testing::ManualClock clock_;
  Allocator allocator_;
  StatusBoard board_;
  std::unique_ptr<Store> store_;
  Oversubscriptions over_;
};

TEST_F(GuaranteesTest, WhatFitsIsTaken) {
  works(host("a", 30));
  works(policy("ten", 10, 30));
  works(vpc("blue", "ten"));
  works(vpc("red"));
  works(endpoint("blue", "one", "a", "ten"));  // within the VPC's own
  works(endpoint("red", "one", "a", "ten"));
  works(endpoint("red", "two", "a", "ten"));
  EXPECT_THAT(over_, IsEmpty());
}

TEST_F(GuaranteesTest, AnEndpointsPolicyMustFit) {
  works(host("a", 30));
  works(policy("twenty", 20));
  works(vpc("blue"));
  works(endpoint("blue", "one", "a", "twenty"));
  refused(endpoint("blue", "two", "a", "twenty"), "endpoint.qos_policy",
          {"hosts/a", "rxe0", "40Mbit", "30Mbit"});
  works(endpoint("blue", "two", "a", ""));
  refused(update("vpcs/blue/endpoints/two", "qos_policy", "twenty"), "endpoint.qos_policy",
          {"40Mbit"});
  works(update("vpcs/blue/endpoints/two", "qos_policy", "twenty", true));
  ASSERT_EQ(over_.size(), 1U);
  EXPECT_EQ(over_[0].host(), "hosts/a");
  EXPECT_EQ(over_[0].device(), "rxe0");
  EXPECT_EQ(over_[0].rate_bps(), 30 * kMbit);
  EXPECT_EQ(over_[0].guaranteed_bps(), 40 * kMbit);
  EXPECT_THAT(over_[0].may_suffer(),
              ElementsAre("vpcs/blue/endpoints/one", "vpcs/blue/endpoints/two"));
}

TEST_F(GuaranteesTest, WhatWasForcedStandsInNobodysWay) {
  works(host("a", 30));
  works(policy("twenty", 20));
  works(policy("one", 1));
  works(vpc("blue"));
  works(endpoint("blue", "one", "a", "twenty"));
  works(endpoint("blue", "two", "a", "twenty", true));
  // Adds nothing, or takes away.
  works(endpoint("blue", "three", "a", ""));
  works(update("vpcs/blue/endpoints/two", "qos_policy", "one"));
  EXPECT_THAT(over_, IsEmpty()) << "nobody asked";
  works(update("vpcs/blue/endpoints/two", "qos_policy", "twenty", true));
  refused(endpoint("blue", "four", "a", "one"), "endpoint.qos_policy", {"41Mbit"});
  works(update("vpcs/blue/endpoints/two", "qos_policy", ""));
  works(endpoint("blue", "four", "a", "one"));
}

TEST_F(GuaranteesTest, AMoveMustFit) {
  works(host("a", 30));
  works(host("b", 10));
  works(policy("twenty", 20));
  works(policy("eight", 8));
  works(vpc("blue"));
  works(vpc("red", "eight"));
  works(endpoint("blue", "one", "a", "twenty"));
  works(endpoint("blue", "two", "b", "eight"));
  refused(update("vpcs/blue/endpoints/one", "host", "b"), "endpoint.host",
          {"hosts/b", "rxe0", "20Mbit", "10Mbit", "qosPolicies/twenty"});
  // The VPC's guarantee comes along with its first endpoint there.
  refused(endpoint("red", "one", "b", ""), "endpoint.host", {"hosts/b", "16Mbit", "10Mbit"});
  works(endpoint("red", "one", "a", ""));
  refused(update("vpcs/red/endpoints/one", "host", "b"), "endpoint.host", {"16Mbit"});
  works(update("vpcs/red/endpoints/one", "host", "b", true));
  ASSERT_EQ(over_.size(), 1U);
  EXPECT_THAT(over_[0].may_suffer(), ElementsAre("vpcs/blue/endpoints/two", "vpcs/red"));
  works(endpoint("red", "two", "b", ""));
}

TEST_F(GuaranteesTest, AVpcsPolicyMustFitOnEachOfItsHosts) {
  works(host("a", 30));
  works(host("b", 10));
  works(host("c", 10));
  works(policy("twenty", 20));
  works(vpc("blue"));
  works(endpoint("blue", "one", "a", ""));
  works(give_vpc("blue", "twenty"));
  works(give_vpc("blue", ""));
  works(endpoint("blue", "two", "b", ""));
  works(endpoint("blue", "three", "c", ""));
  refused(give_vpc("blue", "twenty"), "vpc.qos_policy",
          {"qosPolicies/twenty", "20Mbit", "rxe0 of hosts/b has 10Mbit", "1 more host"});
  works(give_vpc("blue", "twenty", true));
  ASSERT_EQ(over_.size(), 2U);
  EXPECT_EQ(over_[0].host(), "hosts/b");
  EXPECT_EQ(over_[1].host(), "hosts/c");
}

TEST_F(GuaranteesTest, AMaximumAboveTheNicIsRefused) {
  works(host("a", 30));
  works(policy("fast", 0, 40));
  works(vpc("blue"));
  refused(endpoint("blue", "one", "a", "fast"), "endpoint.qos_policy",
          {"maximum of qosPolicies/fast is 40Mbit", "rxe0 of hosts/a has 30Mbit"});
  works(endpoint("blue", "one", "a", "fast", true));
  EXPECT_THAT(over_, IsEmpty()) << "nobody is promised anything";
  works(policy("slow", 0, 20));
  works(give_vpc("blue", "slow"));
  refused(set_policy("slow", 0, 31), "qos_policy.maximum_bps", {"31Mbit"});
  works(set_policy("slow", 0, 30));
}

TEST_F(GuaranteesTest, APolicysGuaranteeMustFitWhereItIsUsed) {
  works(host("a", 30));
  works(policy("ten", 10));
  works(vpc("blue"));
  works(vpc("red"));
  for (const char* id : {"one", "two"})
    works(endpoint("blue", id, "a", "ten"));
  works(give_vpc("red", "ten"));
  works(set_policy("ten", 15, 0));
  works(endpoint("red", "one", "a", "", true));
  works(set_policy("ten", 10, 0));
  refused(set_policy("ten", 11, 0), "qos_policy.guaranteed_bps",
          {"hosts/a", "rxe0", "33Mbit", "30Mbit"});
  refused(set_policy("ten", 31, 0), "qos_policy.guaranteed_bps",
          {"guarantee of qosPolicies/ten is 31Mbit"});
  works(set_policy("ten", 11, 0, true));
  ASSERT_EQ(over_.size(), 1U);
  EXPECT_THAT(over_[0].may_suffer(),
              ElementsAre("vpcs/blue/endpoints/one", "vpcs/blue/endpoints/two", "vpcs/red"));
}

TEST_F(GuaranteesTest, EndpointsMayNotBePromisedMoreThanTheirVpcMayHave) {
  works(host("a", 0));  // whatever the NICs have
  works(policy("twenty", 20));
  works(policy("cap", 0, 30));
  works(vpc("blue", "cap"));
  works(endpoint("blue", "one", "a", "twenty"));
  refused(endpoint("blue", "two", "a", "twenty"), "endpoint.qos_policy",
          {"endpoints of vpcs/blue on hosts/a", "40Mbit", "maximum of the VPC is 30Mbit"});
  refused(set_policy("cap", 0, 10), "qos_policy.maximum_bps", {"20Mbit", "10Mbit"});
  refused(set_policy("twenty", 31, 0), "qos_policy.guaranteed_bps", {"31Mbit", "30Mbit"});
  works(endpoint("blue", "two", "a", "twenty", true));
  ASSERT_EQ(over_.size(), 1U);
  EXPECT_EQ(over_[0].vpc(), "vpcs/blue");
  EXPECT_EQ(over_[0].device(), "");
  EXPECT_EQ(over_[0].rate_bps(), 30 * kMbit);
  EXPECT_EQ(over_[0].guaranteed_bps(), 40 * kMbit);
  EXPECT_THAT(over_[0].may_suffer(),
              ElementsAre("vpcs/blue/endpoints/one", "vpcs/blue/endpoints/two"));
  // On another host it has its maximum once more.
  works(host("b", 0));
  works(endpoint("blue", "three", "b", "twenty"));
}

TEST_F(GuaranteesTest, ALowerRateMustHoldWhatIsPromised) {
  works(host("a", 30));
  works(policy("twenty", 20));
  works(vpc("blue", "twenty"));
  works(endpoint("blue", "one", "a", ""));
  works(set_rates("a", {{"rxe0", 20}}));
  refused(set_rates("a", {{"other", 50}, {"rxe0", 19}}), "host.nic_rates[1].rate_bps",
          {"rxe0", "19Mbit", "20Mbit"});
  works(set_rates("a", {}));
  // Now by what the driver says.
  works(change([&](WriteView& view) -> Status {
    QMASQ_ASSIGN(HostPtr before, view.find_host("a"));
    Host now = *before;
    now.nics.resize(1);
    now.nics[0].device = "rxe0";
    now.nics[0].rate_bps = 10 * kMbit;
    QMASQ_TRY(view.put(std::move(now), true));
    return {};
  }));
  works(set_rates("a", {{"rxe0", 20}}));
  refused(set_rates("a", {}), "host.nic_rates", {"rxe0", "10Mbit"});
  works(set_rates("a", {{"rxe0", 5}}, true));
  ASSERT_EQ(over_.size(), 1U);
  EXPECT_EQ(over_[0].rate_bps(), 5 * kMbit);
  works(set_rates("a", {{"rxe0", 6}}));
}

TEST_F(GuaranteesTest, TwentySuffererAreNamedLargestFirst) {
  works(host("a", 30));
  works(policy("one", 1));
  works(policy("nine", 9));
  works(vpc("blue"));
  for (int i = 0; i < 25; ++i)
    works(endpoint("blue", fmt::format("e{}", i), "a", "one"));
  works(endpoint("blue", "big", "a", "nine", true));
  ASSERT_EQ(over_.size(), 1U);
  ASSERT_EQ(over_[0].may_suffer_size(), 20);
  EXPECT_EQ(over_[0].may_suffer(0), "vpcs/blue/endpoints/big");
}

// What is too much anywhere, from all there is. Key: what; value: asked and available.
using Naive = std::map<std::string, std::pair<std::uint64_t, std::uint64_t>>;

Result<Naive> add_up(ReadView& view) {
  std::map<std::uint64_t, qos::Bandwidth> bandwidth;
  QMASQ_ASSIGN(auto policies, view.list_policies({"", 10'000}));
  for (const auto& policy : policies)
    bandwidth[policy->policy.uid.value] = policy->policy.bandwidth;
  QMASQ_ASSIGN(auto hosts, view.list_hosts({"", 10'000}));
  QMASQ_ASSIGN(auto vpcs, view.list_vpcs({"", 10'000}));
  EndpointQuery query;
  query.limit = 100'000;
  QMASQ_ASSIGN(auto endpoints, view.list_endpoints(query));
  Naive out;
  for (const auto& host : hosts) {
    std::map<std::string, std::uint64_t> rates;
    for (const auto& rate : host->nic_rates)
      rates[rate.device] = rate.rate_bps;
    std::uint64_t total = 0;
    std::map<std::string, qos::Bandwidth> used;
    for (const auto& vpc : vpcs) {
      const qos::Bandwidth own = bandwidth[vpc->qos_policy.uid.value];
      std::uint64_t sum = 0;
      bool here = false;
      for (const auto& endpoint : endpoints) {
        if (endpoint->host != host->uid || endpoint->vpc != vpc->uid) continue;
        here = true;
        const qos::Bandwidth theirs = bandwidth[endpoint->qos_policy.uid.value];
        used[endpoint->qos_policy.id] = theirs;
        if (theirs.guaranteed) sum += theirs.guaranteed->value;
      }
      if (!here) continue;
      used[vpc->qos_policy.id] = own;
      if (own.maximum && sum > own.maximum->value) {
        out[host->id + " vpcs/" + vpc->id] = {sum, own.maximum->value};
      }
      total += std::max(sum, own.guaranteed ? own.guaranteed->value : 0);
    }
    for (const auto& [device, rate] : rates) {
      if (total > rate) out[host->id + " " + device] = {total, rate};
      for (const auto& [id, limits] : used) {
        if (limits.guaranteed && limits.guaranteed->value > rate) {
          out[fmt::format("{} {} guarantee {}", host->id, device, id)] = {limits.guaranteed->value,
                                                                          rate};
        }
        if (limits.maximum && limits.maximum->value > rate) {
          out[fmt::format("{} {} maximum {}", host->id, device, id)] = {limits.maximum->value,
                                                                        rate};
        }
      }
    }
  }
  return out;
}

bool worse(const Naive& before, const Naive& after) {
  return std::any_of(after.begin(), after.end(), [&](const auto& entry) {
    auto was = before.find(entry.first);
    return was == before.end() || entry.second.first > was->second.first ||
           entry.second.second < was->second.second;
  });
}

TEST_F(GuaranteesTest, ARandomCloudIsJudgedAsByAddingItUp) {
  constexpr unsigned kHosts = 3;
  constexpr unsigned kVpcs = 3;
  constexpr unsigned kPolicies = 4;
  int taken = 0;
  int refusals = 0;
  std::mt19937 random(17);
  auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  auto some_policy = [&] {
    const unsigned i = below(kPolicies + 1);
    return i == kPolicies ? std::string() : fmt::format("p{}", i);
  };
  for (unsigned i = 0; i < kHosts; ++i)
    works(host(fmt::format("h{}", i), 40));
  for (unsigned i = 0; i < kPolicies; ++i)
    works(policy(fmt::format("p{}", i), 5));
  for (unsigned i = 0; i < kVpcs; ++i)
    works(vpc(fmt::format("v{}", i)));
  std::vector<std::string> names;
  auto naive = [&] {
    Naive out;
    EXPECT_TRUE(store_->read([&](ReadView& view) -> Status {
      QMASQ_ASSIGN(out, add_up(view));
      return {};
    }));
    return out;
  };
  for (int step = 0; step < 400; ++step) {
    std::function<Status(bool)> act;
    std::string made;
    const std::string policy_name = some_policy();
    const std::string on = fmt::format("h{}", below(kHosts));
    const std::string of = fmt::format("v{}", below(kVpcs));
    const unsigned dice = below(10);
    if (names.size() < 4 || (dice < 3 && names.size() < 14)) {
      const std::string id = fmt::format("e{}", step);
      made = endpoint_name(of, id);
      act = [=, this](bool force) { return endpoint(of, id, on, policy_name, force); };
    } else if (dice < 5) {
      const std::string name = names[below(static_cast<unsigned>(names.size()))];
      const bool move = below(2) == 0;
      act = [=, this](bool force) {
        return update(name, move ? "host" : "qos_policy", move ? on : policy_name, force);
      };
    } else if (dice < 6) {
      act = [=, this](bool force) { return give_vpc(of, policy_name, force); };
    } else if (dice < 8) {
      const std::uint64_t guaranteed = below(3) == 0 ? 0 : 1 + below(30);
      const std::uint64_t maximum = below(2) == 0 ? 0 : guaranteed + 1 + below(40);
      const std::string id = fmt::format("p{}", below(kPolicies));
      act = [=, this](bool force) { return set_policy(id, guaranteed, maximum, force); };
    } else if (dice < 9) {
      std::map<std::string, std::uint64_t> rates;
      for (const char* device : {"rxe0", "rxe1"}) {
        if (below(3) != 0) rates[device] = 10 + below(60);
      }
      act = [=, this](bool force) { return set_rates(on, rates, force); };
    } else {
      const std::size_t index = below(static_cast<unsigned>(names.size()));
      v1::DeleteEndpointRequest request;
      request.set_name(names[index]);
      works(change([&](WriteView& view) -> Status {
        return delete_endpoint(view, {allocator_, board_}, request);
      }));
      names.erase(names.begin() + static_cast<std::ptrdiff_t>(index));
      continue;
    }
    const Naive before = naive();
    Status status = act(false);
    if (status) {
      ++taken;
      ASSERT_FALSE(worse(before, naive())) << "step " << step;
      if (!made.empty()) names.push_back(made);
      continue;
    }
    ++refusals;
    ASSERT_EQ(status.error().code, Code::kFailedPrecondition) << status.error().message;
    ASSERT_EQ(naive(), before) << "nothing of it is left";
    status = act(true);
    ASSERT_TRUE(status) << status.error().message;
    const Naive after = naive();
    ASSERT_TRUE(worse(before, after)) << "step " << step << " was refused for nothing";
    // All that it says is so; and all that got worse by sums is said.
    std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> said;
    for (const auto& one : over_) {
      const std::string what = one.vpc().empty() ? one.device() : one.vpc();
      said[one.host().substr(6) + " " + what] = {one.guaranteed_bps(), one.rate_bps()};
    }
    for (const auto& [key, value] : said) {
      ASSERT_TRUE(after.contains(key)) << key;
      ASSERT_EQ(after.at(key), value) << key;
    }
    for (const auto& [key, value] : after) {
      const bool single = key.find(" guarantee ") != std::string::npos ||
                          key.find(" maximum ") != std::string::npos;
      auto was = before.find(key);
      // What got better, such as where an endpoint left, need not be said.
      const bool same_or_better = was != before.end() && value.first <= was->second.first &&
                                  value.second >= was->second.second;
      if (single || same_or_better) continue;
      ASSERT_TRUE(said.contains(key)) << key;
    }
    if (!made.empty()) names.push_back(made);
    // Half of the time back to where all fits.
    if (below(2) == 0) {
      for (unsigned i = 0; i < kPolicies; ++i)
        works(set_policy(fmt::format("p{}", i), 1, 0, true));
    }
  }
  EXPECT_GT(taken, 100);
  EXPECT_GT(refusals, 40);
}

}  // namespace
}  // namespace qmasq::controller
