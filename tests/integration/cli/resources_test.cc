// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/seen_order.h"
#include "tests/integration/cli/cli_runner.h"
#include "tests/integration/cli/fake_controller.h"

namespace qmasq::cli::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Resources : public ::testing::Test {
 protected:
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
  void add_vpc(const std::string& id, std::uint32_t vni) {
    v1::Vpc& vpc = controller_.vpcs["vpcs/" + id];
    vpc.set_name("vpcs/" + id);
    vpc.set_vni(vni);
    vpc.add_ranges("10.0.0.0/24");
  }
  void add_host(const std::string& id) {
    v1::Host& host = controller_.hosts["hosts/" + id];
    host.set_name("hosts/" + id);
  }
  void add_endpoint(const std::string& vpc, const std::string& id) {
    std::string name = "vpcs/" + vpc + "/endpoints/" + id;
    v1::Endpoint& endpoint = controller_.endpoints[name];
    endpoint.set_name(name);
    endpoint.set_host("hosts/hostA");
    endpoint.add_addresses("10.0.0.1");
    endpoint.set_mac("02:71:00:00:00:01");
  }
  void roll_out(const std::string& host, v1::HostRollout::State state, std::uint64_t applied,
                const std::string& reason = "") {
    auto* one = controller_.rollout.add_hosts();
    one->set_host("hosts/" + host);
    one->set_state(state);
    one->set_applied_revision(applied);
    one->set_reason(reason);
  }
  FakeController controller_;
};

