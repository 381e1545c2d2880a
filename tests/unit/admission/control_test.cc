// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <cerrno>
#include <map>

#include "qmasq/v1/qos.pb.h"
#include "tests/support/manual_clock.h"
#include "tests/support/metric_values.h"
#include "vbond/admission/admission_control.h"
#include "vbond/admission/report.h"

namespace qmasq::vbond {
namespace {

using qos::Resource;
using qos::VerbKind;

class ControlTest : public ::testing::Test {
 protected:
  std::shared_ptr<const qos::Policy> policy(std::optional<std::uint64_t> queue_pairs,
                                            std::optional<qos::VerbRate> verbs = {}) {
    auto out = std::make_shared<qos::Policy>();
    out->quotas.limits[static_cast<std::size_t>(Resource::kQueuePairs)] = queue_pairs;
    out->verb_rates.rates[static_cast<std::size_t>(VerbKind::kVerbs)] = verbs;
    return out;
  }
  void govern(std::uint64_t uid, const std::string& name, std::shared_ptr<const qos::Policy> own,
              std::shared_ptr<const qos::Policy> of_vpc = nullptr) {
    auto endpoint = std::make_shared<GovernedEndpoint>();
    endpoint->uid = EndpointUid{uid};
    endpoint->name = name;
    endpoint->vpc_name = "vpcs/blue";
    endpoint->own = std::move(own);
    endpoint->of_vpc = std::move(of_vpc);
    control.policies_changed({{EndpointUid{uid}, endpoint}});
  }
  std::optional<double> metric(const std::string& name,
                               const std::map<std::string, std::string>& labels) {
    return test::metric_value(registry, name, labels);
  }
  std::vector<Event> told(EventType type) {
    std::vector<Event> out;
    for (Event& event : events.read(0, 1000, std::chrono::milliseconds(0))) {
      if (event.type == type) out.push_back(std::move(event));
    }
    return out;
  }

