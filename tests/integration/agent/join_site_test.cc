// SPDX-License-Identifier: Apache-2.0
// An agent that joins the real controller over TLS, is cut off, and joins again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/integration/agent/agent_site.h"
#include "tests/integration/controller/auth_world.h"
#include "trust/stored_identity.h"
#include "vbond/join/join.h"

namespace qmasq::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class JoinSite : public ::testing::Test {
 protected:
  void SetUp() override {
    world_.process.start();
    site_.options.controller = world_.process.address();
    site_.options.token_file = world_.dir.file("token");
  }
  void leave_token(const std::string& host) {
    std::ofstream(site_.options.token_file) << world_.make_token(host) << "\n";
    ASSERT_EQ(::chmod(site_.options.token_file.c_str(), 0600), 0);
  }
  [[nodiscard]] bool gone(const std::string& path) const {
    struct stat info {};
    return ::stat(path.c_str(), &info) != 0;
  }
  [[nodiscard]] bool connected() const {
    return eventually([&] { return site_.describe().connected(); }, std::chrono::seconds(30));
  }
  [[nodiscard]] bool says(const std::string& text) const {
    return eventually(
        [&] {
          auto agent = site_.describe();
          return !agent.connected() && agent.last_error().find(text) != std::string::npos;
        },
        std::chrono::seconds(30));
  }

  controller::testing::AuthWorld world_;
  AgentSite site_{"hostA", "", "192.0.2.1"};
};

TEST_F(JoinSite, JoinsIsCutOffAndJoinsAgain) {
  leave_token("hostA");
  auto started = site_.start();
  ASSERT_TRUE(started) << started.error().message;
  ASSERT_TRUE(connected()) << site_.describe().last_error();
  EXPECT_TRUE(gone(site_.options.token_file)) << "a used token is of no use";

  ASSERT_TRUE(world_.revoke_host("hostA").ok());
  EXPECT_TRUE(says("revoked")) << site_.describe().last_error();

  // Somebody does `qmasq-vbond join` beside the agent, which notices.
  SystemClock clock;
  auto joined = vbond::join({site_.options.controller, site_.options.certificates},
                            trust::Secret(world_.make_token("hostA")), clock);
  ASSERT_TRUE(joined) << joined.error().message;
  EXPECT_TRUE(connected()) << site_.describe().last_error();
  EXPECT_THAT(world_.process.log(), Not(HasSubstr("PRIVATE KEY")));
}

TEST_F(JoinSite, ATokenOfAnotherHostMakesNoneOfThisOne) {
  leave_token("hostB");
  ASSERT_TRUE(site_.start());
  EXPECT_TRUE(says("is of hosts/hostB, and this agent is hosts/hostA"))
      << site_.describe().last_error();
}

TEST_F(JoinSite, SaysWhatToDoWithAUsedToken) {
  leave_token("hostA");
  SystemClock clock;
  auto token = vbond::read_token(site_.options.token_file);
  ASSERT_TRUE(token);
  ASSERT_TRUE(vbond::join({site_.options.controller, world_.dir.file("elsewhere")}, *token, clock));
  ASSERT_TRUE(site_.start());
  EXPECT_TRUE(says("cannot join with the token")) << site_.describe().last_error();
  EXPECT_THAT(site_.describe().last_error(), Not(HasSubstr(token->reveal().substr(7, 20))));
}

}  // namespace
}  // namespace qmasq::test
