// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <google/protobuf/util/time_util.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <fstream>

#include <nlohmann/json.hpp>

#include "common/seen_order.h"
#include "qmasq/v1/agent.grpc.pb.h"
#include "tests/integration/cli/cli_runner.h"
#include "tests/integration/cli/fake_controller.h"
#include "tests/support/temp_dir.h"

// QoS as typed, against a controller and an agent that remember what they were asked.
namespace qmasq::cli::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class QosCommands : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* id : {"gold", "small"})
      controller_.policies[std::string("qosPolicies/") + id].set_name(std::string("qosPolicies/") +
                                                                      id);
    controller_.vpcs["vpcs/blue"].set_name("vpcs/blue");
    controller_.hosts["hosts/hostA"].set_name("hosts/hostA");
    v1::Endpoint& endpoint = controller_.endpoints["vpcs/blue/endpoints/a"];
    endpoint.set_name("vpcs/blue/endpoints/a");
    endpoint.set_host("hosts/hostA");
  }
  Ran run(std::vector<std::string> args) {
    {
      SeenOrder before(&controller_);
      controller_.calls.clear();
    }
    args.insert(args.end(), {"--controller", controller_.address()});
    Ran ran = run_line(std::move(args));
    SeenOrder after(&controller_);
    return ran;
  }
  // `bytes` at `seconds` of hostA, which has one endpoint.
  v1::ShowQosResponse sample(std::int64_t seconds, std::uint64_t bytes) {
    v1::ShowQosResponse out;
    v1::HostQos& host = *out.add_hosts();
    host.set_host("hosts/hostA");
    *host.mutable_time() = google::protobuf::util::TimeUtil::SecondsToTimestamp(seconds);
    v1::NicQos& nic = *host.add_nics();
    nic.set_device("rxe0");
    nic.set_rate_bps(40'000'000);
    v1::QosNode& node = *nic.add_nodes();
    node.set_kind(v1::QosNode::ENDPOINT);
    node.set_name("vpcs/blue/endpoints/a");
    node.set_enforced(true);
    node.mutable_observed()->set_bytes(bytes);
    return out;
  }
  v1::ShowQosResponse silence() {
    v1::ShowQosResponse out;
    out.add_hosts()->set_host("hosts/hostA");
    out.mutable_hosts(0)->set_error("its agent is not connected");
    return out;
  }
  void oversubscribe() {
    v1::Oversubscription nic;
    nic.set_host("hosts/hostA");
    nic.set_device("rxe0");
    nic.set_rate_bps(30'000'000);
    nic.set_guaranteed_bps(35'000'000);
    nic.add_may_suffer("vpcs/blue");
    controller_.oversubscriptions = {nic};
  }
  FakeController controller_;
};

constexpr const char* kWarning =
    "warning: rxe0 of hostA has 30Mbit, and the guarantees there add up to 35Mbit\n"
    "  may get less than promised: blue\n";

TEST_F(QosCommands, APolicyAsTyped) {
  Ran made = run({"qos",          "policy",     "create",        "big",
                  "--guaranteed", "15Mbit",     "--maximum",     "20Mbit",
                  "--burst",      "64KiB",      "--weight",      "20",
                  "--dscp",       "ef",         "--quota",       "qps=100,pinned=1GiB",
                  "--quota",      "mrs=7",      "--rate",        "qps=50/s,burst=100",
                  "--rate",       "verbs=1000", "--description", "Trainers",
                  "--request-id", "id-1"});
  ASSERT_EQ(made.code, 0) << made.err;
  const v1::QosPolicy& sent = controller_.create_policy.qos_policy();
  EXPECT_EQ(controller_.create_policy.qos_policy_id(), "big");
  EXPECT_EQ(controller_.create_policy.request_id(), "id-1");
  EXPECT_EQ(sent.guaranteed_bps(), 15'000'000U);
  EXPECT_EQ(sent.quotas().memory_regions(), 7U);
  EXPECT_EQ(sent.verb_rates().queue_pairs().burst(), 100U);
  EXPECT_EQ(made.out,
            "NAME  GUARANTEED  MAXIMUM  BURST  WEIGHT  DSCP  QUOTAS                     "
            "RATES                            VPCS  ENDPOINTS  DESCRIPTION\n"
            "big   15Mbit      20Mbit   64KiB  20      46    qps=100,mrs=7,pinned=1GiB  "
            "qps=50/s,burst=100 verbs=1000/s  0     0          Trainers\n");
  EXPECT_THAT(run({"qos", "policy", "get", "big"}).out,
              HasSubstr("DSCP:            46 (ef)\n"
                        "Quotas:          qps=100\n"
                        "                 mrs=7\n"
                        "                 pinned=1GiB\n"
                        "Rates of verbs:  qps=50/s,burst=100\n"));
  EXPECT_THAT(run({"qos", "policy", "list"}).out, HasSubstr("\nsmall  -"));
  EXPECT_EQ(
      nlohmann::json::parse(run({"qos", "policy", "list", "-o", "json"}).out)["qosPolicies"].size(),
      3U);
  EXPECT_EQ(run({"qos", "policy", "delete", "qosPolicies/big", "--etag", "e1"}).out,
            "deleted qosPolicies/big\n");
  EXPECT_EQ(controller_.delete_policy.etag(), "e1");
  controller_.policies.clear();
  EXPECT_EQ(run({"qos", "policy", "list"}).err, "no QoS policies\n");
}

