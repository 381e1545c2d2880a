// SPDX-License-Identifier: Apache-2.0
#include "vbond/join/membership.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>
#include <sys/stat.h>

#include <fstream>
#include <mutex>
#include <vector>

#include "tests/support/eventually.h"
#include "tests/unit/join/signing_controller.h"

namespace qmasq::vbond {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

// A clock that is wrong by so much.
class SkewedClock final : public Clock {
 public:
  [[nodiscard]] std::chrono::steady_clock::time_point now() const override {
    return std::chrono::steady_clock::now();
  }
  [[nodiscard]] std::chrono::system_clock::time_point wall() const override {
    return std::chrono::system_clock::now() + skew;
  }
  std::chrono::hours skew{0};
};

class MembershipTest : public ::testing::Test {
 protected:
  std::unique_ptr<Membership> make(const std::string& controller, const std::string& token_file,
                                   const std::string& host = "hosts/hostA") {
    return std::make_unique<Membership>(
        Membership::Options{controller, host, directory_.file("tls"), token_file}, clock_,
        *registry_, [] { return 0.5; },
        [this](const std::string& what) {
          std::lock_guard lock(mutex_);
          reports_.push_back(what);
        });
  }
  std::string write_token(const std::string& token) {
    std::string path = directory_.file("token");
    std::ofstream(path) << token << "\n";
    EXPECT_EQ(::chmod(path.c_str(), 0600), 0);
    return path;
  }
  bool exists(const std::string& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0;
  }
  std::string reports() {
    std::lock_guard lock(mutex_);
    std::string out;
    for (const auto& one : reports_)
      out += one + "\n";
    return out;
  }

  SkewedClock clock_;
  qmasq::testing::TempDir directory_;
  std::shared_ptr<prometheus::Registry> registry_ = std::make_shared<prometheus::Registry>();
  test::SigningController controller_;
  std::mutex mutex_;
  std::vector<std::string> reports_;
};

TEST_F(MembershipTest, SpeaksPlainlyToThisMachineAlone) {
  EXPECT_TRUE(make("unix:/run/qmasq/controller.sock", "")->credentials());
  EXPECT_TRUE(make("127.0.0.1:7443", "")->credentials());
  EXPECT_TRUE(make("[::1]:7443", "")->credentials());
  auto far = make("192.0.2.1:7443", "")->credentials();
  ASSERT_FALSE(far);
  EXPECT_THAT(far.error().message, HasSubstr("there is no certificate in"));
  EXPECT_THAT(far.error().message, HasSubstr("qmasq host token hostA"));
  EXPECT_THAT(far.error().message, HasSubstr("qmasq-vbond join --controller 192.0.2.1:7443"));
}

TEST_F(MembershipTest, JoinsWithTheTokenAndRemovesIt) {
  std::string token = write_token(controller_.token());
  auto membership = make(controller_.address(), token);
  auto credentials = membership->credentials();
  ASSERT_TRUE(credentials) << credentials.error().message;
  EXPECT_FALSE(exists(token));
  EXPECT_THAT(reports(), HasSubstr("joined as hosts/hostA"));
  EXPECT_TRUE(membership->credentials()) << "and needs it no more";
}

TEST_F(MembershipTest, AnOldTokenDoesNotSpoilAGoodCertificate) {
  ASSERT_TRUE(make(controller_.address(), write_token(controller_.token()))->credentials());
  std::string used = write_token(controller_.token());
  auto membership = make(controller_.address(), used);
  EXPECT_TRUE(membership->credentials());
  // Not even when the controller has refused the certificate, and the token is tried.
  membership->refused();
  EXPECT_TRUE(membership->credentials());
  EXPECT_TRUE(exists(used));
}

TEST_F(MembershipTest, SaysWhyACertificateIsNoGood) {
  ASSERT_TRUE(make(controller_.address(), write_token(controller_.token()))->credentials());
  auto other = make(controller_.address(), "", "hosts/hostB")->credentials();
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message, HasSubstr("is of hosts/hostA, and this agent is hosts/hostB"));
  clock_.skew = std::chrono::hours(100);
  auto late = make(controller_.address(), "")->credentials();
  ASSERT_FALSE(late);
  EXPECT_THAT(late.error().message, HasSubstr("expired at"));
  EXPECT_THAT(late.error().message, HasSubstr("by this host's clock"));
  EXPECT_THAT(late.error().message, HasSubstr("qmasq host token hostA"));
  clock_.skew = std::chrono::hours(-100);
  auto early = make(controller_.address(), "")->credentials();
  ASSERT_FALSE(early);
  EXPECT_THAT(early.error().message, HasSubstr("set the clock"));
  clock_.skew = {};
  ASSERT_EQ(::chmod(trust::identity_file(directory_.file("tls")).c_str(), 0644), 0);
  EXPECT_FALSE(make(controller_.address(), "")->credentials()) << "others may have read the key";
}

TEST_F(MembershipTest, RenewsAfterTwoThirds) {
  trust::WallTime begin = std::chrono::system_clock::from_time_t(1'000'000);
  EXPECT_EQ(Membership::renewal_time(begin, begin + seconds(3000), 0), begin + seconds(2000));
  EXPECT_EQ(Membership::renewal_time(begin, begin + seconds(3000), 1), begin + seconds(1850));
}

TEST_F(MembershipTest, RenewsByItselfAndSaysSoWhenItCannot) {
  controller_.seconds = 3;
  ASSERT_TRUE(make(controller_.address(), write_token(controller_.token()))->credentials());
  auto membership = make(controller_.address(), "");
  membership->start();
  EXPECT_TRUE(test::eventually([&] { return controller_.renewals >= 2; }));
  EXPECT_THAT(reports(), HasSubstr("renewed the certificate"));
  controller_.revoked = true;
  EXPECT_TRUE(test::eventually(
      [&] { return reports().find("cannot renew the certificate") != std::string::npos; }));
  EXPECT_THAT(reports(), HasSubstr("was revoked"));
  membership->stop();
}

}  // namespace
}  // namespace qmasq::vbond
