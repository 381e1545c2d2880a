// SPDX-License-Identifier: Apache-2.0
#include "vbond/qos/metrics.h"

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <initializer_list>
#include <map>
#include <string>

#include "qos/policy.h"
#include "tests/support/metric_values.h"

namespace qmasq::vbond {
namespace {

class QosMetricsTest : public ::testing::Test {
 protected:
  static NodeState node(qos::NodeId id, const std::string& name, std::uint64_t bytes) {
    NodeState out;
    out.id = id;
    out.name = name;
    out.traffic.emplace();
    out.traffic->bytes = bytes;
    return out;
  }
  static NodeState endpoint(std::uint64_t uid, std::uint64_t bytes) {
    return node(qos::NodeId::endpoint(EndpointUid{uid}), "vpcs/blue/endpoints/a", bytes);
  }
  static NodeState vpc(std::uint64_t uid, std::uint64_t bytes) {
    return node(qos::NodeId::vpc(VpcUid{uid}), "vpcs/blue", bytes);
  }
  void show(std::initializer_list<NodeState> nodes) {
    NicState state;
    state.device = "rxe0";
    state.nodes = nodes;
    metrics_.show(state);
  }
  std::map<std::string, double> series(const std::string& name) {
    return test::metric_values(registry_, name);
  }
  using Values = std::map<std::string, double>;

  prometheus::Registry registry_;
  QosMetrics metrics_{registry_};
};

TEST_F(QosMetricsTest, SeriesGoWithTheEndpoint) {
  show({vpc(1, 100), endpoint(2, 100)});
  EXPECT_EQ(series("qmasq_vbond_qos_egress_bytes_total"),
            (Values{{"endpoint=a,nic=rxe0,vpc=blue", 100}}));
  EXPECT_EQ(series("qmasq_vbond_qos_vpc_egress_bytes_total"), (Values{{"nic=rxe0,vpc=blue", 100}}));
  show({vpc(1, 100)});
  EXPECT_EQ(series("qmasq_vbond_qos_egress_bytes_total"), Values{});
  show({});
  EXPECT_EQ(series("qmasq_vbond_qos_vpc_egress_bytes_total"), Values{});
}

// Both between two samples. The name is the same, and so are the labels; the series is not.
TEST_F(QosMetricsTest, WhatIsDeletedAndMadeAnewHasSeriesOfItsOwn) {
  show({vpc(1, 100), endpoint(2, 100)});
  show({vpc(3, 5), endpoint(4, 5)});
  EXPECT_EQ(series("qmasq_vbond_qos_egress_bytes_total"),
            (Values{{"endpoint=a,nic=rxe0,vpc=blue", 5}}));
  EXPECT_EQ(series("qmasq_vbond_qos_vpc_egress_bytes_total"), (Values{{"nic=rxe0,vpc=blue", 5}}));
  show({vpc(3, 7), endpoint(4, 7)});
  EXPECT_EQ(series("qmasq_vbond_qos_egress_bytes_total"),
            (Values{{"endpoint=a,nic=rxe0,vpc=blue", 7}}));
  EXPECT_EQ(series("qmasq_vbond_qos_vpc_egress_bytes_total"), (Values{{"nic=rxe0,vpc=blue", 7}}));
  show({});
  EXPECT_EQ(series("qmasq_vbond_qos_egress_bytes_total"), Values{});
}

}  // namespace
}  // namespace qmasq::vbond
