// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "controller/store/sqlite/migrate.h"
#include "controller/store/sqlite/sqlite_store.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/controller/store_support.h"

namespace qmasq::controller::sqlite {
namespace {

using ::testing::HasSubstr;

class MigrateTest : public ::testing::Test {
 protected:
  std::unique_ptr<Connection> connect() {
    auto connection = Connection::open(dir_.file("qmasq.db"), Connection::Mode::kReadWrite, "",
                                       std::chrono::milliseconds(20));
    EXPECT_TRUE(connection);
    return std::move(*connection);
  }
  std::int64_t version() {
    auto connection = connect();
    return connection->number("PRAGMA user_version").value();
  }

  qmasq::testing::TempDir dir_;
  qmasq::testing::ManualClock clock_;
};

TEST_F(MigrateTest, NumbersAreOneToN) {
  auto all = embedded_migrations();
  ASSERT_FALSE(all.empty());
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].version, static_cast<int>(i) + 1);
    EXPECT_THAT(all[i].name, HasSubstr("_"));
  }
}

// From every older version, with data in it where that version can hold some.
TEST_F(MigrateTest, EveryOlderVersionBecomesTheNewest) {
  auto all = embedded_migrations();
  for (std::size_t from = 0; from <= all.size(); ++from) {
    qmasq::testing::TempDir dir;
    if (from > 0) {
      Options old{dir.path(), {}, all.first(from)};
      auto store = open_store(old, clock_);
      ASSERT_TRUE(store) << store.error().message;
    }
    auto store = open_store({dir.path()}, clock_);
    ASSERT_TRUE(store) << from << ": " << store.error().message;
    EXPECT_TRUE((*store)->write([](WriteView& view) -> Status {
      QMASQ_TRY(testing::add_vpc(view, "blue", 4096));
      return {};
    }));
  }
}

TEST_F(MigrateTest, ALaterStepKeepsTheData) {
  std::string before;
  {
    auto store = open_store({dir_.path()}, clock_);
    ASSERT_TRUE(store);
    ASSERT_TRUE((*store)->write([](WriteView& view) -> Status {
      QMASQ_TRY(testing::add_vpc(view, "blue", 4096));
      return {};
    }));
    before = testing::dump(**store);
  }
  auto all = embedded_migrations();
  std::vector<Migration> more(all.begin(), all.end());
  int next = all.back().version + 1;
  more.push_back({next, "next", "ALTER TABLE vpcs ADD COLUMN color TEXT NOT NULL DEFAULT 'blue'"});
  auto store = open_store({dir_.path(), {}, more}, clock_);
  ASSERT_TRUE(store) << store.error().message;
  EXPECT_EQ(testing::dump(**store), before);
  store->reset();
  EXPECT_EQ(version(), next);
}

TEST_F(MigrateTest, AStepThatFailsLeavesTheOldVersionWhole) {
  { ASSERT_TRUE(open_store({dir_.path()}, clock_)); }
  auto all = embedded_migrations();
  std::vector<Migration> more(all.begin(), all.end());
  int next = all.back().version + 1;
  more.push_back({next, "good", "CREATE TABLE fine (x INTEGER) STRICT"});
  more.push_back({next + 1, "bad", "CREATE TABLE half (x INTEGER) STRICT; SELECT nonsense"});
  auto store = open_store({dir_.path(), {}, more}, clock_);
  ASSERT_FALSE(store);
  EXPECT_THAT(store.error().message, HasSubstr("migration bad"));
  EXPECT_THAT(store.error().message, HasSubstr("nonsense"));
  EXPECT_EQ(version(), next - 1);
  auto connection = connect();
  EXPECT_EQ(connection->number("SELECT count(*) FROM sqlite_schema WHERE name IN ('fine', 'half')")
                .value(),
            0);
}

TEST_F(MigrateTest, ANewerDatabaseIsRefusedAndLeftAlone) {
  { ASSERT_TRUE(open_store({dir_.path()}, clock_)); }
  ASSERT_TRUE(connect()->exec("PRAGMA user_version = 900"));
  auto store = open_store({dir_.path()}, clock_);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Code::kFailedPrecondition);
  EXPECT_THAT(store.error().message, HasSubstr("version 900"));
  EXPECT_THAT(store.error().message, HasSubstr("newer qmasq-controller"));
  EXPECT_THAT(store.error().message, HasSubstr("qmasq.db"));
  EXPECT_EQ(version(), 900);
}

