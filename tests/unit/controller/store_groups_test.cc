// SPDX-License-Identifier: Apache-2.0
// Security groups in a store: they come back as they went in, and stay while others refer to them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "conntrack/rule_text.h"
#include "controller/store/sqlite/sqlite_store.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/controller/store_support.h"

namespace qmasq::controller {
namespace {

using conntrack::Remote;
using testing::add_endpoint;
using testing::add_host;
using testing::add_vpc;

class StoreGroups : public ::testing::Test {
 protected:
  void SetUp() override {
    open();
    write([&](WriteView& view) -> Status {
      QMASQ_ASSIGN(vpc_, add_vpc(view, "blue", 4096));
      QMASQ_ASSIGN(host_, add_host(view, "hostA"));
      QMASQ_ASSIGN(web_, add_group(view, "web", {}));
      QMASQ_ASSIGN(clients_, add_group(view, "clients", {}));
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
  Result<SecurityGroupPtr> add_group(WriteView& view, const std::string& id,
                                     std::vector<SecurityGroupRule> rules) {
    SecurityGroup group;
    group.uid = SecurityGroupUid{testing::uid_of(view)};
    group.vpc = vpc_->uid;
    group.vpc_id = vpc_->id;
    group.id = id;
    group.rules = std::move(rules);
    return view.put(std::move(group));
  }
  // Writes web anew with these rules.
  void set_rules(std::vector<SecurityGroupRule> rules) {
    write([&](WriteView& view) -> Status {
      SecurityGroup group = *web_;
      group.rules = rules;
      QMASQ_ASSIGN(web_, view.put(std::move(group)));
      return {};
    });
  }
  static SecurityGroupRule to(const SecurityGroupPtr& group, const std::string& id) {
    SecurityGroupRule out;
    out.rule.id = id;
    out.rule.remote.kind = Remote::Kind::kGroup;
    out.rule.remote.group = group->uid;
    out.rule.remote.group_id = group->id;
    return out;
  }
  // What stands against its removal; kInternal: nothing did.
  Code removal_of(const SecurityGroupPtr& group) {
    auto status = store_->write([&](WriteView& view) { return view.remove(group); });
    return status ? Code::kInternal : status.error().code;
  }

  qmasq::testing::TempDir dir_;
  qmasq::testing::ManualClock clock_;
  std::unique_ptr<Store> store_;
  std::vector<Commit> commits_;
  VpcPtr vpc_;
  HostPtr host_;
  SecurityGroupPtr web_;
  SecurityGroupPtr clients_;
};

// Every field at a value of its own, each kind of remote, in the order that was given.
TEST_F(StoreGroups, RulesComeBackAsTheyWentIn) {
  SecurityGroupRule range;
  range.rule.id = "range";
  range.rule.direction = conntrack::Direction::kEgress;
  range.rule.priority = 65535;
  range.rule.action = conntrack::Action::kDeny;
  range.rule.transport = conntrack::Transport::kUd;
  range.rule.remote.kind = Remote::Kind::kCidr;
  range.rule.remote.cidr = parse_prefix("fd00::/17").value();
  range.description = "text \xc3\xa4\nwith 'quotes'";
  SecurityGroupRule four;
  four.rule.id = "four";
  four.rule.remote.kind = Remote::Kind::kCidr;
  four.rule.remote.cidr = parse_prefix("0.0.0.0/0").value();
  four.rule.operations = {conntrack::Operations::kRead};
  four.rule.shadow = true;
  SecurityGroupRule any;
  any.rule.id = "any";
  any.rule.transport = conntrack::Transport::kRc;  // the number 0 in a column
  any.rule.log = true;
  const std::vector<SecurityGroupRule> rules = {to(clients_, "peer"), range, four, any,
                                                to(web_, "self")};
  set_rules(rules);
  open();
  read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(auto held, view.find_group(vpc_->uid, "web"));
    if (held == nullptr) return fail(Code::kNotFound, "web");
    EXPECT_EQ(held->rules, rules);
    EXPECT_EQ(held->vpc_id, "blue");
    EXPECT_EQ(held->version, 2U);
    EXPECT_EQ(held->revision, web_->revision);
    QMASQ_ASSIGN(auto same, view.get_group(held->uid));
    EXPECT_EQ(same->rules, rules);
    QMASQ_ASSIGN(auto none, view.find_group(vpc_->uid, "nobody"));
    EXPECT_EQ(none, nullptr);
    return {};
  });
}

TEST_F(StoreGroups, AChangeIsOneRevisionWithBothValues) {
  commits_.clear();
  set_rules({to(clients_, "peer"), to(web_, "self")});
  ASSERT_EQ(commits_.size(), 1U);
  ASSERT_EQ(commits_[0].groups.size(), 1U);
  EXPECT_TRUE(commits_[0].groups[0].before->rules.empty());
  EXPECT_EQ(commits_[0].groups[0].after->rules.size(), 2U);
  read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(auto log, view.log(Revision{commits_[0].revision.value - 1}, 10));
    EXPECT_EQ(log.size(), 1U);
    EXPECT_EQ(log[0], (LogEntry{commits_[0].revision, Kind::kSecurityGroup, Op::kUpdate,
                                web_->uid.value, vpc_->uid, HostUid{}, HostUid{}}));
    return {};
  });
}

TEST_F(StoreGroups, StaysWhileARuleOrAnEndpointRefersToIt) {
  set_rules({to(clients_, "peer"), to(web_, "self")});
  EXPECT_EQ(removal_of(clients_), Code::kFailedPrecondition);
  EndpointPtr endpoint;
  write([&](WriteView& view) -> Status {
    QMASQ_ASSIGN(auto made, add_endpoint(view, vpc_, host_, "a", {"10.0.0.1"}));
    Endpoint carrier = *made;
    carrier.groups = {{web_->uid, "web"}, {clients_->uid, "clients"}};
    QMASQ_ASSIGN(endpoint, view.put(std::move(carrier)));
    return {};
  });
  read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(auto naming, view.groups_naming(clients_->uid, 10));
    EXPECT_EQ(naming.size(), 1U);
    EXPECT_EQ(naming[0]->id, "web");
    // Its own rule does not hold it.
    QMASQ_ASSIGN(auto own, view.groups_naming(web_->uid, 10));
    EXPECT_TRUE(own.empty());
    QMASQ_ASSIGN(auto carriers, view.carriers(web_->uid, 10));
    EXPECT_EQ(carriers.size(), 1U);
    EXPECT_EQ(carriers[0]->id, "a");
    QMASQ_ASSIGN(auto count, view.count_carriers(clients_->uid));
    EXPECT_EQ(count, 1U);
    QMASQ_ASSIGN(auto held, view.get_endpoint(endpoint->uid));
    EXPECT_EQ(held->groups, endpoint->groups);
    return {};
  });
  EXPECT_EQ(removal_of(web_), Code::kFailedPrecondition);
  write([&](WriteView& view) -> Status { return view.remove(endpoint); });
  write([&](WriteView& view) -> Status { return view.remove(web_); });
  write([&](WriteView& view) -> Status { return view.remove(clients_); });
}