TEST_F(QosCommands, APolicyOfAFile) {
  qmasq::testing::TempDir folder;
  const std::string path = folder.file("gold.yaml");
  std::ofstream(path) << "maximum: 20Mbit\nquotas: {qps: 3}\n";
  ASSERT_EQ(run({"qos", "policy", "create", "big", "-f", path}).code, 0);
  EXPECT_EQ(controller_.create_policy.qos_policy().maximum_bps(), 20'000'000U);
  ASSERT_EQ(run({"qos", "policy", "update", "gold", "-f", path}).code, 0);
  EXPECT_THAT(controller_.update_policy.update_mask().paths(),
              ElementsAre("maximum_bps", "quotas.queue_pairs"));
  std::ofstream(path) << "maximum: 20\n";
  Ran wrong = run({"qos", "policy", "update", "gold", "-f", path});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("gold.yaml:1: maximum: '20' is not a rate"));
  EXPECT_THAT(controller_.calls, IsEmpty());
}

TEST_F(QosCommands, AnUpdateChangesOnlyWhatIsNamed) {
  oversubscribe();
  Ran ran = run({"qos", "policy", "update", "gold", "--maximum", "none", "--guaranteed", "10Mbit",
                 "--quota", "qps=none,cqs=5", "--force", "--etag", "e7", "--validate-only"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const v1::UpdateQosPolicyRequest& sent = controller_.update_policy;
  EXPECT_THAT(sent.update_mask().paths(),
              ElementsAre("guaranteed_bps", "maximum_bps", "quotas.queue_pairs",
                          "quotas.completion_queues"));
  EXPECT_EQ(sent.qos_policy().name(), "qosPolicies/gold");
  EXPECT_EQ(sent.qos_policy().etag(), "e7");
  EXPECT_FALSE(sent.qos_policy().has_maximum_bps());
  EXPECT_FALSE(sent.qos_policy().quotas().has_queue_pairs());
  EXPECT_EQ(sent.qos_policy().quotas().completion_queues(), 5U);
  EXPECT_TRUE(sent.force());
  EXPECT_TRUE(sent.validate_only());
  EXPECT_EQ(ran.err, std::string(kWarning) + "valid; nothing was changed\n");
}

TEST_F(QosCommands, AttachedByOptionOrByCommand) {
  oversubscribe();
  Ran vpc = run({"vpc", "update", "blue", "--qos", "gold", "--force"});
  ASSERT_EQ(vpc.code, 0) << vpc.err;
  EXPECT_EQ(vpc.err, kWarning);
  EXPECT_EQ(controller_.update_vpc.vpc().qos_policy(), "qosPolicies/gold");
  EXPECT_THAT(controller_.update_vpc.update_mask().paths(), ElementsAre("qos_policy"));
  EXPECT_TRUE(controller_.update_vpc.force());
  ASSERT_EQ(run({"vpc", "update", "blue", "--qos", "none"}).code, 0);
  EXPECT_EQ(controller_.update_vpc.vpc().qos_policy(), "");
  EXPECT_THAT(controller_.update_vpc.update_mask().paths(), ElementsAre("qos_policy"));
  EXPECT_FALSE(controller_.update_vpc.force());
  ASSERT_EQ(run({"vpc", "create", "red", "--range", "10.0.0.0/24", "--qos", "small"}).code, 0);
  EXPECT_EQ(controller_.create_vpc.vpc().qos_policy(), "qosPolicies/small");

  ASSERT_EQ(
      run({"endpoint", "create", "blue/b", "--host", "hostA", "--qos", "small", "--force"}).code,
      0);
  EXPECT_EQ(controller_.create_endpoint.endpoint().qos_policy(), "qosPolicies/small");
  EXPECT_TRUE(controller_.create_endpoint.force());
  Ran endpoint = run({"qos", "attach", "small", "blue/a", "--force", "--etag", "e3"});
  ASSERT_EQ(endpoint.code, 0) << endpoint.err;
  EXPECT_EQ(endpoint.err, kWarning);
  EXPECT_EQ(controller_.update_endpoint.endpoint().qos_policy(), "qosPolicies/small");
  EXPECT_EQ(controller_.update_endpoint.endpoint().etag(), "e3");
  EXPECT_THAT(controller_.update_endpoint.update_mask().paths(), ElementsAre("qos_policy"));
  EXPECT_TRUE(controller_.update_endpoint.force());
  ASSERT_EQ(run({"qos", "detach", "vpcs/blue/endpoints/a"}).code, 0);
  EXPECT_EQ(controller_.update_endpoint.endpoint().qos_policy(), "");
  ASSERT_EQ(run({"qos", "attach", "gold", "blue"}).code, 0);
  EXPECT_EQ(controller_.update_vpc.vpc().qos_policy(), "qosPolicies/gold");
  ASSERT_EQ(run({"qos", "detach", "blue"}).code, 0);
  EXPECT_EQ(controller_.update_vpc.vpc().qos_policy(), "");
}

TEST_F(QosCommands, UnknownNamesSuggestNearOnes) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"vpc", "update", "blue", "--qos", "glod"}, "gold"},
      {{"vpc", "create", "red", "--range", "10.0.0.0/24", "--qos", "golf"}, "gold"},
      {{"endpoint", "update", "blue/a", "--qos", "smal"}, "small"},
      {{"qos", "attach", "goldd", "blue"}, "gold"},
      {{"qos", "attach", "gold", "bleu"}, "blue"},
      {{"qos", "detach", "blue/aa"}, "blue/a"},
      {{"qos", "policy", "get", "Gold"}, ""},
      {{"qos", "policy", "get", "gold1"}, "gold"},
      {{"qos", "policy", "update", "smalll", "--weight", "2"}, "small"},
      {{"qos", "policy", "delete", "sma"}, "small"},
      {{"qos", "show", "--vpc", "blu"}, "blue"},
      {{"qos", "show", "--host", "hosta"}, "hostA"},
      {{"top", "--vpc", "blue1"}, "blue"},
      {{"host", "update", "hosta", "--nic-rate", "rxe0=1Gbit"}, "hostA"},
  };
  for (const auto& [line, name] : cases) {
    Ran ran = run(line);
    EXPECT_EQ(ran.out, "") << ran.err;
    if (name.empty()) {
      EXPECT_EQ(ran.code, 2) << ran.err;
      continue;
    }
    EXPECT_EQ(ran.code, 1) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr("Did you mean " + name + "?")) << ::testing::PrintToString(line);
  }
}

