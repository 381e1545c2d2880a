// SPDX-License-Identifier: Apache-2.0
// Accesses, certificates, join tokens, the audit log, and the users of endpoints, in the store.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include "controller/store/sqlite/sqlite_store.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/controller/store_support.h"

namespace qmasq::controller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class AuthStore : public ::testing::Test {
 protected:
  void SetUp() override { open(); }
  void open() {
    store_.reset();
    sqlite::Options options;
    options.data_dir = dir_.path();
    auto opened = sqlite::open_store(options, clock_);
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = std::move(*opened);
    store_->listen([this](const Commit& commit) { commits_.push_back(commit); });
  }
  void write(const Store::WriteFn& fn) {
    auto written = store_->write(fn);
    ASSERT_TRUE(written) << written.error().message;
  }
  template <typename T>
  T read(const std::function<Result<T>(ReadView&)>& fn) {
    T out{};
    auto done = store_->read([&](ReadView& view) -> Status {
      QMASQ_ASSIGN(out, fn(view));
      return {};
    });
    EXPECT_TRUE(done) << done.error().message;
    return out;
  }
  // What SQLite says to a statement by somebody who has the file open beside us.
  std::string sql(const std::string& text) {
    sqlite3* file = nullptr;
    EXPECT_EQ(sqlite3_open(dir_.file("qmasq.db").c_str(), &file), SQLITE_OK);
    char* error = nullptr;
    sqlite3_exec(file, text.c_str(), nullptr, nullptr, &error);
    std::string out = error != nullptr ? error : "";
    sqlite3_free(error);
    sqlite3_close(file);
    return out;
  }

  qmasq::testing::TempDir dir_;
  qmasq::testing::ManualClock clock_;
  std::unique_ptr<Store> store_;
  std::vector<Commit> commits_;
};

TEST_F(AuthStore, AccessesComeBackAsTheyWere) {
  Access carol;
  carol.id = "carol";
  carol.role = Role::kVpcAdmin;
  carol.vpcs = {"blue", "green"};
  carol.create_time = clock_.wall();
  Access bob;
  bob.id = "bob";
  bob.role = Role::kViewer;
  bob.user_id = 4294967295U;
  bob.create_time = clock_.wall();
  write([&](WriteView& view) -> Status {
    QMASQ_TRY(view.put(carol));
    QMASQ_TRY(view.put(bob));
    return view.put(CertificateRecord{"aa", "accesses/carol", view.now(),
                                      view.now() + std::chrono::hours(1), std::nullopt});
  });
  ASSERT_EQ(commits_.size(), 1U);
  EXPECT_EQ(commits_[0].accesses.size(), 2U);
  EXPECT_EQ(commits_[0].certificates.size(), 1U);
  EXPECT_EQ(commits_[0].revision.value, 0U);  // hosts need not know
  open();
  auto all = read<std::vector<AccessPtr>>([](ReadView& view) { return view.list_accesses({}); });
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0]->id, "bob");
  EXPECT_EQ(all[0]->user_id, 4294967295U);
  EXPECT_FALSE(all[0]->group_id);
  EXPECT_FALSE(all[0]->expire_time);
  EXPECT_EQ(all[1]->role, Role::kVpcAdmin);
  EXPECT_THAT(all[1]->vpcs, ElementsAre("blue", "green"));
  EXPECT_EQ(all[1]->expire_time, clock_.wall() + std::chrono::hours(1));
  EXPECT_FALSE(all[1]->revoke_time);
  auto none = read<AccessPtr>([](ReadView& view) { return view.find_access("dave"); });
  EXPECT_FALSE(none);
}

TEST_F(AuthStore, RevokedIsRevokedForEver) {
  Access carol;
  carol.id = "carol";
  carol.role = Role::kAdmin;
  carol.create_time = clock_.wall();
  const auto end = clock_.wall() + std::chrono::hours(1);
  write([&](WriteView& view) -> Status {
    QMASQ_TRY(view.put(carol));
    QMASQ_TRY(view.put(CertificateRecord{"aa", "accesses/carol", view.now(), end, std::nullopt}));
    QMASQ_TRY(view.put(CertificateRecord{"bb", "accesses/carol", view.now(), end, std::nullopt}));
    return view.put(CertificateRecord{"cc", "hosts/carol", view.now(), end, std::nullopt});
  });
  clock_.advance(std::chrono::minutes(1));
  std::size_t count = 0;
  write([&](WriteView& view) -> Status {
    carol.revoke_time = view.now();
    QMASQ_TRY(view.put(carol));
    QMASQ_ASSIGN(count, view.revoke_certificates("accesses/carol"));
    return {};
  });
  EXPECT_EQ(count, 2U);
  ASSERT_EQ(commits_.size(), 2U);
  EXPECT_EQ(commits_[1].certificates.size(), 2U);
  open();
  auto access = read<AccessPtr>([](ReadView& view) { return view.find_access("carol"); });
  ASSERT_TRUE(access);
  EXPECT_TRUE(access->revoke_time);
  auto certificates =
      read<std::vector<CertificateRecord>>([](ReadView& view) { return view.list_certificates(); });
  ASSERT_EQ(certificates.size(), 3U);
  for (const auto& certificate : certificates)
    EXPECT_EQ(certificate.revoke_time.has_value(), certificate.serial != "cc");
}

