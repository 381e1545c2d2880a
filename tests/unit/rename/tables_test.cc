// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <atomic>
#include <map>
#include <random>
#include <thread>

#include "tests/unit/rename/rename_fixture.h"
#include "vbond/rename/metrics.h"

namespace qmasq::vbond::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using uverbs::QpState;

class EndpointTableTest : public RenameFixture {
 protected:
  // Name found, or the error.
  std::string find(std::string_view reference) {
    auto found = endpoints_.find(reference);
    return found ? (*found)->name : found.error().message;
  }
  Code code(std::string_view reference) { return endpoints_.find(reference).error().code; }
};

TEST_F(EndpointTableTest, FindsByAnyUnambiguousName) {
  EXPECT_EQ(find("vpcs/blue/endpoints/a"), "vpcs/blue/endpoints/a");
  EXPECT_EQ(find("red/a"), "vpcs/red/endpoints/a");
  EXPECT_EQ(find("d"), "vpcs/blue/endpoints/d");
}

TEST_F(EndpointTableTest, SaysWhyNot) {
  EXPECT_THAT(find("a"), HasSubstr("ambiguous on hosts/hostA: vpcs/blue/endpoints/a, "
                                   "vpcs/red/endpoints/a"));
  EXPECT_EQ(code("a"), Code::kInvalidArgument);
  EXPECT_THAT(find("blue/b"), HasSubstr("not on hosts/hostA: vpcs/blue/endpoints/b is on "
                                        "hosts/hostB"));
  EXPECT_EQ(code("blue/b"), Code::kFailedPrecondition);
  EXPECT_THAT(find("b"), HasSubstr("vpcs/blue/endpoints/b is on hosts/hostB, "
                                   "vpcs/red/endpoints/b is on hosts/hostB"));
  EXPECT_THAT(find("green/a"), HasSubstr("no endpoint 'green/a' on hosts/hostA"));
  EXPECT_EQ(code("green/a"), Code::kNotFound);
  EXPECT_EQ(code("a//b"), Code::kInvalidArgument);
  SyncState fresh;
  EndpointTable table(peers_, fresh);
  EXPECT_EQ(table.find("blue/a").error().code, Code::kFailedPrecondition);
  EXPECT_THAT(table.find("blue/a").error().message, HasSubstr("no state from the controller"));
}

TEST_F(EndpointTableTest, HoldsWhatIsAnsweredFromIt) {
  EndpointPtr a = endpoints_.find(EndpointUid{101});
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->vpc_name, "vpcs/blue");
  EXPECT_EQ(a->vni, Vni{100});
  EXPECT_THAT(a->gids, ElementsAre(Gid::link_local(mac(101)), gid("10.0.0.1"), gid("fd00::1")));
  EXPECT_EQ(endpoints_.find(EndpointUid{102}), nullptr) << "on another host";
  std::vector<std::string> names;
  for (const EndpointPtr& endpoint : endpoints_.list())
    names.push_back(endpoint->name);
  EXPECT_THAT(
      names, ElementsAre("vpcs/blue/endpoints/a", "vpcs/blue/endpoints/d", "vpcs/red/endpoints/a"));
}

TEST_F(EndpointTableTest, TellsItsListenerWhatChanged) {
  std::vector<std::string> told;
  endpoints_.set_listener([&](EndpointUid uid, const EndpointPtr& endpoint) {
    told.push_back(std::to_string(uid.value) + (endpoint == nullptr ? " gone" : " is"));
    EXPECT_EQ(endpoints_.find(uid), endpoint) << "no lock is held";
  });
  auto heard = [&](const Change& change) {
    told.clear();
    apply(change);
    return told;
  };
  Change change;
  change.endpoints = {endpoint(101, 1, "blue/a", 10, {"10.0.0.1", "fd00::1"})};
  EXPECT_THAT(heard(change), IsEmpty()) << "as it was";
  change.endpoints = {endpoint(101, 1, "blue/a", 10, {"10.0.0.5"}),
                      endpoint(102, 1, "blue/b", 10, {"10.0.0.2"})};
  EXPECT_THAT(heard(change), UnorderedElementsAre("101 is", "102 is"));
  change.endpoints = {endpoint(101, 1, "blue/a", 11, {"10.0.0.5"})};
  EXPECT_THAT(heard(change), ElementsAre("101 gone")) << "moved away";
  change = {};
  change.vpcs = {vpc(1, "blue", 100)};
  change.vpcs[0].mtu = 1400;
  EXPECT_THAT(heard(change), UnorderedElementsAre("102 is", "104 is"));
  EXPECT_EQ(endpoints_.find(EndpointUid{104})->mtu, 1400U);
  change = {};
  change.removed_vpcs = {VpcUid{1}};
  EXPECT_THAT(heard(change), UnorderedElementsAre("102 gone", "104 gone"));
  change = {};
  change.snapshot = true;
  EXPECT_THAT(heard(change), ElementsAre("201 gone"));
  EXPECT_TRUE(endpoints_.list().empty());
}

