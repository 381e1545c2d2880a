// SPDX-License-Identifier: Apache-2.0
#include "vbond/join/join.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/unit/join/signing_controller.h"

namespace qmasq::vbond {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class JoinTest : public ::testing::Test {
 protected:
  JoinOptions at(const std::string& controller) {
    return {controller, directory_.file("tls"), std::chrono::milliseconds(5000)};
  }
  Result<trust::StoredIdentity> join_with(const std::string& token) {
    return join(at(controller_.address()), trust::Secret(token), clock_);
  }

  SystemClock clock_;
  qmasq::testing::TempDir directory_;
  test::SigningController controller_;
};

TEST_F(JoinTest, GetsTheCertificateOfItsHost) {
  auto joined = join_with(controller_.token());
  ASSERT_TRUE(joined) << joined.error().message;
  EXPECT_EQ(trust::name_of(joined->info.identity), "hosts/hostA");
  struct stat info {};
  ASSERT_EQ(::stat(trust::identity_file(directory_.file("tls")).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0600U);
  auto again = join_with(controller_.token());
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::kUnauthenticated);
  EXPECT_THAT(again.error().message, HasSubstr("used already"));
  EXPECT_THAT(again.error().message, Not(HasSubstr(controller_.token().substr(7, 20))));
}

TEST_F(JoinTest, ShowsNoSecretToAStranger) {
  test::SigningController other;
  // The stranger would take this one: it names the true controller's CA.
  auto joined = join(at(other.address()), trust::Secret(controller_.token()), clock_);
  ASSERT_FALSE(joined);
  EXPECT_THAT(joined.error().message, HasSubstr("not our controller"));
  EXPECT_THAT(joined.error().message, HasSubstr("join token"));
  EXPECT_TRUE(join_with(controller_.token())) << "the token must not be used up";
}

TEST_F(JoinTest, SaysWhatIsWrongWithATokenAndNotTheToken) {
  auto joined = join_with("qmasq1.surelysecret");
  ASSERT_FALSE(joined);
  EXPECT_EQ(joined.error().code, Code::kInvalidArgument);
  EXPECT_THAT(joined.error().message, Not(HasSubstr("surelysecret")));
}

TEST_F(JoinTest, SaysThatNobodyIsThere) {
  auto joined = join(at("127.0.0.1:1"), trust::Secret(controller_.token()), clock_);
  ASSERT_FALSE(joined);
  EXPECT_EQ(joined.error().code, Code::kUnavailable);
  EXPECT_THAT(joined.error().message, HasSubstr("127.0.0.1:1"));
}

TEST_F(JoinTest, RenewsWithANewKey) {
  auto first = join_with(controller_.token());
  ASSERT_TRUE(first) << first.error().message;
  auto second = renew(at(controller_.address()), clock_);
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_NE(first->info.serial, second->info.serial);
  EXPECT_NE(first->key.pem()->reveal(), second->key.pem()->reveal());
  EXPECT_EQ(controller_.renewals, 1);
  controller_.revoked = true;
  auto third = renew(at(controller_.address()), clock_);
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, Code::kUnauthenticated);
  EXPECT_THAT(third.error().message, HasSubstr("revoked"));
  // What was there stays.
  EXPECT_EQ(trust::read_identity(directory_.file("tls"))->info.serial, second->info.serial);
}

TEST_F(JoinTest, ReadsATokenFromAClosedFileOnly) {
  const std::string path = directory_.file("token");
  std::ofstream(path) << "  qmasq1.x.y\n\n";
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  EXPECT_FALSE(read_token(path));
  ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  auto token = read_token(path);
  ASSERT_TRUE(token) << token.error().message;
  EXPECT_EQ(token->reveal(), "qmasq1.x.y");
  std::ofstream(path) << "\n";
  EXPECT_FALSE(read_token(path));
}

}  // namespace
}  // namespace qmasq::vbond