  qmasq::testing::ManualClock clock;
  EventLog events{clock, 1000};
  prometheus::Registry registry;
  AdmissionControl control{clock, events, registry};
  const std::string command = "app";
  const Asker asker{"CREATE_QP", 42, command};
};

TEST_F(ControlTest, OwnAndVpcBothHoldAndTheEventSaysWhose) {
  govern(1, "vpcs/blue/endpoints/a", policy(2), policy(3));
  govern(2, "vpcs/blue/endpoints/b", nullptr, policy(3));
  auto a = control.tenancy(EndpointUid{1}, "vpcs/blue/endpoints/a");
  auto b = control.tenancy(EndpointUid{2}, "vpcs/blue/endpoints/b");
  const auto one = qos::amounts_of(Resource::kQueuePairs);
  EXPECT_FALSE(a->reserve(one));
  EXPECT_FALSE(a->reserve(one));
  auto over = a->reserve(one);
  ASSERT_TRUE(over);
  EXPECT_FALSE(over->of_vpc);
  a->refuse(*over, asker);
  EXPECT_FALSE(b->reserve(one));
  over = b->reserve(one);
  ASSERT_TRUE(over);
  EXPECT_TRUE(over->of_vpc);
  b->refuse(*over, asker);

  const auto events_told = told(EventType::kOverQuota);
  ASSERT_EQ(events_told.size(), 2U);
  EXPECT_EQ(events_told[0].endpoint, "vpcs/blue/endpoints/a");
  EXPECT_EQ(events_told[0].err, EDQUOT);
  EXPECT_EQ(events_told[0].reason,
            "queue_pairs of vpcs/blue/endpoints/a: 1 more than the limit of 2 allows, 2 in use");
  EXPECT_EQ(events_told[1].reason,
            "queue_pairs of vpcs/blue: 1 more than the limit of 3 allows, 3 in use");

  EXPECT_EQ(metric("qmasq_vbond_quota_used",
                   {{"vpc", "blue"}, {"endpoint", "a"}, {"resource", "queue_pairs"}}),
            2);
  EXPECT_EQ(metric("qmasq_vbond_quota_limit",
                   {{"vpc", "blue"}, {"endpoint", "a"}, {"resource", "queue_pairs"}}),
            2);
  EXPECT_FALSE(metric("qmasq_vbond_quota_limit",
                      {{"vpc", "blue"}, {"endpoint", "b"}, {"resource", "queue_pairs"}}));
  EXPECT_EQ(metric("qmasq_vbond_quota_vpc_used", {{"vpc", "blue"}, {"resource", "queue_pairs"}}),
            3);
  EXPECT_EQ(metric("qmasq_vbond_quota_refusals_total",
                   {{"vpc", "blue"}, {"endpoint", "b"}, {"resource", "queue_pairs"}}),
            1);
}

TEST_F(ControlTest, AFloodOfRefusalsIsOneEventASecond) {
  govern(1, "vpcs/blue/endpoints/a", policy(1));
  auto a = control.tenancy(EndpointUid{1}, "vpcs/blue/endpoints/a");
  const auto one = qos::amounts_of(Resource::kQueuePairs);
  ASSERT_FALSE(a->reserve(one));
  for (int i = 0; i < 1000; ++i)
    a->refuse(*a->reserve(one), asker);
  EXPECT_EQ(told(EventType::kOverQuota).size(), 1U);
  clock.advance(std::chrono::seconds(1));
  a->refuse(*a->reserve(one), asker);
  const auto events_told = told(EventType::kOverQuota);
  ASSERT_EQ(events_told.size(), 2U);
  EXPECT_NE(events_told[1].reason.find("(and 999 more since"), std::string::npos)
      << events_told[1].reason;
}

TEST_F(ControlTest, RatesComeAndGoAndFreeingIsNotRefused) {
  govern(1, "vpcs/blue/endpoints/a", nullptr);
  auto a = control.tenancy(EndpointUid{1}, "vpcs/blue/endpoints/a");
  EXPECT_FALSE(a->rated());
  govern(1, "vpcs/blue/endpoints/a", policy({}, qos::VerbRate{10, 2}));
  EXPECT_TRUE(a->rated());
  EXPECT_TRUE(a->admit({VerbKind::kVerbs}, asker));
  EXPECT_TRUE(a->note({VerbKind::kVerbs}));
  EXPECT_FALSE(a->note({VerbKind::kVerbs}));
  EXPECT_FALSE(a->admit({VerbKind::kVerbs}, asker));
  const auto events_told = told(EventType::kOverRate);
  ASSERT_EQ(events_told.size(), 1U);
  EXPECT_EQ(events_told[0].err, EAGAIN);
  EXPECT_EQ(events_told[0].reason,
            "verbs of vpcs/blue/endpoints/a: more than 10 a second (burst 2)");
  EXPECT_EQ(metric("qmasq_vbond_verb_rate_admissions_total",
                   {{"vpc", "blue"}, {"endpoint", "a"}, {"verb", "verbs"}, {"result", "refused"}}),
            1);
  v1::HostQos report_of_host;
  report(control, report_of_host);
  ASSERT_EQ(report_of_host.verb_rates_size(), 1);
  EXPECT_EQ(report_of_host.verb_rates(0).name(), "vpcs/blue/endpoints/a");
  EXPECT_EQ(report_of_host.verb_rates(0).verb(), "verbs");
  EXPECT_EQ(report_of_host.verb_rates(0).admitted(), 3U);
  EXPECT_EQ(report_of_host.verb_rates(0).refused(), 1U);
  EXPECT_EQ(report_of_host.verb_rates(0).per_second(), 10U);
  govern(1, "vpcs/blue/endpoints/a", nullptr);
  EXPECT_FALSE(a->rated());
  EXPECT_FALSE(metric("qmasq_vbond_verb_rate_limit",
                      {{"vpc", "blue"}, {"endpoint", "a"}, {"verb", "verbs"}}));
}

TEST_F(ControlTest, AProgramThatAttachesBeforeItsPoliciesIsCountedAll) {
  auto early = control.tenancy(EndpointUid{1}, "vpcs/blue/endpoints/a");
  ASSERT_FALSE(early->reserve(qos::amounts_of(Resource::kQueuePairs, 5)));
  govern(1, "vpcs/blue/endpoints/a", policy(5), policy(9));
  EXPECT_EQ(control.tenancy(EndpointUid{1}, "vpcs/blue/endpoints/a"), early);
  EXPECT_TRUE(early->reserve(qos::amounts_of(Resource::kQueuePairs)));
}

TEST_F(ControlTest, AnEndpointThatGoesTakesItsMetricsAlongAndIsCountedUntilItFrees) {
  govern(1, "vpcs/blue/endpoints/a", nullptr, policy(3));
  govern(2, "vpcs/blue/endpoints/b", nullptr, policy(3));
  auto a = control.tenancy(EndpointUid{1}, "vpcs/blue/endpoints/a");
  auto b = control.tenancy(EndpointUid{2}, "vpcs/blue/endpoints/b");
  ASSERT_FALSE(a->reserve(qos::amounts_of(Resource::kQueuePairs, 3)));
  control.policies_changed({{EndpointUid{1}, nullptr}});
  EXPECT_FALSE(metric("qmasq_vbond_quota_used",
                      {{"vpc", "blue"}, {"endpoint", "a"}, {"resource", "queue_pairs"}}));
  // Its contexts are not closed yet.
  EXPECT_TRUE(b->reserve(qos::amounts_of(Resource::kQueuePairs)));
  a.reset();
  EXPECT_FALSE(b->reserve(qos::amounts_of(Resource::kQueuePairs, 3)));
  b.reset();
  control.policies_changed({{EndpointUid{2}, nullptr}});
  for (const auto& family : registry.Collect())
    EXPECT_TRUE(family.metric.empty()) << family.name;
}

TEST_F(ControlTest, AChargeThatIsNotKeptIsReturned) {
  govern(1, "vpcs/blue/endpoints/a", policy(1));
  auto a = control.tenancy(EndpointUid{1}, "vpcs/blue/endpoints/a");
  const auto one = qos::amounts_of(Resource::kQueuePairs);
  ASSERT_FALSE(a->reserve(one));
  {
    Charge charge(a, one);
    Charge moved = std::move(charge);
  }
  EXPECT_EQ(a->used(), qos::Amounts{});
}

}  // namespace
}  // namespace qmasq::vbond
