// SPDX-License-Identifier: Apache-2.0
// SIGKILL of the controller under load from writers of all kinds of objects, again and again, with
// an agent that follows: QMASQ_KILLS times.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/controller/controller_process.h"
#include "tests/integration/controller/fake_agent.h"
#include "tests/integration/controller/kill_writer.h"

namespace qmasq::controller {
namespace {

using testing::Client;
using testing::ControllerProcess;
using testing::FakeAgent;
using testing::Held;
using testing::Listing;
using testing::Writer;

int kills() {
  constexpr int kUsual = 100;
  const char* text = std::getenv("QMASQ_KILLS");
  return text != nullptr ? std::atoi(text) : kUsual;
}

// What a host has to hold, the trivial way: all of each VPC that has an endpoint there, and every
// policy.
Held scope_of(const Listing& listing, const std::string& host,
              const std::map<std::string, v1::Host>& hosts) {
  Held out;
  std::set<std::uint64_t> vpcs;
  for (const auto& endpoint : listing.endpoints) {
    if (endpoint.host() == host) vpcs.insert(endpoint.vpc_uid());
  }
  for (const auto& vpc : listing.vpcs) {
    if (vpcs.contains(vpc.uid())) out.vpcs[vpc.uid()] = vpc.revision();
  }
  for (const auto& endpoint : listing.endpoints) {
    if (!vpcs.contains(endpoint.vpc_uid())) continue;
    out.endpoints[endpoint.uid()] = endpoint.revision();
    const auto& on = hosts.at(endpoint.host());
    out.hosts[on.uid()] = on.revision();
  }
  for (const auto& group : listing.groups) {
    if (vpcs.contains(group.vpc_uid())) out.groups[group.uid()] = group.revision();
  }
  for (const auto& policy : listing.policies)
    out.policies[policy.uid()] = policy.revision();
  return out;
}

std::int64_t number(sqlite3* db, const char* sql) {
  sqlite3_stmt* statement = nullptr;
  EXPECT_EQ(sqlite3_prepare_v2(db, sql, -1, &statement, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
  EXPECT_EQ(sqlite3_step(statement), SQLITE_ROW) << sql;
  const std::int64_t out = sqlite3_column_int64(statement, 0);
  sqlite3_finalize(statement);
  return out;
}

// The log has every revision from the first to the newest, and each of its steps.
void check_log(const std::string& data_dir) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open_v2((data_dir + "/qmasq.db").c_str(), &db, SQLITE_OPEN_READONLY, nullptr),
            SQLITE_OK);
  const auto revision = number(db, "SELECT revision FROM store");
  EXPECT_EQ(number(db, "SELECT count(DISTINCT revision) FROM changes"), revision) << "a gap";
  EXPECT_EQ(number(db, "SELECT max(revision) FROM changes"), revision);
  EXPECT_EQ(number(db, "SELECT min(revision) FROM changes"), 1);
  EXPECT_EQ(number(db,
                   "SELECT count(*) FROM (SELECT count(*) AS n, max(sequence) AS last, "
                   "min(sequence) AS first FROM changes GROUP BY revision) "
                   "WHERE first <> 0 OR last <> n - 1"),
            0)
      << "a revision by half";
  EXPECT_EQ(number(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"),
            0);
  EXPECT_EQ(number(db, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
  sqlite3_close(db);
}

// The agent, over all restarts: it keeps what it holds, as one that was not restarted does.
class Follower {
 public:
  void follow_until_it_dies(const ControllerProcess& process) {
    take_over(process);
    while (agent_->follow(UINT64_MAX)) {
    }
  }
  void catch_up(const ControllerProcess& process, std::uint64_t revision) {
    take_over(process);
    ASSERT_TRUE(agent_->follow(revision)) << agent_->status().error_message();
  }
  void leave() { agent_->hang_up(); }
  [[nodiscard]] const FakeAgent& agent() const { return *agent_; }
  [[nodiscard]] int snapshots() const { return snapshots_ + agent_->snapshots; }
  [[nodiscard]] int batches() const { return batches_ + agent_->batches; }

 private:
  void take_over(const ControllerProcess& process) {
    auto next = std::make_unique<FakeAgent>(process, "h");
    if (agent_) {
      agent_->hang_up();
      next->model = agent_->model;
      next->store_id = agent_->store_id;
      snapshots_ += agent_->snapshots;
      batches_ += agent_->batches;
    }
    agent_ = std::move(next);
    agent_->connect();
  }
  std::unique_ptr<FakeAgent> agent_;
  int snapshots_ = 0;
  int batches_ = 0;
};

class KillTest : public ::testing::Test {
 protected:
  static constexpr unsigned kWriters = 4;

  void SetUp() override {
    start();
    Client client(process_);
    for (const char* id : {"h", "g"})
      ASSERT_TRUE(client.create_host(id).ok());
    for (unsigned i = 0; i < kWriters; ++i)
      writers_.push_back(std::make_unique<Writer>(i + 1, i));
    follower_.catch_up(process_, 0);
  }
  void start() { process_.start({"--heartbeat-ms", "60000"}); }

  // All writers and the agent at it, and a kill at no particular point of any of them.
  void kill_under_load(std::mt19937& random) {
    std::vector<std::thread> threads;
    threads.reserve(kWriters + 1);
    for (auto& writer : writers_)
      threads.emplace_back([&, each = writer.get()] { each->write_until_it_dies(process_); });
    threads.emplace_back([&] { follower_.follow_until_it_dies(process_); });
    // Some writes in, however fast the machine is.
    const std::uint64_t enough = acknowledged() + random() % 20;
    while (acknowledged() < enough)
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 5000));
    process_.kill9();
    for (auto& thread : threads)
      thread.join();
  }

  [[nodiscard]] std::uint64_t acknowledged() const {
    std::uint64_t out = 0;
    for (const auto& writer : writers_)
      out += writer->acknowledged();
    return out;
  }

  void check() {
    for (auto& writer : writers_)
      writer->resolve(process_);
    const Listing listing = testing::list_all(process_);
    std::map<std::string, std::string> wanted;
    for (const auto& writer : writers_)
      wanted.insert(writer->objects().begin(), writer->objects().end());
    EXPECT_EQ(listing.objects.size(), wanted.size());
    for (const auto& [name, object] : wanted) {
      auto at = listing.objects.find(name);
      if (at == listing.objects.end()) {
        ADD_FAILURE() << name << " was acknowledged and is lost";
      } else {
        EXPECT_EQ(at->second, object) << name << " is not as it was acknowledged";
      }
    }
    for (const auto& [name, object] : listing.objects)
      EXPECT_TRUE(wanted.contains(name)) << name << " was deleted";
    EXPECT_EQ(listing.groups.size() - count_own_groups(listing), listing.vpcs.size())
        << "each VPC has its default group";
    check_agent(listing);
  }

  static std::size_t count_own_groups(const Listing& listing) {
    std::size_t out = 0;
    for (const auto& group : listing.groups)
      out += group.name().ends_with("/default") ? 0 : 1;
    return out;
  }

  void check_agent(const Listing& listing) {
    Client client(process_);
    std::map<std::string, v1::Host> hosts;
    for (const char* name : {"hosts/h", "hosts/g"}) {
      v1::GetHostRequest request;
      request.set_name(name);
      ASSERT_TRUE(client.hosts->GetHost(Client::context().get(), request, &hosts[name]).ok());
    }
    const std::uint64_t newest = hosts["hosts/h"].status().current_revision();
    follower_.catch_up(process_, newest);
    EXPECT_EQ(follower_.agent().model.held(), scope_of(listing, "hosts/h", hosts));
    EXPECT_EQ(follower_.snapshots(), 1) << "what it missed would have been enough";
    follower_.leave();
  }

  ControllerProcess process_;
  std::vector<std::unique_ptr<Writer>> writers_;
  Follower follower_;
};

TEST_F(KillTest, WhatWasAcknowledgedStaysAndNothingIsHalfThere) {
  std::mt19937 random(20261127);
  const int rounds = kills();
  for (int round = 0; round < rounds; ++round) {
    SCOPED_TRACE("kill " + std::to_string(round + 1));
    kill_under_load(random);
    start();
    check();
    if (HasFailure()) break;
  }
  process_.kill9();
  check_log(process_.data_dir());
  unsigned in_doubt = 0;
  unsigned done = 0;
  for (const auto& writer : writers_) {
    in_doubt += writer->in_doubt;
    done += writer->done_in_doubt;
  }
  std::printf(
      "%d kills: %llu writes acknowledged, %u in doubt, %u of those were done; "
      "the agent applied %d batches\n",
      rounds, static_cast<unsigned long long>(acknowledged()), in_doubt, done, follower_.batches());
  EXPECT_GT(acknowledged(), static_cast<std::uint64_t>(rounds));
  EXPECT_GT(in_doubt, 0U);
}

}  // namespace
}  // namespace qmasq::controller