TEST_F(EndpointTableTest, AnInterfaceStaysWithItsEndpoint) {
  endpoints_.set_interface(EndpointUid{101}, "blue0", 5);
  endpoints_.set_interface(EndpointUid{102}, "nowhere", 6);  // not of this host
  Change change;
  change.endpoints = {endpoint(101, 1, "blue/a", 10, {"10.0.0.5"})};
  apply(change);
  EXPECT_EQ(endpoints_.find(EndpointUid{101})->interface, "blue0");
  EXPECT_EQ(endpoints_.find(EndpointUid{101})->ifindex, 5U);
  endpoints_.set_interface(EndpointUid{101}, "", 0);
  EXPECT_EQ(endpoints_.find(EndpointUid{101})->interface, "");
}

TEST_F(EndpointTableTest, AnotherHostUidDropsAll) {
  endpoints_.set_host(HostUid{10}, "hosts/hostA");
  EXPECT_EQ(endpoints_.list().size(), 3U);
  endpoints_.set_host(HostUid{11}, "hosts/hostB");
  EXPECT_TRUE(endpoints_.list().empty());
}

TEST_F(EndpointTableTest, RefusesMoreAddressesThanAQpCanName) {
  Change change;
  change.endpoints = {endpoint(101, 1, "blue/a", 10, {})};
  change.endpoints[0].addresses.resize(255);
  EXPECT_TRUE(endpoints_.check(change));
  change.endpoints[0].addresses.resize(256);
  EXPECT_FALSE(endpoints_.check(change));
}

TEST(NicTable, SaysWhatAnUpdateChanged) {
  NicTable table;
  auto diff = table.update({nic("rxe1", "10.9.0.2", 1), nic("rxe0", "10.9.0.1", 1)});
  EXPECT_THAT(diff.found, ElementsAre("rxe0", "rxe1"));
  NicPtr held = table.find("rxe0");
  diff = table.update({nic("rxe0", "10.9.0.1", 1), nic("rxe1", "10.9.0.3", 1)});
  EXPECT_THAT(diff.changed, ElementsAre("rxe1"));
  EXPECT_THAT(diff.found, IsEmpty());
  EXPECT_EQ(table.find("rxe0"), held) << "nothing new, the same value";
  diff = table.update({nic("mlx5_0", "", 0)});
  EXPECT_THAT(diff.lost, ElementsAre("rxe0", "rxe1"));
  EXPECT_THAT(diff.found, ElementsAre("mlx5_0"));
  EXPECT_EQ(table.find("rxe0"), nullptr);
  EXPECT_EQ(table.list().size(), 1U);
  EXPECT_TRUE(table.update({nic("mlx5_0", "", 0)}).empty());
}

TEST_F(RenameFixture, ConnectionsAreListedByParent) {
  connect(red_a_, 3, "10.0.0.2");
  connect(blue_a_, 9, "10.0.0.2");
  connect(blue_a_, 2, "10.0.0.4");
  auto names = [&](const std::string& parent) {
    std::vector<std::string> out;
    for (const Connection& c : connections_.list({parent}))
      out.push_back(c.endpoint_name.substr(5) + " " + std::to_string(c.key.handle));
    return out;
  };
  EXPECT_THAT(names(""),
              ElementsAre("blue/endpoints/a 2", "blue/endpoints/a 9", "red/endpoints/a 3"));
  EXPECT_THAT(names("vpcs/red"), ElementsAre("red/endpoints/a 3"));
  EXPECT_THAT(names("vpcs/blue/endpoints/a").size(), 2U);
  EXPECT_THAT(names("vpcs/blu"), IsEmpty());
  EXPECT_EQ(connections_.count_of(EndpointUid{101}), 2U);
  auto counts = connections_.counts();
  EXPECT_EQ(counts.total, 3U);
  EXPECT_EQ(counts.connected, 3U);
  EXPECT_EQ(counts.contexts, 2U);
  EXPECT_EQ(counts.by_state[static_cast<std::size_t>(QpState::kRtr)], 3U);
}

