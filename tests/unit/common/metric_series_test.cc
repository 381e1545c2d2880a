// SPDX-License-Identifier: Apache-2.0
#include "common/metric_series.h"

#include <gtest/gtest.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>

#include <array>
#include <map>
#include <string>
#include <thread>
#include <utility>

#include "tests/support/metric_values.h"

namespace qmasq {
namespace {

class MetricSeriesTest : public ::testing::Test {
 protected:
  std::map<std::string, double> values() { return test::metric_values(registry_, "some_total"); }
  using Values = std::map<std::string, double>;
  using Handle = MetricSeries<prometheus::Counter>::Handle;

  prometheus::Registry registry_;
  MetricSeries<prometheus::Counter> series_{
      prometheus::BuildCounter().Name("some_total").Help("Some.").Register(registry_)};
};

TEST_F(MetricSeriesTest, GoWithTheLastWhoHoldsThem) {
  Handle first = series_.get({{"name", "a"}});
  first->Increment(1);
  {
    Handle second = series_.get({{"name", "a"}});
    second->Increment(2);
    EXPECT_EQ(values(), (Values{{"name=a", 3}}));
    first.reset();
    EXPECT_FALSE(first);
    EXPECT_EQ(values(), (Values{{"name=a", 3}}));
    second->Increment(1);
    EXPECT_EQ(values(), (Values{{"name=a", 4}}));
  }
  EXPECT_EQ(values(), Values{});
}

TEST_F(MetricSeriesTest, AnotherUnderTheNameOfWhatIsGoneBeginsAtZero) {
  series_.get({{"name", "a"}})->Increment(7);
  Handle again = series_.get({{"name", "a"}});
  EXPECT_EQ(values(), (Values{{"name=a", 0}}));
}

TEST_F(MetricSeriesTest, HandlesMove) {
  Handle held = series_.get({{"name", "a"}});
  Handle other = std::move(held);
  EXPECT_TRUE(other);
  EXPECT_EQ(other.labels(), (MetricLabels{{"name", "a"}}));
  other = series_.get({{"name", "b"}});
  (*other).Increment(5);
  EXPECT_EQ(values(), (Values{{"name=b", 5}}));
  other = Handle();
  EXPECT_EQ(values(), Values{});
}

TEST_F(MetricSeriesTest, TakenAndGivenBackByManyAtOnce) {
  std::array<std::thread, 4> threads;
  for (auto& thread : threads) {
    thread = std::thread([&] {
      for (int turn = 0; turn < 2000; ++turn)
        series_.get({{"name", "a"}})->Increment();
    });
  }
  for (auto& thread : threads)
    thread.join();
  EXPECT_EQ(values(), Values{});
}

}  // namespace
}  // namespace qmasq