TEST_F(QosCommands, TablesShowPolicyAndWhetherItHolds) {
  controller_.vpcs["vpcs/blue"].set_qos_policy("qosPolicies/gold");
  controller_.vpcs["vpcs/blue"].set_vni(4096);
  EXPECT_EQ(run({"vpc", "list"}).out,
            "NAME  VNI   RANGES  MTU   QOS   DESCRIPTION\n"
            "blue  4096  -       auto  gold  -\n");
  Ran unreported = run({"vpc", "get", "blue"});
  EXPECT_THAT(unreported.out, HasSubstr("QoS policy:  gold\n"
                                        "QoS:         not reported yet for 1 of 1 endpoints\n"));
  v1::Endpoint& a = controller_.endpoints["vpcs/blue/endpoints/a"];
  a.mutable_status()->mutable_qos()->set_configured(true);
  a.mutable_status()->mutable_qos()->add_unenforced("maximum of vpcs/blue on rxe0: no backend");
  v1::Endpoint& b = controller_.endpoints["vpcs/blue/endpoints/b"];
  b = a;
  b.set_name("vpcs/blue/endpoints/b");
  b.mutable_status()->mutable_qos()->set_enforced(true);
  EXPECT_THAT(run({"vpc", "get", "blue"}).out,
              HasSubstr("QoS:         enforced for 1 of 2 endpoints\n"
                        "             NOT enforced for blue/a: maximum of vpcs/blue on rxe0: no "
                        "backend\n"));
  EXPECT_THAT(run({"endpoint", "list"}).out, HasSubstr("  VPC's, not enforced  "));
  EXPECT_THAT(run({"endpoint", "get", "blue/a"}).out,
              HasSubstr("NOT enforced\n              maximum of vpcs/blue on rxe0: no backend\n"));
  controller_.vpcs["vpcs/blue"].clear_qos_policy();
  EXPECT_THAT(run({"vpc", "get", "blue"}).out, Not(HasSubstr("QoS")));
  EXPECT_THAT(controller_.calls, ElementsAre("GetVpc"));
}