// The table's indexes and counts against a trivial map.
TEST(ConnectionTableModel, AgreesWithATrivialMap) {
  ConnectionTable table;
  std::map<QpKey, Connection> model;
  std::mt19937 random(11);
  auto dice = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  for (int i = 0; i < 20'000; ++i) {
    QpKey key{1 + dice(4), dice(8)};
    auto change = [&, state = static_cast<QpState>(dice(7)), peer = dice(5)](Connection& c) {
      c.state = state;
      c.connected = peer != 0;
      c.path.reset();
      if (peer == 0) return;
      auto path = std::make_shared<Path>();
      path->peer = EndpointUid{peer};
      c.path = std::move(path);
    };
    switch (dice(4)) {
      case 0: {
        Connection c;
        c.key = key;
        c.endpoint = EndpointUid{1 + dice(3)};
        change(c);
        table.put(c);
        model[key] = c;
        break;
      }
      case 1:
        EXPECT_EQ(table.update(key, change), model.contains(key));
        if (auto it = model.find(key); it != model.end()) change(it->second);
        break;
      case 2:
        EXPECT_EQ(table.remove(key).has_value(), model.erase(key) == 1);
        break;
      default:
        if (dice(10) != 0) break;
        EXPECT_EQ(table.remove_context(key.context).size(),
                  std::erase_if(
                      model, [&](const auto& item) { return item.first.context == key.context; }));
    }
    ConnectionCounts counts = table.counts();
    ASSERT_EQ(counts.total, model.size());
    std::size_t connected = 0;
    std::map<EndpointUid, std::size_t> endpoints;
    std::array<std::size_t, 7> states{};
    for (const auto& [k, c] : model) {
      connected += c.connected ? 1 : 0;
      ++endpoints[c.endpoint];
      ++states[static_cast<std::size_t>(c.state)];
    }
    ASSERT_EQ(counts.connected, connected);
    ASSERT_EQ(counts.by_state, states);
    for (std::uint64_t uid = 1; uid <= 5; ++uid) {
      ASSERT_EQ(table.count_of(EndpointUid{uid}), endpoints[EndpointUid{uid}]);
    }
  }
}

// For the thread sanitizer: contexts at work while the state changes and operators look.
TEST_F(RenameFixture, TenantsStateAndOperatorsAtOnce) {
  std::atomic<bool> stop = false;
  auto tenant = [&](const ContextInfo& context) {
    for (std::uint32_t i = 0; i < 300; ++i) {
      renamer_.qp_created(context, i % 5, Qpn{i}, uverbs::QpType::kRc);
      modify(context, rtr(i % 5, i % 3 == 0 ? "10.0.0.9" : "10.0.0.2"));
      uverbs::QueryQpResp answer;
      renamer_.after_query_qp(context, i % 5, answer);
      (void)renamer_.gid_table(context);
      renamer_.qp_destroyed(context, i % 5);
    }
    renamer_.context_closed(context);
  };
  std::thread blue(tenant, blue_a_);
  std::thread red(tenant, red_a_);
  std::thread operators([&] {
    while (!stop.load()) {
      (void)connections_.list({});
      (void)endpoints_.find("blue/b");
      (void)endpoints_.list();
      std::this_thread::yield();
    }
  });
  for (std::uint64_t i = 0; i < 100; ++i) {
    Change change;
    change.endpoints = {endpoint(102, 1, "blue/b", 10 + i % 2, {"10.0.0.2", "fd00::2"})};
    apply(change);
    nics_.update({nic("rxe0", "192.168.0.1", static_cast<std::uint32_t>(1 + i % 5))});
    endpoints_.set_interface(EndpointUid{101}, "blue0", static_cast<std::uint32_t>(i));
  }
  blue.join();
  red.join();
  stop = true;
  operators.join();
  EXPECT_EQ(connections_.counts().total, 0U);
}

TEST_F(RenameFixture, MetricsSayWhatHappened) {
  prometheus::Registry registry;
  RenameMetrics metrics(registry, peers_);
  Renamer renamer(
      {sync_, endpoints_, peers_, nics_, tracker_, connections_, log_, clock_, wire_, &metrics},
      {});
  metrics.apply(Change{});
  renamer.qp_created(blue_a_, 1, Qpn{1}, uverbs::QpType::kRc);
  for (const char* dgid : {"10.0.0.2", "10.0.0.9"}) {
    uverbs::ModifyQp command = rtr(1, dgid);
    auto plan = renamer.before_modify(blue_a_, command);
    if (plan) renamer.after_modify(blue_a_, *plan, 0);
  }
  auto text = [&] { return prometheus::TextSerializer().Serialize(registry.Collect()); };
  std::string now = text();
  EXPECT_THAT(now, HasSubstr("qmasq_vbond_rename_map_entries 9\n"));
  EXPECT_THAT(now, HasSubstr("qmasq_vbond_rename_map_endpoints 7\n"));
  EXPECT_THAT(now, HasSubstr("qmasq_vbond_rename_map_bytes "));
  EXPECT_THAT(now, HasSubstr("qmasq_vbond_rename_connections 1\n"));
  EXPECT_THAT(now, HasSubstr("qmasq_vbond_rename_queue_pairs{state=\"rtr\"} 1\n"));
  EXPECT_THAT(now, HasSubstr("qmasq_vbond_rename_connects_total 1\n"));
  EXPECT_THAT(now, HasSubstr("qmasq_vbond_rename_refusals_total{errno=\"EHOSTUNREACH\","
                             "verb=\"MODIFY_QP\"} 1\n"));
  renamer.context_closed(blue_a_);
  now = text();
  EXPECT_THAT(now, HasSubstr("qmasq_vbond_rename_disconnects_total 1\n"));
  EXPECT_THAT(now, HasSubstr("qmasq_vbond_rename_queue_pairs{state=\"rtr\"} 0\n"));
}

}  // namespace
}  // namespace qmasq::vbond::testing
