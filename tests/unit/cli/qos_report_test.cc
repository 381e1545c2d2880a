// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <google/protobuf/util/time_util.h>
#include <gtest/gtest.h>

#include <sstream>

#include "cli/qos/report.h"
#include "cli/qos/tree.h"

namespace qmasq::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class QosReport : public ::testing::Test {
 protected:
  std::ostringstream out_;
  std::ostringstream err_;
  Console console_{out_, err_, false, [](const std::string&) { return std::string(); }, {}};
  Shell shell_{console_, {}, {}, {}, false};
};

TEST_F(QosReport, OversubscriptionNamesTheNicBothFiguresAndWhoMaySuffer) {
  google::protobuf::RepeatedPtrField<v1::Oversubscription> nics;
  warn_of_oversubscription(shell_, nics);
  EXPECT_EQ(err_.str(), "");
  v1::Oversubscription& nic = *nics.Add();
  nic.set_host("hosts/hostA");
  nic.set_device("rxe0");
  nic.set_rate_bps(30'000'000);
  nic.set_guaranteed_bps(35'000'000);
  nic.add_may_suffer("vpcs/blue");
  nic.add_may_suffer("vpcs/red/endpoints/a");
  warn_of_oversubscription(shell_, nics);
  EXPECT_EQ(err_.str(),
            "warning: rxe0 of hostA has 30Mbit, and the guarantees there add up to 35Mbit\n"
            "  may get less than promised: blue, red/a\n");
  EXPECT_EQ(out_.str(), "");
  err_.str("");
  nic.clear_device();
  nic.clear_may_suffer();
  nic.set_vpc("vpcs/blue");
  warn_of_oversubscription(shell_, nics);
  EXPECT_EQ(err_.str(),
            "warning: blue may have 30Mbit on hostA, and the guarantees of its endpoints there add "
            "up to 35Mbit\n");
}

TEST_F(QosReport, ALimitThatNobodyEnforcesShows) {
  v1::QosStatus status;
  EXPECT_EQ(qos_cell("", status), "");
  EXPECT_EQ(qos_cell("qosPolicies/gold", status), "gold");
  EXPECT_EQ(qos_status_text("", false, status), "");
  EXPECT_EQ(qos_status_text("", true, status), "");
  EXPECT_EQ(qos_status_text("qosPolicies/gold", false, status), "not reported yet");
  EXPECT_EQ(qos_status_text("qosPolicies/gold", true, status), "no limits to enforce");
  status.set_configured(true);
  status.add_unenforced("maximum of vpcs/blue on rxe0: no backend for this NIC");
  EXPECT_EQ(qos_cell("", status), "VPC's, not enforced");
  EXPECT_EQ(qos_cell("qosPolicies/gold", status), "gold, not enforced");
  EXPECT_EQ(qos_status_text("", true, status),
            "NOT enforced\nmaximum of vpcs/blue on rxe0: no backend for this NIC");
  status.set_enforced(true);
  EXPECT_EQ(qos_cell("", status), "VPC's");
  EXPECT_EQ(qos_cell("qosPolicies/gold", status), "gold");
  EXPECT_EQ(qos_status_text("qosPolicies/gold", true, status), "enforced");
}

v1::QosNode& add(v1::NicQos& nic, v1::QosNode::Kind kind, const std::string& name,
                 std::uint64_t rate_bps, std::uint64_t bytes) {
  v1::QosNode& node = *nic.add_nodes();
  node.set_kind(kind);
  node.set_name(name);
  node.set_enforced(true);
  node.mutable_observed()->set_rate_bps(rate_bps);
  node.mutable_observed()->set_bytes(bytes);
  return node;
}

