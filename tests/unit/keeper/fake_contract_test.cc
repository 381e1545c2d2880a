// SPDX-License-Identifier: Apache-2.0
#include "tests/support/fake_keeper.h"
#include "tests/support/keeper_contract.h"

namespace qmasq::test {
namespace {

class FakeWorld final : public KeeperWorld {
 public:
  Result<std::unique_ptr<vbond::Keeper>> connect(std::chrono::milliseconds patience) override {
    return keeper_.connect(patience);
  }
  void die() override { keeper_.die(); }

 private:
  FakeKeeper keeper_{kMost};
};

INSTANTIATE_TEST_SUITE_P(Fake, KeeperContract,
                         ::testing::Values([] { return std::make_unique<FakeWorld>(); }));

TEST(FakeKeeper, FailsAsOrdered) {
  FakeKeeper keeper;
  auto session = keeper.connect();
  ASSERT_TRUE(session);
  Witness file;
  keeper.fail_next({Code::kResourceExhausted, "full", 0, {}});
  EXPECT_EQ((*session)->put("", file.descriptor()).error().message, "full");
  EXPECT_TRUE((*session)->put("", file.descriptor()));
  keeper.fail_next({Code::kUnavailable, "gone", 0, {}});
  EXPECT_FALSE((*session)->list());
  EXPECT_EQ((*session)->list().error().code, Code::kUnavailable) << "lost for good";
  EXPECT_EQ(keeper.size(), 1U);
  auto next = keeper.connect();
  ASSERT_TRUE(next);
  EXPECT_EQ((*next)->list()->size(), 1U);
}

TEST(FakeKeeper, AnotherProcessHasNothingAndNoOldSession) {
  FakeKeeper keeper;
  auto session = keeper.connect();
  ASSERT_TRUE(session);
  Witness file;
  ASSERT_TRUE((*session)->put("", file.descriptor()));
  keeper.die();
  keeper.start();
  EXPECT_EQ((*session)->list().error().code, Code::kUnavailable);
  auto next = keeper.connect();
  ASSERT_TRUE(next);
  EXPECT_TRUE((*next)->list()->empty());
}

}  // namespace
}  // namespace qmasq::test
