// SPDX-License-Identifier: Apache-2.0
#include "qos/admission/account.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

namespace qmasq::qos {
namespace {

Quotas limit(Resource resource, std::uint64_t value) {
  Quotas out;
  out.limits[static_cast<std::size_t>(resource)] = value;
  return out;
}

TEST(AccountTest, ExactAtTheLimitAndNamesIt) {
  Account vpc;
  Account own(&vpc);
  own.set_limits(limit(Resource::kCompletionQueues, 2));
  EXPECT_FALSE(own.reserve(amounts_of(Resource::kCompletionQueues)));
  EXPECT_FALSE(own.reserve(amounts_of(Resource::kCompletionQueues)));
  const auto over = own.reserve(amounts_of(Resource::kCompletionQueues));
  ASSERT_TRUE(over);
  EXPECT_EQ(over->account, &own);
  EXPECT_EQ(over->resource, Resource::kCompletionQueues);
  EXPECT_EQ(over->limit, 2U);
  EXPECT_EQ(over->used, 2U);
  own.release(amounts_of(Resource::kCompletionQueues));
  EXPECT_FALSE(own.reserve(amounts_of(Resource::kCompletionQueues)));
}

TEST(AccountTest, TheSumOfEndpointsIsTheVpcs) {
  Account vpc;
  vpc.set_limits(limit(Resource::kQueuePairs, 3));
  Account a(&vpc);
  Account b(&vpc);
  EXPECT_FALSE(a.reserve(amounts_of(Resource::kQueuePairs, 2)));
  EXPECT_FALSE(b.reserve(amounts_of(Resource::kQueuePairs)));
  const auto over = b.reserve(amounts_of(Resource::kQueuePairs));
  ASSERT_TRUE(over);
  EXPECT_EQ(over->account, &vpc);
  EXPECT_EQ(b.used(Resource::kQueuePairs), 1U);  // nothing was kept of it
}

TEST(AccountTest, ALimitThatShrinksTakesNothingAndRefusesTheNew) {
  Account own;
  EXPECT_FALSE(own.reserve(amounts_of(Resource::kQueuePairs, 5)));
  own.set_limits(limit(Resource::kQueuePairs, 2));
  EXPECT_EQ(own.used(Resource::kQueuePairs), 5U);
  EXPECT_TRUE(own.reserve(amounts_of(Resource::kQueuePairs)));
  EXPECT_FALSE(own.reserve(amounts_of(Resource::kMemoryRegions)));  // of another kind
  own.release(amounts_of(Resource::kQueuePairs, 4));
  EXPECT_FALSE(own.reserve(amounts_of(Resource::kQueuePairs)));
  EXPECT_TRUE(own.reserve(amounts_of(Resource::kQueuePairs)));
}

TEST(AccountTest, HugeAmountsDoNotWrapAround) {
  Account own;
  own.set_limits(limit(Resource::kPinnedBytes, 1ULL << 60U));
  EXPECT_FALSE(own.reserve(amounts_of(Resource::kPinnedBytes, 1ULL << 60U)));
  EXPECT_TRUE(own.reserve(amounts_of(Resource::kPinnedBytes, UINT64_MAX)));
}

TEST(AccountTest, AnAccountThatGoesGivesBackWhatItHas) {
  Account vpc;
  {
    Account own(&vpc);
    own.charge(amounts_of(Resource::kQueuePairs, 7));
    EXPECT_EQ(vpc.used(Resource::kQueuePairs), 7U);
  }
  EXPECT_EQ(vpc.used(Resource::kQueuePairs), 0U);
}

// The same, as somebody would write it who has no hurry.
struct Model {
  std::vector<std::vector<Amounts>> held{4};  // of each endpoint; endpoints 0, 1: VPC 0, else VPC 1
  std::array<Quotas, 4> own;
  std::array<Quotas, 2> of_vpc;

  std::uint64_t used(std::size_t endpoint, std::size_t resource) const {
    std::uint64_t out = 0;
    for (const Amounts& each : held[endpoint])
      out += each[resource];
    return out;
  }
  bool fits(std::size_t endpoint, const Amounts& amounts) const {
    const std::size_t vpc = endpoint / 2;
    for (std::size_t r = 0; r < kResources; ++r) {
      if (amounts[r] == 0) continue;
      const std::uint64_t mine = used(endpoint, r);
      const std::uint64_t all = used(2 * vpc, r) + used(2 * vpc + 1, r);
      if (own[endpoint].limits[r] && mine + amounts[r] > *own[endpoint].limits[r]) return false;
      if (of_vpc[vpc].limits[r] && all + amounts[r] > *of_vpc[vpc].limits[r]) return false;
    }
    return true;
  }
};

TEST(AccountTest, AgreesWithAPlainModel) {
  std::mt19937 random(20240607);  // NOLINT: the same on every run
  auto below = [&](std::uint64_t bound) { return random() % bound; };
  std::array<Account, 2> vpcs;
  std::array<std::unique_ptr<Account>, 4> endpoints;
  for (std::size_t i = 0; i < 4; ++i)
    endpoints[i] = std::make_unique<Account>(&vpcs[i / 2]);
  Model model;
  std::size_t refused = 0;
  for (int step = 0; step < 100'000; ++step) {
    const std::size_t at = below(4);
    switch (below(8)) {
      case 0: {
        Quotas limits;
        for (auto& each : limits.limits) {
          if (below(2) == 0) each = below(20) + 1;
        }
        if (below(2) == 0) {
          endpoints[at]->set_limits(limits);
          model.own[at] = limits;
        } else {
          vpcs[at / 2].set_limits(limits);
          model.of_vpc[at / 2] = limits;
        }
        break;
      }
      case 1:
      case 2:
      case 3: {
        auto& held = model.held[at];
        if (held.empty()) break;
        const std::size_t which = below(held.size());
        endpoints[at]->release(held[which]);
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
        break;
      }
      case 4: {
        if (below(10) != 0) break;
        Amounts amounts{};
        amounts[below(kResources)] = 1;
        endpoints[at]->charge(amounts);
        model.held[at].push_back(amounts);
        break;
      }
      default: {
        Amounts amounts{};
        for (std::uint64_t& each : amounts)
          each = below(3) == 0 ? below(4) : 0;
        const bool fits = model.fits(at, amounts);
        ASSERT_EQ(!endpoints[at]->reserve(amounts), fits) << "step " << step;
        if (fits) {
          model.held[at].push_back(amounts);
        } else {
          ++refused;
        }
      }
    }
    if (step % 100 != 0) continue;
    for (std::size_t r = 0; r < kResources; ++r) {
      for (std::size_t i = 0; i < 4; ++i)
        ASSERT_EQ(endpoints[i]->used()[r], model.used(i, r)) << "step " << step;
      ASSERT_EQ(vpcs[0].used()[r], model.used(0, r) + model.used(1, r));
      ASSERT_EQ(vpcs[1].used()[r], model.used(2, r) + model.used(3, r));
    }
  }
  EXPECT_GT(refused, 1000U);  // limits were met
}

}  // namespace
}  // namespace qmasq::qos
