// SPDX-License-Identifier: Apache-2.0
#include "controller/auth/installation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controller/auth/auth_book.h"
#include "controller/auth/live_calls.h"
#include "controller/store/sqlite/sqlite_store.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temp_dir.h"
#include "trust/stored_identity.h"

namespace qmasq::controller {
namespace {

using ::testing::HasSubstr;

TEST(Installation, RenewsTheServersCertificateInTime) {
  qmasq::testing::TempDir dir;
  qmasq::testing::ManualClock clock;
  EXPECT_FALSE(load_authority(dir.path())->has_value());
  InitOptions options;
  options.data_dir = dir.path();
  options.addresses = {"192.0.2.1"};
  ASSERT_TRUE(init_installation(options, clock));
  auto authority = load_authority(dir.path());
  ASSERT_TRUE(authority && *authority);
  auto serial = [&] { return trust::read_identity(tls_directory(dir.path()))->info.serial; };
  const auto first = serial();
  auto renew = [&] {
    auto renewed = renew_server_certificate(dir.path(), **authority, clock.wall());
    EXPECT_TRUE(renewed) << renewed.error().message;
    return renewed && *renewed;
  };
  EXPECT_FALSE(renew());
  clock.advance(std::chrono::hours(24 * 200));
  EXPECT_FALSE(renew());
  clock.advance(std::chrono::hours(24 * 50));
  EXPECT_TRUE(renew());
  EXPECT_NE(serial(), first);
  EXPECT_FALSE(renew());
  auto stored = trust::read_identity(tls_directory(dir.path()));
  ASSERT_TRUE(stored);
  auto verified = trust::verify_certificate(stored->certificate, (*authority)->certificate(),
                                            trust::Purpose::kServer, clock.wall());
  EXPECT_TRUE(verified) << verified.error().message;
}

TEST(Installation, TheFirstAdminIsKnown) {
  qmasq::testing::TempDir dir;
  qmasq::testing::ManualClock clock;
  InitOptions options;
  options.data_dir = dir.path();
  options.admin = "alice";
  ASSERT_TRUE(init_installation(options, clock));
  auto again = init_installation(options, clock);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::kAlreadyExists);
  auto store = sqlite::open_store({dir.path()}, clock);
  ASSERT_TRUE(store);
  AuthBook book;
  ASSERT_TRUE(book.load(**store));
  auto admin = trust::read_identity(admin_directory(dir.path()));
  ASSERT_TRUE(admin);
  auto caller = book.of_certificate(admin->info);
  ASSERT_TRUE(caller) << caller.error().message;
  EXPECT_EQ(caller->name, "accesses/alice");
  EXPECT_EQ(caller->role, Role::kAdmin);
  EXPECT_TRUE(book.check(*caller, clock.wall()));
  EXPECT_FALSE(book.check(*caller, admin->info.not_after));

  // Revoked by serial, or by name: either is enough.
  (*store)->listen([&](const Commit& commit) { book.apply(commit); });
  ASSERT_TRUE((*store)->write([](WriteView& view) -> Status {
    QMASQ_TRY(view.revoke_certificates("accesses/alice"));
    return {};
  }));
  EXPECT_FALSE(book.check(*caller, clock.wall()));
  auto revoked = book.of_certificate(admin->info);
  ASSERT_FALSE(revoked);
  EXPECT_THAT(revoked.error().message, HasSubstr("revoked"));
}

TEST(AuthBook, AUserComesBeforeItsGroups) {
  AuthBook book;
  auto add = [&](const std::string& id, Role role, std::optional<std::uint32_t> user,
                 std::optional<std::uint32_t> group) {
    auto access = std::make_shared<Access>();
    access->id = id;
    access->role = role;
    access->user_id = user;
    access->group_id = group;
    Commit commit;
    commit.accesses.push_back(access);
    book.apply(commit);
  };
  trust::PeerCredentials peer{1, 1000, 100, {200, 300}};
  EXPECT_EQ(book.of_peer(peer, 5).role, Role::kNone);
  EXPECT_EQ(book.of_peer(peer, 5).name, "uid/1000");
  EXPECT_EQ(book.of_peer(peer, 1000).role, Role::kAdmin);  // the controller's own user
  add("readers", Role::kViewer, std::nullopt, 200);
  EXPECT_EQ(book.of_peer(peer, 5).name, "accesses/readers");
  add("admins", Role::kAdmin, std::nullopt, 300);
  EXPECT_EQ(book.of_peer(peer, 5).name, "accesses/admins");
  add("zoe", Role::kVpcAdmin, 1000, std::nullopt);
  EXPECT_EQ(book.of_peer(peer, 5).name, "accesses/zoe");
  trust::PeerCredentials root{1, 0, 0, {}};
  EXPECT_EQ(book.of_peer(root, 5).role, Role::kAdmin);
}

TEST(LiveCalls, EndWithWhoseTheyAre) {
  LiveCalls live;
  std::vector<std::string> ended;
  auto add = [&](const std::string& caller, const std::string& serial) {
    auto id = live.add(caller, serial, [&ended, caller](Error why) {
      EXPECT_EQ(why.code, Code::kUnauthenticated);
      ended.push_back(caller);
    });
    EXPECT_TRUE(id);
    return *id;
  };
  add("hosts/a", "aa");
  add("hosts/b", "bb");
  add("accesses/carol", "");
  live.remove(add("hosts/a", "aa"));
  Commit commit;
  commit.certificates.push_back({"aa", "hosts/a", {}, {}, TimePoint{}});
  commit.certificates.push_back({"cc", "hosts/b", {}, {}, std::nullopt});  // a new one
  live.apply(commit);
  EXPECT_THAT(ended, ::testing::ElementsAre("hosts/a"));
  auto carol = std::make_shared<Access>();
  carol->id = "carol";
  carol->revoke_time = TimePoint{};
  commit = {};
  commit.accesses.push_back(carol);
  live.apply(commit);
  live.apply(commit);
  EXPECT_THAT(ended, ::testing::ElementsAre("hosts/a", "accesses/carol"));
  // One caller cannot wait without end; another still can.
  for (std::size_t i = 0; i < LiveCalls::kMostOfOne; ++i)
    EXPECT_TRUE(live.add("accesses/dave", "", [](Error) {}));
  EXPECT_FALSE(live.add("accesses/dave", "", [](Error) {}));
  EXPECT_TRUE(live.add("accesses/erin", "", [](Error) {}));
}

}  // namespace
}  // namespace qmasq::controller
