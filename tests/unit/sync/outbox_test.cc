// SPDX-License-Identifier: Apache-2.0
#include "vbond/sync/outbox.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace qmasq::vbond {
namespace {

v1::SyncRequest ack(std::uint64_t revision) {
  v1::SyncRequest out;
  out.mutable_ack()->set_revision(revision);
  return out;
}

v1::SyncRequest reject(std::uint64_t revision) {
  v1::SyncRequest out;
  out.mutable_reject()->set_revision(revision);
  return out;
}

EndpointReport bound(const std::string& netns) {
  EndpointReport out;
  out.state = EndpointReport::State::kBound;
  out.netns = netns;
  return out;
}

std::vector<std::string> drain(Outbox& outbox) {
  std::vector<std::string> out;
  while (auto request = outbox.take())
    out.push_back(request->ShortDebugString());
  EXPECT_FALSE(outbox.pending());
  return out;
}

TEST(Outbox, HoldsReportsUntilWelcome) {
  Outbox outbox;
  outbox.report_host({parse_ip("192.0.2.1").value(), {}});
  outbox.report_endpoint(EndpointUid{7}, bound("/run/netns/a"));
  EXPECT_FALSE(outbox.pending());
  EXPECT_FALSE(outbox.take().has_value());
  outbox.welcomed();
  EXPECT_TRUE(outbox.pending());
  auto sent = drain(outbox);
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(sent[0], "host_report { underlay_address: \"192.0.2.1\" }");
  EXPECT_EQ(sent[1],
            "endpoint_report { endpoint_uid: 7 status { state: BOUND netns: "
            "\"/run/netns/a\" } }");
}

TEST(Outbox, SendsOnlyTheNewestOfEach) {
  Outbox outbox;
  outbox.welcomed();
  for (int i = 0; i < 1000; ++i) {
    outbox.report_endpoint(EndpointUid{7}, bound("n" + std::to_string(i)));
    outbox.answer(ack(static_cast<std::uint64_t>(i)));
  }
  auto sent = drain(outbox);
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(sent[0], "ack { revision: 999 }");
  EXPECT_NE(sent[1].find("n999"), std::string::npos);
}

TEST(Outbox, AnAckDoesNotSwallowAReject) {
  Outbox outbox;
  outbox.answer(ack(1));
  outbox.answer(reject(2));
  outbox.answer(ack(3));
  EXPECT_EQ(drain(outbox),
            (std::vector<std::string>{"ack { revision: 1 }", "reject { revision: 2 }",
                                      "ack { revision: 3 }"}));
}

TEST(Outbox, SendsNothingTwiceAndAllOfItOnTheNextStream) {
  Outbox outbox;
  outbox.welcomed();
  outbox.report_endpoint(EndpointUid{7}, bound("a"));
  EXPECT_EQ(drain(outbox).size(), 1U);
  outbox.report_endpoint(EndpointUid{7}, bound("a"));
  EXPECT_FALSE(outbox.pending());
  outbox.answer(ack(5));
  outbox.closed();
  outbox.report_endpoint(EndpointUid{8}, bound("b"));
  outbox.report_endpoint(EndpointUid{9}, bound("c"));
  outbox.forget_endpoint(EndpointUid{9});
  EXPECT_FALSE(outbox.pending()) << "an answer of the old stream is void";
  outbox.welcomed();
  EXPECT_EQ(drain(outbox).size(), 2U);
}

TEST(Outbox, SaysAllOfANic) {
  Nic nic;
  nic.device = "rxe0";
  nic.netdev = "eth1";
  nic.driver = "rxe";
  nic.active = true;
  nic.active_mtu = 1024;
  nic.rate_bps = 2'500'000'000;
  nic.gids = {{1, Gid::from_ip(*parse_ip("192.0.2.1")), GidType::kRoceV2}};
  nic.primary = nic.gids[0];
  EXPECT_EQ(to_proto(nic).ShortDebugString(),
            "device: \"rxe0\" port: 1 netdev: \"eth1\" driver: \"rxe\" active: true active_mtu: "
            "1024 rate_bps: 2500000000 gids { index: 1 gid: "
            "\"0000:0000:0000:0000:0000:ffff:c000:0201\" type: ROCE_V2 } primary_gid: "
            "\"0000:0000:0000:0000:0000:ffff:c000:0201\"");
}

TEST(Outbox, SaysWhatBecameOfLimits) {
  EndpointReport report;
  EXPECT_FALSE(to_proto(report).qos().configured());
  report.limits.configured = true;
  EXPECT_TRUE(to_proto(report).qos().configured());
  EXPECT_TRUE(to_proto(report).qos().enforced());
  report.limits.unenforced = {"maximum of vpcs/blue on rxe0: no backend"};
  EXPECT_FALSE(to_proto(report).qos().enforced());
  EXPECT_EQ(to_proto(report).qos().unenforced(0), report.limits.unenforced[0]);

  Outbox box;
  box.welcomed();
  EndpointReport before;
  box.report_endpoint(EndpointUid{1}, before);
  EXPECT_TRUE(box.take().has_value());
  box.report_endpoint(EndpointUid{1}, report);
  EXPECT_TRUE(box.take().has_value()) << "a change of that alone is sent";
}

}  // namespace
}  // namespace qmasq::vbond