TEST_F(MigrateTest, AnotherProgramsDatabaseIsRefusedAndLeftAlone) {
  ASSERT_TRUE(connect()->exec("CREATE TABLE theirs (x); PRAGMA user_version = 1"));
  auto store = open_store({dir_.path()}, clock_);
  ASSERT_FALSE(store);
  EXPECT_THAT(store.error().message, HasSubstr("another program"));
  EXPECT_EQ(connect()->number("SELECT count(*) FROM sqlite_schema").value(), 1);
}

TEST_F(MigrateTest, AFileThatIsNoDatabaseIsRefusedAndLeftAlone) {
  const std::string text(5000, 'x');
  std::ofstream(dir_.file("qmasq.db")) << text;
  auto store = open_store({dir_.path()}, clock_);
  ASSERT_FALSE(store);
  EXPECT_THAT(store.error().message, HasSubstr("not a database"));
  std::ifstream file(dir_.file("qmasq.db"));
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), text);
}

// A store of the time before security groups goes on as it was, with its default groups.
TEST_F(MigrateTest, EndpointsFromBeforeSecurityGroupsCarryTheDefaultGroup) {
  {
    auto connection = connect();
    const Migration first = embedded_migrations()[0];
    ASSERT_TRUE(migrate(*connection, std::span(&first, 1)));
    for (const char* sql :
         {"INSERT INTO store VALUES (1, printf('%032d', 7), 41, 10, 0)",
          "INSERT INTO vpcs VALUES (1, 'blue', 4096, 0, '', 1, 1, 0, 0)",
          "INSERT INTO vpcs VALUES (2, 'red', 4097, 0, '', 1, 1, 0, 0)",
          "INSERT INTO hosts VALUES (3, 'hostA', '', zeroblob(16), 0, '', '', 1, 1, 0, 0)",
          "INSERT INTO endpoints VALUES (4, 1, 'a', 3, x'020000000001', '', 5, 1, 0, 0)",
          "INSERT INTO changes VALUES (41, 0, 1, 1, 1, 1, 0, 0, 0)"}) {
      ASSERT_TRUE(connection->exec(sql)) << sql;
    }
  }
  auto store = open_store({dir_.path()}, clock_);
  ASSERT_TRUE(store) << store.error().message;
  auto status = (*store)->read([](ReadView& view) -> Status {
    EXPECT_EQ(view.revision().value(), Revision{42});
    auto endpoint = view.get_endpoint(EndpointUid{4}).value();
    auto blue = view.find_group(VpcUid{1}, kDefaultGroup).value();
    auto red = view.find_group(VpcUid{2}, kDefaultGroup).value();
    EXPECT_NE(blue, nullptr);
    EXPECT_NE(red, nullptr);
    if (!blue || !red) return {};
    EXPECT_NE(blue->uid, red->uid);
    EXPECT_GE(blue->uid.value, 10U);
    EXPECT_EQ(endpoint->groups, (std::vector<GroupReference>{{blue->uid, "default"}}));
    EXPECT_EQ(endpoint->version, 6U);
    EXPECT_EQ(blue->rules.size(), 2U);
    EXPECT_EQ(blue->rules[0].rule.remote.group, blue->uid);
    auto log = view.log(Revision{40}, 100).value();
    EXPECT_EQ(log.size(), 4U);  // what was there, two groups, one endpoint
    EXPECT_EQ(log[1].kind, Kind::kSecurityGroup);
    EXPECT_EQ(log[3].kind, Kind::kEndpoint);
    EXPECT_EQ(log[3].host, HostUid{3});
    return {};
  });
  EXPECT_TRUE(status);
  EXPECT_TRUE((*store)->write([](WriteView& view) -> Status {
    EXPECT_EQ(view.new_uid().value(), 12U);
    return {};
  }));
}