TEST_F(AuthStore, JoinTokensAreUsedOnceAndForgottenLater) {
  const std::string hash(64, 'a');
  const std::string other(64, 'b');
  const auto end = clock_.wall() + std::chrono::hours(1);
  write([&](WriteView& view) -> Status {
    QMASQ_TRY(view.put(JoinTokenRecord{hash, "hostA", view.now(), end, std::nullopt}));
    return view.put(JoinTokenRecord{other, "hostA", view.now(), end, std::nullopt});
  });
  write([&](WriteView& view) -> Status {
    QMASQ_ASSIGN(auto token, view.find_join_token(hash));
    token->use_time = view.now();
    return view.put(*token);
  });
  std::size_t revoked = 0;
  write([&](WriteView& view) -> Status {
    QMASQ_ASSIGN(revoked, view.revoke_join_tokens("hostA"));
    return {};
  });
  EXPECT_EQ(revoked, 1U);
  using Found = std::optional<JoinTokenRecord>;
  auto used = read<Found>([&](ReadView& view) { return view.find_join_token(other); });
  ASSERT_TRUE(used);
  EXPECT_TRUE(used->use_time);
  clock_.advance(std::chrono::hours(26));
  write([&](WriteView& view) -> Status {
    return view.put(JoinTokenRecord{std::string(64, 'c'), "hostB", view.now(),
                                    view.now() + std::chrono::hours(1), std::nullopt});
  });
  EXPECT_FALSE(read<Found>([&](ReadView& view) { return view.find_join_token(hash); }));
}

TEST_F(AuthStore, TheAuditLogKeepsTheNewestAndNobodyChangesIt) {
  const AuditRetention retention{1500, 100};
  auto append = [&](int count, bool refused) {
    write([&](WriteView& view) -> Status {
      for (int i = 0; i < count; ++i) {
        AuditRecord record;
        record.refused = refused;
        record.caller = refused ? "unknown" : "uid/0";
        record.method = "VpcService/CreateVpc";
        record.vpc_id = i % 2 == 0 ? "blue" : "red";
        QMASQ_TRY(view.append(std::move(record), retention));
      }
      return {};
    });
  };
  append(1000, false);
  append(2000, true);
  append(1000, false);
  // More refusals than are kept do not push out what was done.
  std::size_t changes = 0;
  std::size_t refusals = 0;
  std::uint64_t before = 0;
  for (;;) {
    auto page = read<std::vector<AuditRecord>>([&](ReadView& view) {
      return view.list_audit({before, std::nullopt, 100});
    });
    if (page.empty()) break;
    for (const auto& record : page) {
      EXPECT_TRUE(before == 0 || record.sequence < before);
      before = record.sequence;
      (record.refused ? refusals : changes)++;
    }
  }
  EXPECT_GE(changes, 1500U);
  EXPECT_LE(changes, 2000U);
  EXPECT_GE(refusals, 100U);
  EXPECT_LE(refusals, 700U);  // swept in steps
  auto blue = read<std::vector<AuditRecord>>([&](ReadView& view) {
    return view.list_audit({0, std::vector<std::string>{"blue"}, 10});
  });
  ASSERT_EQ(blue.size(), 10U);
  for (const auto& record : blue)
    EXPECT_EQ(record.vpc_id, "blue");
  EXPECT_THAT(sql("UPDATE audit SET caller = 'nobody'"), HasSubstr("append-only"));
  EXPECT_THAT(sql("DELETE FROM audit"), HasSubstr("keeps its newest"));
}

TEST_F(AuthStore, UsersOfEndpointsComeBack) {
  write([&](WriteView& view) -> Status {
    QMASQ_ASSIGN(auto vpc, testing::add_vpc(view, "blue", 5000));
    QMASQ_ASSIGN(auto host, testing::add_host(view, "hostA"));
    QMASQ_ASSIGN(auto endpoint, testing::add_endpoint(view, vpc, host, "a", {"10.0.0.1"}));
    Endpoint changed = *endpoint;
    changed.user_ids = {1000, 1001};
    changed.group_ids = {4294967294U};
    QMASQ_TRY(view.put(std::move(changed)));
    return {};
  });
  open();
  auto found =
      read<std::vector<EndpointPtr>>([](ReadView& view) { return view.list_endpoints({}); });
  ASSERT_EQ(found.size(), 1U);
  EXPECT_THAT(found[0]->user_ids, ElementsAre(1000, 1001));
  EXPECT_THAT(found[0]->group_ids, ElementsAre(4294967294U));
}

}  // namespace
}  // namespace qmasq::controller
