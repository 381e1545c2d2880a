// SPDX-License-Identifier: Apache-2.0
#include "vbond/rename/policy_metrics.h"

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <map>
#include <string>

#include "tests/support/metric_values.h"
#include "vbond/rename/endpoint_table.h"

namespace qmasq::vbond {
namespace {

using conntrack::Admission;
using conntrack::Effect;

class PolicyMetricsTest : public ::testing::Test {
 protected:
  static LocalEndpoint endpoint(std::uint64_t uid, const std::string& id) {
    LocalEndpoint out;
    out.uid = EndpointUid{uid};
    out.name = "vpcs/blue/endpoints/" + id;
    return out;
  }
  std::map<std::string, double> series(const std::string& name) {
    return test::metric_values(registry_, name);
  }
  void forget(std::uint64_t uid) {
    const EndpointUid gone{uid};
    metrics_.forget(std::span(&gone, 1));
  }

  prometheus::Registry registry_;
  PolicyMetrics metrics_{registry_};
};

TEST_F(PolicyMetricsTest, StandAtZeroBeforeTheFirst) {
  metrics_.count(endpoint(1, "a"), Admission::Result::kAdmitted);
  EXPECT_EQ(series("qmasq_vbond_conntrack_cuts_total").size(), 4U);
  EXPECT_EQ(series("qmasq_vbond_conntrack_narrowed_total").size(), 1U);
  metrics_.count_cut("vpcs/blue/endpoints/a", Effect::Cause::kPeerMoved);
  metrics_.count_narrowed("vpcs/blue/endpoints/a");
  double cuts = 0;
  for (const auto& [labels, value] : series("qmasq_vbond_conntrack_cuts_total"))
    cuts += value;
  EXPECT_EQ(cuts, 1);
  EXPECT_EQ(series("qmasq_vbond_conntrack_narrowed_total").begin()->second, 1);
}

TEST_F(PolicyMetricsTest, GoWithTheirEndpoint) {
  metrics_.count(endpoint(1, "a"), Admission::Result::kAdmitted);
  metrics_.count_shadow(endpoint(2, "b"));
  forget(1);
  EXPECT_EQ(series("qmasq_vbond_conntrack_verdicts_total").size(), 4U);
  EXPECT_EQ(series("qmasq_vbond_conntrack_cuts_total").size(), 4U);
  EXPECT_EQ(series("qmasq_vbond_conntrack_narrowed_total").size(), 1U);
  forget(2);
  for (const char* name : {"verdicts", "shadow_hits", "cuts", "narrowed"})
    EXPECT_TRUE(series(std::string("qmasq_vbond_conntrack_") + name + "_total").empty()) << name;
}

TEST_F(PolicyMetricsTest, CutsOfWhoIsGoneStayUntilTheNextOneGoes) {
  metrics_.count(endpoint(1, "a"), Admission::Result::kAdmitted);
  forget(1);
  metrics_.count_cut("vpcs/blue/endpoints/a", Effect::Cause::kOwnGone);
  EXPECT_EQ(series("qmasq_vbond_conntrack_cuts_total").size(), 1U);
  forget(7);
  EXPECT_TRUE(series("qmasq_vbond_conntrack_cuts_total").empty());
}

TEST_F(PolicyMetricsTest, ANameThatComesBackTakesItsCountersUp) {
  metrics_.count_cut("vpcs/blue/endpoints/a", Effect::Cause::kOwnGone);
  metrics_.count(endpoint(2, "a"), Admission::Result::kForbidden);
  forget(7);
  metrics_.count_cut("vpcs/blue/endpoints/a", Effect::Cause::kOwnGone);
  EXPECT_EQ(series("qmasq_vbond_conntrack_cuts_total").size(), 4U);
  forget(2);
  EXPECT_TRUE(series("qmasq_vbond_conntrack_cuts_total").empty());
}

// A verb that was on its way when its endpoint went may count after forget().
TEST_F(PolicyMetricsTest, WhoCountsTooLateTakesNothingFromTheNextOfTheName) {
  metrics_.count(endpoint(1, "a"), Admission::Result::kAdmitted);
  forget(1);
  metrics_.count(endpoint(1, "a"), Admission::Result::kAdmitted);
  metrics_.count(endpoint(2, "a"), Admission::Result::kAdmitted);
  metrics_.count_narrowed("vpcs/blue/endpoints/a");
  forget(1);
  metrics_.count_narrowed("vpcs/blue/endpoints/a");
  EXPECT_EQ(series("qmasq_vbond_conntrack_narrowed_total").begin()->second, 2);
  forget(2);
  EXPECT_TRUE(series("qmasq_vbond_conntrack_narrowed_total").empty());
}

}  // namespace
}  // namespace qmasq::vbond