// A store of version 2 with something of everything: no policies anywhere, and all as it was.
TEST_F(MigrateTest, WhatIsFromBeforeQosGoesOnWithoutPolicies) {
  {
    auto connection = connect();
    ASSERT_TRUE(migrate(*connection, embedded_migrations().first(2)));
    for (const char* sql :
         {"INSERT INTO store VALUES (1, printf('%032d', 7), 42, 20, 0)",
          "INSERT INTO vpcs VALUES (1, 'blue', 4096, 1500, 'text', 3, 41, 5, 6)",
          "INSERT INTO hosts VALUES (3, 'hostA', '', zeroblob(16), 1, 'v', 'k', 2, 40, 0, 0)",
          ("INSERT INTO host_nics VALUES (3, 0, 'rxe0', 1, 'eth0', 'rxe', 1, 1500, 1000000, "
           "zeroblob(16))"),
          "INSERT INTO endpoints VALUES (4, 1, 'a', 3, x'020000000001', 'text', 5, 42, 7, 8)",
          "INSERT INTO endpoint_addresses VALUES (1, x'00000000000000000000ffff0a000001', 4, 0)",
          "INSERT INTO security_groups VALUES (5, 1, 'default', '', 1, 39, 0, 0)",
          "INSERT INTO endpoint_security_groups VALUES (4, 0, 5)",
          "INSERT INTO changes VALUES (39, 0, 4, 1, 5, 1, 0, 0, 0)",
          "INSERT INTO changes VALUES (40, 0, 3, 2, 3, 0, 3, 0, 0)",
          "INSERT INTO changes VALUES (41, 0, 1, 2, 1, 1, 0, 0, 0)",
          "INSERT INTO changes VALUES (42, 0, 2, 2, 4, 1, 3, 3, 0)"}) {
      ASSERT_TRUE(connection->exec(sql)) << sql;
    }
  }
  auto store = open_store({dir_.path()}, clock_);
  ASSERT_TRUE(store) << store.error().message;
  auto status = (*store)->read([](ReadView& view) -> Status {
    EXPECT_EQ(view.revision().value(), Revision{42}) << "nothing that agents must hear of";
    auto vpc = view.find_vpc("blue").value();
    EXPECT_EQ(vpc->qos_policy, PolicyReference{});
    EXPECT_EQ(vpc->mtu, 1500U);
    EXPECT_EQ(vpc->version, 3U);
    auto endpoint = view.get_endpoint(EndpointUid{4}).value();
    EXPECT_EQ(endpoint->qos_policy, PolicyReference{});
    EXPECT_EQ(endpoint->version, 5U);
    EXPECT_EQ(endpoint->groups, (std::vector<GroupReference>{{SecurityGroupUid{5}, "default"}}));
    EXPECT_EQ(endpoint->addresses.size(), 1U);
    auto host = view.find_host("hostA").value();
    EXPECT_TRUE(host->nic_rates.empty());
    EXPECT_EQ(host->nics.size(), 1U);
    EXPECT_TRUE(host->nics.at(0).vpc_gid_prefix.is_zero());
    EXPECT_EQ(view.count_policies().value(), 0U);
    EXPECT_EQ(view.hosts_of(VpcUid{1}).value(),
              (std::vector<HostReference>{{HostUid{3}, "hostA"}}));
    EXPECT_EQ(view.used_hosts().value().size(), 1U);
    auto log = view.log({}, 100).value();
    EXPECT_EQ(log.size(), 4U);
    EXPECT_EQ(log[0].kind, Kind::kSecurityGroup);
    EXPECT_EQ(log[3], (LogEntry{Revision{42}, Kind::kEndpoint, Op::kUpdate, 4, VpcUid{1},
                                HostUid{3}, HostUid{3}}));
    return {};
  });
  EXPECT_TRUE(status);
  store->reset();
  auto connection = connect();
  EXPECT_FALSE(connection->exec("DELETE FROM changes")) << "the log is as final as before";
  EXPECT_EQ(connection->number("SELECT count(*) FROM pragma_foreign_key_check").value(), 0);
}