TEST_F(QosCommands, NicRatesOfAHost) {
  v1::Host& host = controller_.hosts["hosts/hostA"];
  host.set_etag("e1");
  v1::Nic& nic = *host.add_nics();
  nic.set_device("rxe0");
  nic.set_active(true);
  nic.set_primary_gid("0000:0000:0000:0000:0000:ffff:c000:0201");
  for (const char* device : {"rxe0", "rxe9"}) {
    v1::NicRate& rate = *host.add_nic_rates();
    rate.set_device(device);
    rate.set_rate_bps(30'000'000);
  }
  EXPECT_THAT(run({"host", "list"}).out, HasSubstr("  rxe0=30Mbit  "));
  EXPECT_THAT(run({"host", "get", "hostA"}).out, HasSubstr("rxe0=30Mbit\n"));
  EXPECT_THAT(run({"host", "get", "hostA"}).out, HasSubstr("rxe9=30Mbit (no such NIC)\n"));

  oversubscribe();
  Ran ran = run({"host", "update", "hostA", "--nic-rate", "rxe9=none,rxe1=1.5Gbit", "--force"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.err, kWarning);
  const v1::UpdateHostRequest& sent = controller_.update_host;
  EXPECT_THAT(sent.update_mask().paths(), ElementsAre("nic_rates"));
  ASSERT_EQ(sent.host().nic_rates_size(), 2);
  EXPECT_EQ(sent.host().nic_rates(0).device(), "rxe0");
  EXPECT_EQ(sent.host().nic_rates(0).rate_bps(), 30'000'000U);
  EXPECT_EQ(sent.host().nic_rates(1).device(), "rxe1");
  EXPECT_EQ(sent.host().nic_rates(1).rate_bps(), 1'500'000'000U);
  EXPECT_EQ(sent.host().etag(), "e1");
  EXPECT_TRUE(sent.force());
}

TEST_F(QosCommands, SomebodyElseWhoWasFasterKeepsHisNicRates) {
  v1::Host& host = controller_.hosts["hosts/hostA"];
  host.set_etag("e1");
  int reads = 0;
  controller_.after_get_host = [&] {
    if (++reads != 1) return;
    host.set_etag("e2");
    v1::NicRate& rate = *host.add_nic_rates();
    rate.set_device("theirs0");
    rate.set_rate_bps(7'000);
  };
  Ran ran = run({"host", "update", "hostA", "--nic-rate", "rxe0=30Mbit"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  ASSERT_EQ(controller_.update_host.host().nic_rates_size(), 2);
  EXPECT_EQ(controller_.update_host.host().nic_rates(1).device(), "theirs0");
  // An etag that was typed is a condition.
  Ran stale = run({"host", "update", "hostA", "--nic-rate", "rxe0=30Mbit", "--etag", "e1"});
  EXPECT_EQ(stale.code, 1);
  EXPECT_THAT(stale.err, HasSubstr("etag: hosts/hostA has changed"));
}

TEST_F(QosCommands, ShowNamesHostsThatDidNotAnswer) {
  controller_.qos = {sample(1, 1000)};
  Ran all = run({"qos", "show", "--vpc", "blue", "--host", "hosts/hostA"});
  EXPECT_EQ(all.code, 0) << all.err;
  EXPECT_EQ(controller_.show_qos.vpc(), "vpcs/blue");
  EXPECT_EQ(controller_.show_qos.host(), "hosts/hostA");
  EXPECT_THAT(all.out, HasSubstr("    blue/a  -"));
  *controller_.qos[0].add_hosts() = silence().hosts(0);
  Ran partly = run({"qos", "show"});
  EXPECT_EQ(partly.code, 4);
  EXPECT_THAT(partly.out, HasSubstr("    blue/a  -"));
  EXPECT_THAT(partly.out, HasSubstr("hostA: no answer: its agent is not connected\n"));
  EXPECT_EQ(partly.err, "qmasq: no answer from hostA\n");
  Ran json = run({"qos", "show", "-o", "json"});
  EXPECT_EQ(json.code, 4);
  EXPECT_EQ(nlohmann::json::parse(json.out)["hosts"][1]["error"], "its agent is not connected");
  controller_.qos.clear();
  EXPECT_EQ(run({"qos", "show"}).err, "no hosts with limits\n");
}

TEST_F(QosCommands, TopPrintsBlocksThatEnd) {
  controller_.qos = {sample(1, 0), sample(2, 1'250'000), silence()};
  Ran ran = run({"top", "--interval", "100ms", "--count", "2"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out,
            "1970-01-01T00:00:02Z  endpoints 1, hosts 1, together 10.0 Mbit/s\n"
            "ENDPOINT  HOST   NIC   RATE         SHARE  LIMIT  THROTTLED\n"
            "blue/a    hostA  rxe0  10.0 Mbit/s  25.0%  -      0/s\n"
            "\n"
            "endpoints 0, hosts 0, together 0 bit/s\n"
            "ENDPOINT  HOST  NIC  RATE  SHARE  LIMIT  THROTTLED\n"
            "hostA: no answer: its agent is not connected\n");
  controller_.qos = {sample(1, 0), sample(2, 1'250'000)};
  Ran json = run({"top", "--interval", "100ms", "--count", "1", "-o", "json"});
  auto line = nlohmann::json::parse(json.out);
  EXPECT_EQ(line["endpoints"][0]["rateBps"], 10e6);
  EXPECT_TRUE(line["endpoints"][0]["limitBps"].is_null());
}

TEST_F(QosCommands, TopOnATerminalWritesOverItself) {
  controller_.qos = {sample(1, 0), sample(2, 1'250'000), sample(3, 1'250'000)};
  std::ostringstream out;
  std::ostringstream err;
  Console console{out, err, false, [](const std::string&) { return std::string(); }, {}};
  console.terminal = [] { return TerminalSize{24, 20}; };
  EXPECT_EQ(
      run_cli({"top", "--interval", "100ms", "--count", "2", "--controller", controller_.address()},
              console),
      0);
  SeenOrder after(&controller_);
  EXPECT_EQ(out.str(),
            "\033[H\033[2J"
            "1970-01-01T00:00:02Z\033[K\n"
            "ENDPOINT  HOST   NIC\033[K\n"
            "blue/a    hostA  rxe\033[K\n"
            "\033[J"
            "\033[H"
            "1970-01-01T00:00:03Z\033[K\n"
            "ENDPOINT  HOST   NIC\033[K\n"
            "blue/a    hostA  rxe\033[K\n"
            "\033[J");
}

TEST_F(QosCommands, PoliciesAreCandidates) {
  EXPECT_EQ(run({"__complete", "POLICY", "none"}).out, "gold\nsmall\nnone\n");
  EXPECT_EQ(run({"__complete", "VPC", "ENDPOINT"}).out, "blue\nblue/a\n");
}

class FakeQosAgent final : public v1::AgentService::Service {
 public:
  grpc::Status GetQos(grpc::ServerContext*, const v1::GetQosRequest*, v1::HostQos* out) override {
    SeenOrder order(this);
    *out = qos;
    return grpc::Status::OK;
  }
  v1::HostQos qos;
};

TEST_F(QosCommands, LocalAsksTheAgentAlone) {
  qmasq::testing::TempDir folder;
  FakeQosAgent agent;
  agent.qos = sample(1, 1000).hosts(0);
  agent.qos.mutable_nics(0)->add_nodes()->set_name("vpcs/red/endpoints/x");
  agent.qos.mutable_nics(0)->mutable_nodes(1)->set_kind(v1::QosNode::ENDPOINT);
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + folder.file("vbond.sock"), grpc::InsecureServerCredentials());
  builder.RegisterService(&agent);
  auto server = builder.BuildAndStart();
  { SeenOrder before(&agent); }
  Ran ran = run_line({"qos", "show", "--local", "--agent-socket-dir", folder.path(), "--controller",
                      "/nonexistent"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("    red/x"));
  Ran blue =
      run_line({"qos", "show", "--local", "--vpc", "blue", "--agent-socket-dir", folder.path()});
  EXPECT_THAT(blue.out, HasSubstr("    blue/a"));
  EXPECT_THAT(blue.out, Not(HasSubstr("red/x")));
  Ran top = run_line({"top", "--local", "--count", "1", "--interval", "100ms", "--agent-socket-dir",
                      folder.path()});
  EXPECT_EQ(top.code, 0) << top.err;
  EXPECT_THAT(top.out, HasSubstr("endpoints 2, hosts 1"));
  server->Shutdown();
}

}  // namespace
}  // namespace qmasq::cli::testing