v1::ShowQosResponse two_hosts() {
  v1::ShowQosResponse answer;
  v1::HostQos& host = *answer.add_hosts();
  host.set_host("hosts/hostA");
  host.set_revision(12);
  *host.mutable_time() = google::protobuf::util::TimeUtil::SecondsToTimestamp(1'000'000'000);
  v1::NicQos& nic = *host.add_nics();
  nic.set_device("rxe0");
  nic.set_netdev("eth1");
  nic.set_rate_bps(30'000'000);
  nic.set_rate_by_admin(true);
  nic.set_backend("tc");
  for (const char* kind : {"guaranteed", "maximum", "burst", "weight"})
    nic.add_capabilities(kind);
  add(nic, v1::QosNode::NIC, "rxe0", 29'800'000, 1'500'000'000);
  v1::QosNode& blue = add(nic, v1::QosNode::VPC, "vpcs/blue", 19'847'213, 1'234'567'890);
  blue.set_policy("qosPolicies/gold");
  blue.mutable_configured()->set_guaranteed_bps(15'000'000);
  blue.mutable_configured()->set_maximum_bps(20'000'000);
  blue.mutable_configured()->set_weight(20);
  blue.mutable_programmed()->set_guaranteed_bps(12'000'000);
  blue.mutable_programmed()->set_maximum_bps(19'999'992);
  v1::QosNode& a =
      add(nic, v1::QosNode::ENDPOINT, "vpcs/blue/endpoints/a", 19'847'213, 1'234'567'890);
  a.mutable_observed()->set_drops(3);
  add(nic, v1::QosNode::OTHER, "", 0, 0);
  v1::NicQos& blind = *host.add_nics();
  blind.set_device("siw0");
  blind.set_rate_bps(1'000'000'000);
  blind.set_message("siw is iWARP: no backend");
  v1::QosNode& red = add(blind, v1::QosNode::VPC, "vpcs/red", 0, 0);
  red.clear_observed();
  red.mutable_configured()->set_maximum_bps(10'000'000);
  red.set_policy("qosPolicies/small");
  red.set_enforced(false);
  red.add_unenforced("maximum: no backend for this NIC");
  v1::QuotaUse& quota = *host.add_quotas();
  quota.set_name("vpcs/blue/endpoints/a");
  quota.set_resource("pinned_bytes");
  quota.set_used(1U << 20U);
  quota.set_limit(1U << 30U);
  quota.set_refused(4);
  v1::QuotaUse& unused = *host.add_quotas();
  unused.set_name("vpcs/blue/endpoints/a");
  unused.set_resource("queue_pairs");
  v1::VerbRateUse& rate = *host.add_verb_rates();
  rate.set_name("vpcs/blue");
  rate.set_verb("queue_pairs");
  rate.set_admitted(7);
  rate.set_refused(2);
  rate.set_per_second(50);
  rate.set_burst(100);
  v1::HostQos& silent = *answer.add_hosts();
  silent.set_host("hosts/hostB");
  silent.set_error("its agent is not connected\033[2J");
  return answer;
}

TEST_F(QosReport, TheTreeSaysWhatIsConfiguredEnforcedAndObserved) {
  print_qos(shell_, two_hosts());
  EXPECT_EQ(
      out_.str(),
      "hostA: revision 12, at 2001-09-09T01:46:40Z\n"
      "rxe0 on eth1: 30Mbit, set by an administrator; tc enforces guaranteed, maximum, burst, "
      "weight\n"
      "NODE          POLICY  GUARANTEED          MAXIMUM  WEIGHT  RATE         BYTES    DROPS  "
      "ENFORCED\n"
      "rxe0          -       -                   -        -       29.8 Mbit/s  1.50 GB  0      -\n"
      "  blue        gold    15Mbit (is 12Mbit)  20Mbit   20      19.8 Mbit/s  1.23 GB  0      "
      "yes\n"
      "    blue/a    -       -                   -        -       19.8 Mbit/s  1.23 GB  3      -\n"
      "  (all else)  -       -                   -        -       0 bit/s      0 B      0      -\n"
      "siw0: 1Gbit; nothing enforces limits\n"
      "  siw is iWARP: no backend\n"
      "NODE   POLICY  GUARANTEED  MAXIMUM  WEIGHT  RATE  BYTES  DROPS  ENFORCED\n"
      "  red  small   -           10Mbit   -       -     -      -      NO: maximum: no backend for "
      "this NIC\n"
      "\n"
      "QUOTA OF  RESOURCE  USED  LIMIT  REFUSED\n"
      "blue/a    pinned    1MiB  1GiB   4\n"
      "\n"
      "RATE OF  VERB  USED  LIMIT           REFUSED\n"
      "blue     qps   7     50/s,burst=100  2\n"
      "\n"
      "hostB: no answer: its agent is not connected?[2J\n");
}

TEST_F(QosReport, OneVpcOfAWholeHost) {
  v1::ShowQosResponse answer = two_hosts();
  v1::HostQos& host = *answer.mutable_hosts(0);
  v1::NicQos& nic = *host.mutable_nics(0);
  add(nic, v1::QosNode::VPC, "vpcs/blueish", 0, 0);
  add(nic, v1::QosNode::ENDPOINT, "vpcs/blueish/endpoints/a", 0, 0);
  keep_vpc("vpcs/blue", host);
  print_qos(shell_, answer);
  EXPECT_THAT(out_.str(), HasSubstr("blue/a"));
  EXPECT_THAT(out_.str(), HasSubstr("siw0: 1Gbit"));
  EXPECT_THAT(out_.str(), Not(HasSubstr("blueish")));
  EXPECT_THAT(out_.str(), Not(HasSubstr("all else")));
  EXPECT_THAT(out_.str(), Not(HasSubstr("red")));
  keep_vpc("vpcs/red", host);
  EXPECT_EQ(host.quotas_size(), 0);
  EXPECT_EQ(host.verb_rates_size(), 0);
}

}  // namespace
}  // namespace qmasq::cli