TEST_F(Resources, CreateVpcSendsWhatWasTypedAndShowsWhatWasMade) {
  Ran ran = run({"vpc", "create", "vpcs/blue", "--range", "10.0.0.0/24,10.1.0.0/24", "--range",
                 "fd00::/64", "--vni", "5000", "--mtu", "1400", "--description", "Training",
                 "--request-id", "id-1"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const auto& sent = controller_.create_vpc;
  EXPECT_EQ(sent.vpc_id(), "blue");
  EXPECT_THAT(sent.vpc().ranges(), ElementsAre("10.0.0.0/24", "10.1.0.0/24", "fd00::/64"));
  EXPECT_EQ(sent.vpc().vni(), 5000U);
  EXPECT_EQ(sent.vpc().mtu(), 1400U);
  EXPECT_EQ(sent.vpc().description(), "Training");
  EXPECT_EQ(sent.request_id(), "id-1");
  EXPECT_FALSE(sent.validate_only());
  EXPECT_EQ(ran.out,
            "NAME  VNI   RANGES                             MTU   QOS  DESCRIPTION\n"
            "blue  5000  10.0.0.0/24,10.1.0.0/24,fd00::/64  1400  -    Training\n");
  EXPECT_EQ(ran.err, "");
}

TEST_F(Resources, ValidateOnlyChangesNothingAndSaysSo) {
  Ran ran = run({"vpc", "create", "blue", "--range", "10.0.0.0/24", "--validate-only"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_TRUE(controller_.create_vpc.validate_only());
  EXPECT_THAT(controller_.vpcs, IsEmpty());
  EXPECT_EQ(ran.err, "valid; nothing was changed\n");
}

TEST_F(Resources, ARefusalNamesFieldAndReason) {
  add_vpc("blue", 4096);
  Ran taken = run({"vpc", "create", "blue", "--range", "10.0.0.0/24"});
  EXPECT_EQ(taken.code, 1);
  EXPECT_EQ(taken.out, "");
  EXPECT_EQ(taken.err, "qmasq: vpc_id: vpcs/blue exists\n");
  controller_.fail = [] {
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "vpc.ranges[1]: overlaps\n\033[2J");
  };
  EXPECT_EQ(run({"vpc", "list"}).err, "qmasq: vpc.ranges[1]: overlaps??[2J\n");
}

TEST_F(Resources, ListReadsAllPages) {
  for (int i = 0; i < 25; ++i)
    add_vpc("v" + std::to_string(100 + i), 4096);
  Ran ran = run({"vpc", "list", "--page-size", "10", "--filter", "name=vpcs/v*"});
  EXPECT_EQ(std::count(ran.out.begin(), ran.out.end(), '\n'), 26);
  EXPECT_EQ(controller_.calls.size(), 3U);
  EXPECT_EQ(controller_.list_vpcs.filter(), "name=vpcs/v*");
  EXPECT_EQ(controller_.list_vpcs.page_size(), 10);
  auto json = nlohmann::json::parse(run({"vpc", "list", "-o", "json"}).out);
  EXPECT_EQ(json["vpcs"].size(), 25U);
  EXPECT_EQ(json["vpcs"][24]["name"], "vpcs/v124");
}

TEST_F(Resources, EmptyListsAreAWordOnStandardError) {
  Ran table = run({"vpc", "list"});
  EXPECT_EQ(table.code, 0);
  EXPECT_EQ(table.out, "");
  EXPECT_EQ(table.err, "no VPCs\n");
  EXPECT_EQ(run({"vpc", "list", "-o", "json"}).out, "{\n  \"vpcs\": []\n}\n");
  EXPECT_EQ(run({"host", "list", "-o", "yaml"}).out, "hosts: []\n");
  add_vpc("blue", 1);
  EXPECT_EQ(run({"endpoint", "list", "--vpc", "blue"}).err, "no endpoints in VPC blue\n");
}

TEST_F(Resources, UnknownNamesSuggestNearOnes) {
  add_vpc("blue", 1);
  add_host("hostA");
  add_endpoint("blue", "db-1");
  Ran vpc = run({"vpc", "get", "bleu"});
  EXPECT_EQ(vpc.code, 1);
  EXPECT_EQ(vpc.err, "qmasq: name: there is no vpcs/bleu\n  Did you mean blue?\n");
  EXPECT_THAT(run({"vpc", "delete", "blu"}).err, HasSubstr("Did you mean blue?"));
  EXPECT_THAT(run({"host", "get", "hosta"}).err, HasSubstr("Did you mean hostA?"));
  EXPECT_THAT(run({"endpoint", "get", "blue/db1"}).err, HasSubstr("Did you mean blue/db-1?"));
  EXPECT_THAT(run({"endpoint", "list", "--vpc", "blu"}).err, HasSubstr("Did you mean blue?"));
  EXPECT_THAT(run({"endpoint", "create", "blue/x", "--host", "hostB"}).err,
              HasSubstr("Did you mean hostA?"));
  EXPECT_THAT(run({"endpoint", "create", "blu/x", "--host", "hostA"}).err,
              HasSubstr("Did you mean blue?"));
  EXPECT_EQ(run({"vpc", "get", "entirely-else"}).err,
            "qmasq: name: there is no vpcs/entirely-else\n");
}

TEST_F(Resources, GetShowsEverythingInEachForm) {
  add_vpc("blue", 4096);
  Ran table = run({"vpc", "get", "blue"});
  EXPECT_THAT(table.out, HasSubstr("Name:      vpcs/blue\n"));
  EXPECT_THAT(table.out, HasSubstr("MTU:       auto\n"));
  EXPECT_EQ(nlohmann::json::parse(run({"vpc", "get", "blue", "-o", "json"}).out)["vni"], 4096);
  EXPECT_THAT(run({"vpc", "get", "blue", "-o", "yaml"}).out,
              ::testing::StartsWith("name: vpcs/blue\n"));
}

TEST_F(Resources, UpdateSendsOnlyWhatWasGiven) {
  add_vpc("blue", 1);
  Ran ran = run({"vpc", "update", "blue", "--description", "", "--etag", "e7"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(controller_.update_vpc.update_mask().paths(), ElementsAre("description"));
  EXPECT_EQ(controller_.update_vpc.vpc().etag(), "e7");
  EXPECT_EQ(controller_.update_vpc.vpc().name(), "vpcs/blue");

  add_endpoint("blue", "a");
  ran = run({"endpoint", "update", "blue/a", "--address", "10.0.0.7,10.0.0.8", "--host", "hostB"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  const auto& sent = controller_.update_endpoint;
  EXPECT_THAT(sent.update_mask().paths(), ElementsAre("host", "addresses"));
  EXPECT_THAT(sent.endpoint().addresses(), ElementsAre("10.0.0.7", "10.0.0.8"));
  EXPECT_EQ(sent.endpoint().host(), "hosts/hostB");

  add_host("hostA");
  ran = run({"host", "update", "hostA", "--description", "Rack 5"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(controller_.update_host.update_mask().paths(), ElementsAre("description"));
}

TEST_F(Resources, EndpointsInEveryForm) {
  add_vpc("blue", 1);
  add_host("hostA");
  Ran made = run({"endpoint", "create", "blue/a", "--host", "hostA", "--address", "10.0.0.1",
                  "--address", "fd00::1", "--mac", "02:00:00:00:00:01"});
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(controller_.create_endpoint.parent(), "vpcs/blue");
  EXPECT_EQ(controller_.create_endpoint.endpoint_id(), "a");
  EXPECT_EQ(controller_.create_endpoint.endpoint().host(), "hosts/hostA");
  EXPECT_THAT(controller_.create_endpoint.endpoint().addresses(),
              ElementsAre("10.0.0.1", "fd00::1"));
  EXPECT_EQ(
      made.out,
      "NAME    HOST   ADDRESSES         MAC                GROUPS  QOS  STATE    PROGRAMS  QPS  "
      "MESSAGE\n"
      "blue/a  hostA  10.0.0.1,fd00::1  02:00:00:00:00:01  -       -    unknown  0         0    "
      "-\n");
  EXPECT_THAT(run({"endpoint", "get", "vpcs/blue/endpoints/a"}).out,
              HasSubstr("Addresses:    10.0.0.1\n              fd00::1\n"));
  run({"endpoint", "list"});
  EXPECT_EQ(controller_.list_endpoints.parent(), "vpcs/-");
  run({"endpoint", "list", "--vpc", "vpcs/blue"});
  EXPECT_EQ(controller_.list_endpoints.parent(), "vpcs/blue");
  Ran gone = run({"endpoint", "delete", "blue/a", "--force", "--etag", "x"});
  EXPECT_EQ(gone.out, "deleted vpcs/blue/endpoints/a\n");
  EXPECT_TRUE(controller_.delete_endpoint.force());
  EXPECT_EQ(controller_.delete_endpoint.etag(), "x");
}

TEST_F(Resources, HostsShowStateAndLag) {
  add_host("hostA");
  v1::Host& host = controller_.hosts["hosts/hostA"];
  host.set_underlay_address("192.0.2.1");
  host.mutable_status()->set_state(v1::HostStatus::ONLINE);
  host.mutable_status()->set_applied_revision(9);
  host.mutable_status()->set_current_revision(12);
  host.mutable_status()->set_guard("broken: no BTF");
  auto* nic = host.add_nics();
  nic->set_device("rxe0");
  nic->set_active(true);
  nic->set_primary_gid("0000:0000:0000:0000:0000:ffff:c000:0201");
  Ran ran = run({"host", "list"});
  EXPECT_EQ(ran.out,
            "NAME   STATE   UNDERLAY   NICS  APPLIED  AGENT  GUARD   DESCRIPTION\n"
            "hostA  online  192.0.2.1  rxe0  9 of 12  -      broken  -\n");
  EXPECT_THAT(run({"host", "get", "hostA"}).out, HasSubstr("broken: no BTF"));
  EXPECT_THAT(run({"host", "get", "hostA"}).out, HasSubstr("GID 192.0.2.1"));
}

TEST_F(Resources, WaitSaysWhoHasAppliedIt) {
  add_vpc("blue", 1);
  controller_.rollout.set_complete(true);
  roll_out("hostA", v1::HostRollout::APPLIED, 9);
  roll_out("hostB", v1::HostRollout::APPLIED, 9);
  Ran ran = run({"vpc", "delete", "blue", "--wait", "5s"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.err, "applied by hostA, hostB\n");
  EXPECT_EQ(controller_.wait_rollout.revision(), 9U);
  EXPECT_EQ(controller_.wait_rollout.timeout().seconds(), 5);
}

TEST_F(Resources, WaitAloneTakesThirtySecondsAndNoNeighbour) {
  add_vpc("blue", 1);
  controller_.rollout.set_complete(true);
  Ran ran = run({"vpc", "delete", "--wait", "blue"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(controller_.wait_rollout.timeout().seconds(), 30);
  EXPECT_EQ(ran.err, "no host is concerned\n");
}

TEST_F(Resources, WaitIncompleteExitsWithFourAndNamesHosts) {
  add_vpc("blue", 1);
  roll_out("hostA", v1::HostRollout::APPLIED, 9);
  roll_out("hostB", v1::HostRollout::OFFLINE, 3);
  roll_out("hostC", v1::HostRollout::REJECTED, 8, "no VNI left");
  roll_out("hostD", v1::HostRollout::PENDING, 7);
  Ran ran = run({"vpc", "delete", "blue", "--wait=0"});
  EXPECT_EQ(ran.code, 4);
  EXPECT_EQ(ran.out, "deleted vpcs/blue\n");
  EXPECT_EQ(ran.err,
            "qmasq: the change is made, but revision 9 is not yet applied by hostB (offline, holds "
            "revision 3), hostC (rejected it: no VNI left), hostD (holds revision 7)\n"
            "  Applied by hostA.\n");
}

TEST_F(Resources, LongWaitsAreAskedInSlices) {
  add_vpc("blue", 1);
  roll_out("hostB", v1::HostRollout::PENDING, 3);
  Ran ran = run({"vpc", "delete", "blue", "--wait", "12m"});
  EXPECT_EQ(ran.code, 4);
  EXPECT_THAT(controller_.calls,
              ElementsAre("DeleteVpc", "WaitRollout", "WaitRollout", "WaitRollout"));
  EXPECT_EQ(controller_.wait_rollout.timeout().seconds(), 120);
}

TEST_F(Resources, AControllerThatDoesNotAnswerIsNamed) {
  controller_.fail = [] {
    return grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "Deadline Exceeded");
  };
  Ran ran = run({"vpc", "list", "--timeout", "50ms"});
  EXPECT_EQ(ran.code, 3);
  EXPECT_THAT(ran.err, HasSubstr(controller_.address() + " within 50 ms"));
}

}  // namespace
}  // namespace qmasq::cli::testing