TEST_F(MigrateTest, TheDatabaseItselfRefusesWhatMustNotBe) {
  { ASSERT_TRUE(open_store({dir_.path()}, clock_)); }
  auto connection = connect();
  ASSERT_TRUE(connection->exec("PRAGMA foreign_keys = ON"));
  ASSERT_TRUE(
      connection->exec("INSERT INTO vpcs VALUES (1, 'blue', 4096, 0, '', 1, 1, 0, 0, NULL)"));
  ASSERT_TRUE(connection->exec("INSERT INTO changes VALUES (1, 0, 1, 1, 1, 1, 0, 0, 0)"));
  for (const char* sql : {
           "INSERT INTO vpcs VALUES (2, 'red', 0, 0, '', 1, 1, 0, 0, NULL)",
           "INSERT INTO vpcs VALUES (2, 'red', 16777216, 0, '', 1, 1, 0, 0, NULL)",
           "INSERT INTO vpcs VALUES (2, 'red', 5, 100, '', 1, 1, 0, 0, NULL)",
           "INSERT INTO vpcs VALUES (2, '', 5, 0, '', 1, 1, 0, 0, NULL)",
           "INSERT INTO vpcs VALUES (2, 'red', 'five', 0, '', 1, 1, 0, 0, NULL)",
           "INSERT INTO vpc_ranges VALUES (7, 0, zeroblob(16), 8)",
           "INSERT INTO vpc_ranges VALUES (1, 0, zeroblob(4), 8)",
           "INSERT INTO endpoints VALUES (5, 1, 'a', 9, zeroblob(6), '', 1, 1, 0, 0, NULL)",
           "INSERT INTO endpoint_addresses VALUES (1, zeroblob(16), 5, 0)",
           "INSERT INTO changes VALUES (1, 1, 6, 1, 1, 1, 0, 0, 0)",
           "INSERT INTO changes VALUES (1, 1, 5, 1, 1, 1, 0, 0, 0)",
           "INSERT INTO changes VALUES (1, 1, 4, 1, 1, 0, 0, 0, 0)",
           "UPDATE vpcs SET qos_policy_uid = 70",
           "INSERT INTO host_nic_rates VALUES (7, 0, 'rxe0', 1000)",
           "INSERT INTO store VALUES (2, printf('%032d', 0), 0, 1, 0)",
           "UPDATE changes SET revision = 5",
           "DELETE FROM changes",
       }) {
    EXPECT_FALSE(connection->exec(sql)) << sql;
  }
}

// What the rules refuse before, the tables refuse again: each bound, from both sides.
TEST_F(MigrateTest, TheDatabaseItselfRefusesPoliciesOutOfBounds) {
  { ASSERT_TRUE(open_store({dir_.path()}, clock_)); }
  auto connection = connect();
  ASSERT_TRUE(connection->exec("PRAGMA foreign_keys = ON"));
  ASSERT_TRUE(
      connection->exec("INSERT INTO qos_policies (uid, id, description, weight, version, "
                       "revision, create_time, update_time) VALUES (1, 'gold', '', 10, 1, "
                       "1, 0, 0)"));
  for (const char* sql : {
           "guaranteed_bps = 8000, maximum_bps = 8000",
           "guaranteed_bps = NULL, maximum_bps = 10000000000000",
           "burst_bytes = 4096",
           "burst_bytes = 1073741824",
           "weight = 1",
           "weight = 100",
           "dscp = 0",
           "dscp = 63",
           "quota_queue_pairs = 2147483647",
           "quota_pinned_bytes = 1152921504606846976",
           "rate_verbs = 1000000, burst_verbs = 1",
       }) {
    EXPECT_TRUE(connection->exec(std::string("UPDATE qos_policies SET ") + sql)) << sql;
  }
  for (const char* sql : {
           "maximum_bps = 7999",
           "maximum_bps = 10000000000001",
           "guaranteed_bps = 0",
           "guaranteed_bps = 9000, maximum_bps = 8999",
           "burst_bytes = 4095",
           "burst_bytes = 1073741825",
           "weight = 0",
           "weight = 101",
           "weight = NULL",
           "dscp = -1",
           "dscp = 64",
           "quota_queue_pairs = 0",
           "quota_completion_queues = 2147483648",
           "quota_memory_regions = 0",
           "quota_shared_receive_queues = 0",
           "quota_pinned_bytes = 4095",
           "quota_pinned_bytes = 1152921504606846977",
           "rate_contexts = 1",
           "burst_queue_pairs = 1",
           "rate_connects = 0, burst_connects = 1",
           "rate_verbs = 1, burst_verbs = 1000001",
           "maximum_bps = 'fast'",
           "id = ''",
       }) {
    EXPECT_FALSE(connection->exec(std::string("UPDATE qos_policies SET ") + sql)) << sql;
  }
}

}  // namespace
}  // namespace qmasq::controller::sqlite