TEST_F(StoreGroups, AnEndpointKeepsTheOrderOfItsGroups) {
  write([&](WriteView& view) -> Status {
    QMASQ_ASSIGN(auto made, add_endpoint(view, vpc_, host_, "a", {"10.0.0.1"}));
    Endpoint carrier = *made;
    carrier.groups = {{web_->uid, "web"}, {clients_->uid, "clients"}};
    QMASQ_ASSIGN(auto twice, view.put(carrier));
    carrier = *twice;
    std::swap(carrier.groups[0], carrier.groups[1]);
    QMASQ_TRY(view.put(std::move(carrier)));
    return {};
  });
  open();
  read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(auto held, view.find_endpoint(vpc_->uid, "a"));
    EXPECT_EQ(held->groups.size(), 2U);
    EXPECT_EQ(held->groups[0].id, "clients");
    return {};
  });
}

TEST_F(StoreGroups, NamesAreUniqueInTheirVpc) {
  auto again = store_->write([&](WriteView& view) -> Status {
    QMASQ_TRY(add_group(view, "web", {}));
    return {};
  });
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::kAlreadyExists);
  auto two_rules = store_->write([&](WriteView& view) -> Status {
    QMASQ_TRY(add_group(view, "third", {to(web_, "same"), to(clients_, "same")}));
    return {};
  });
  EXPECT_FALSE(two_rules);
  read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(auto third, view.find_group(vpc_->uid, "third"));
    EXPECT_EQ(third, nullptr);
    return {};
  });
}

TEST_F(StoreGroups, ListsGoOnWhereTheyStopped) {
  VpcPtr red;
  write([&](WriteView& view) -> Status {
    QMASQ_ASSIGN(red, add_vpc(view, "red", 4097));
    SecurityGroup group;
    group.uid = SecurityGroupUid{testing::uid_of(view)};
    group.vpc = red->uid;
    group.vpc_id = "red";
    group.id = "web";
    QMASQ_TRY(view.put(std::move(group)));
    return {};
  });
  read([&](ReadView& view) -> Status {
    GroupQuery query;
    query.limit = 2;
    QMASQ_ASSIGN(auto first, view.list_groups(query));
    EXPECT_EQ(first.size(), 2U);
    EXPECT_EQ(first[0]->id, "clients");
    EXPECT_EQ(first[1]->id, "web");
    query.after_vpc = first[1]->vpc_id;
    query.after_group = first[1]->id;
    QMASQ_ASSIGN(auto rest, view.list_groups(query));
    EXPECT_EQ(rest.size(), 1U);
    EXPECT_EQ(rest[0]->vpc_id, "red");
    GroupQuery of_blue;
    of_blue.vpc = vpc_->uid;
    QMASQ_ASSIGN(auto blue, view.list_groups(of_blue));
    EXPECT_EQ(blue.size(), 2U);
    return {};
  });
}

TEST_F(StoreGroups, TenThousandRules) {
  std::vector<SecurityGroupRule> rules(10'000);
  for (std::size_t i = 0; i < rules.size(); ++i)
    rules[i].rule.id = "r" + std::to_string(i);
  set_rules(rules);
  open();
  read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(auto held, view.get_group(web_->uid));
    EXPECT_EQ(held->rules, rules);
    return {};
  });
}

}  // namespace
}  // namespace qmasq::controller
