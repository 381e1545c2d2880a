// SPDX-License-Identifier: Apache-2.0
// QoS over the real sockets: policies and who has them, each refusal with its field, what agents
// are told, and what they are asked.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/integration/controller/controller_process.h"
#include "tests/integration/controller/fake_agent.h"

namespace qmasq::controller {
namespace {

using testing::Client;
using testing::ControllerProcess;
using ::testing::ElementsAre;
using testing::FakeAgent;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using Code = grpc::StatusCode;

constexpr std::uint64_t kMbit = 1'000'000;
constexpr const char* kUuid = "123e4567-e89b-12d3-a456-426614174001";

class QosTest : public ::testing::Test {
 protected:
  // Agents of these tests send no heartbeats.
  void SetUp() override {
    process_.start({"--heartbeat-ms", "60000"});
    client_ = std::make_unique<Client>(process_);
  }
  static void refused(const grpc::Status& status, Code code, const std::string& field,
                      const std::string& reason) {
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    EXPECT_THAT(status.error_message(), StartsWith(field + ": "));
    EXPECT_THAT(status.error_message(), HasSubstr(reason));
  }
  static void works(const grpc::Status& status) {
    EXPECT_TRUE(status.ok()) << status.error_message();
  }

  grpc::Status create(const std::string& id, const v1::QosPolicy& policy,
                      v1::QosPolicy* out = nullptr) {
    v1::CreateQosPolicyRequest request;
    request.set_qos_policy_id(id);
    *request.mutable_qos_policy() = policy;
    v1::QosPolicy ignored;
    return client_->qos->CreateQosPolicy(Client::context().get(), request,
                                         out != nullptr ? out : &ignored);
  }
  grpc::Status update(const v1::QosPolicy& policy, const std::vector<std::string>& mask,
                      v1::QosPolicy* out, bool force = false, bool validate_only = false) {
    v1::UpdateQosPolicyRequest request;
    *request.mutable_qos_policy() = policy;
    for (const auto& path : mask)
      request.mutable_update_mask()->add_paths(path);
    request.set_force(force);
    request.set_validate_only(validate_only);
    out->Clear();
    return client_->qos->UpdateQosPolicy(Client::context().get(), request, out);
  }
  v1::QosPolicy get(const std::string& id) {
    v1::GetQosPolicyRequest request;
    request.set_name("qosPolicies/" + id);
    v1::QosPolicy out;
    works(client_->qos->GetQosPolicy(Client::context().get(), request, &out));
    return out;
  }
  grpc::Status remove(const std::string& id, v1::DeleteQosPolicyResponse* out,
                      const std::string& etag = "") {
    v1::DeleteQosPolicyRequest request;
    request.set_name("qosPolicies/" + id);
    request.set_etag(etag);
    return client_->qos->DeleteQosPolicy(Client::context().get(), request, out);
  }
  grpc::Status give_vpc(const std::string& id, const std::string& policy, v1::Vpc* out,
                        bool force = false, bool validate_only = false) {
    v1::UpdateVpcRequest request;
    request.mutable_vpc()->set_name("vpcs/" + id);
    request.mutable_vpc()->set_qos_policy(policy);
    request.mutable_update_mask()->add_paths("qos_policy");
    request.set_force(force);
    request.set_validate_only(validate_only);
    out->Clear();
    return client_->vpcs->UpdateVpc(Client::context().get(), request, out);
  }
  grpc::Status give_endpoint(const std::string& name, const std::string& policy, v1::Endpoint* out,
                             bool force = false) {
    v1::UpdateEndpointRequest request;
    request.mutable_endpoint()->set_name(name);
    request.mutable_endpoint()->set_qos_policy(policy);
    request.mutable_update_mask()->add_paths("qos_policy");
    request.set_force(force);
    out->Clear();
    return client_->endpoints->UpdateEndpoint(Client::context().get(), request, out);
  }
  grpc::Status add_endpoint(const std::string& vpc, const std::string& id, const std::string& host,
                            const std::string& policy, v1::Endpoint* out, bool force = false,
                            bool validate_only = false) {
    v1::CreateEndpointRequest request;
    request.set_parent("vpcs/" + vpc);
    request.set_endpoint_id(id);
    request.mutable_endpoint()->set_host("hosts/" + host);
    request.mutable_endpoint()->set_qos_policy(policy);
    request.set_force(force);
    request.set_validate_only(validate_only);
    out->Clear();
    return client_->endpoints->CreateEndpoint(Client::context().get(), request, out);
  }
  grpc::Status set_rates(const std::string& host,
                         const std::vector<std::pair<std::string, std::uint64_t>>& rates,
                         v1::Host* out, bool force = false) {
    v1::UpdateHostRequest request;
    request.mutable_host()->set_name("hosts/" + host);
    for (const auto& [device, bps] : rates) {
      auto* rate = request.mutable_host()->add_nic_rates();
      rate->set_device(device);
      rate->set_rate_bps(bps);
    }
    request.mutable_update_mask()->add_paths("nic_rates");
    request.set_force(force);
    out->Clear();
    return client_->hosts->UpdateHost(Client::context().get(), request, out);
  }
  static v1::QosPolicy limits(std::uint64_t guaranteed, std::uint64_t maximum) {
    v1::QosPolicy out;
    if (guaranteed > 0) out.set_guaranteed_bps(guaranteed);
    if (maximum > 0) out.set_maximum_bps(maximum);
    return out;
  }
  grpc::Status show(const std::string& vpc, const std::string& host, v1::ShowQosResponse* out) {
    v1::ShowQosRequest request;
    request.set_vpc(vpc);
    request.set_host(host);
    out->Clear();
    return client_->qos->ShowQos(Client::context().get(), request, out);
  }

  ControllerProcess process_;
  std::unique_ptr<Client> client_;
};

TEST_F(QosTest, APolicyLives) {
  v1::QosPolicy asked = limits(10 * kMbit, 20 * kMbit);
  asked.set_description("text");
  asked.set_burst_bytes(5000);
  asked.set_weight(7);
  asked.set_dscp(0);
  asked.mutable_quotas()->set_queue_pairs(11);
  asked.mutable_quotas()->set_pinned_bytes(4096);
  asked.mutable_verb_rates()->mutable_verbs()->set_per_second(100);
  asked.mutable_verb_rates()->mutable_contexts()->set_per_second(3);
  asked.mutable_verb_rates()->mutable_contexts()->set_burst(9);
  v1::QosPolicy made;
  works(create("gold", asked, &made));
  EXPECT_EQ(made.name(), "qosPolicies/gold");
  EXPECT_GT(made.uid(), 0U);
  EXPECT_GT(made.revision(), 0U);
  EXPECT_EQ(made.maximum_bps(), 20 * kMbit);
  EXPECT_TRUE(made.has_dscp());
  EXPECT_EQ(made.verb_rates().verbs().burst(), 100U) << "0 is as many as a second has";
  EXPECT_EQ(made.verb_rates().contexts().burst(), 9U);
  EXPECT_FALSE(made.verb_rates().has_connects());
  EXPECT_FALSE(made.quotas().has_memory_regions());
  EXPECT_EQ(get("gold").SerializeAsString(), made.SerializeAsString());

  // Masks with fields of fields: what is named and not set goes, the rest stays.
  v1::QosPolicy change;
  change.set_name(made.name());
  change.mutable_quotas()->set_memory_regions(5);
  change.set_weight(99);
  v1::QosPolicy now;
  works(
      update(change, {"quotas.memory_regions", "quotas.queue_pairs", "verb_rates.contexts"}, &now));
  EXPECT_EQ(now.quotas().memory_regions(), 5U);
  EXPECT_FALSE(now.quotas().has_queue_pairs());
  EXPECT_EQ(now.quotas().pinned_bytes(), 4096U);
  EXPECT_FALSE(now.verb_rates().has_contexts());
  EXPECT_TRUE(now.verb_rates().has_verbs());
  EXPECT_EQ(now.weight(), 7U);
  EXPECT_GT(now.revision(), made.revision());
  EXPECT_NE(now.etag(), made.etag());
  works(update(change, {"weight"}, &now));
  EXPECT_EQ(now.weight(), 99U);
  const std::uint64_t revision = now.revision();
  works(update(change, {"weight"}, &now));
  EXPECT_EQ(now.revision(), revision) << "no change, no revision";
  change.set_etag(made.etag());
  refused(update(change, {"weight"}, &now), Code::FAILED_PRECONDITION, "etag", "somebody else");

  // Without a mask all of it is replaced.
  v1::QosPolicy bare;
  bare.set_name(made.name());
  works(update(bare, {}, &now));
  EXPECT_EQ(now.description(), "");
  EXPECT_FALSE(now.has_guaranteed_bps() || now.has_maximum_bps() || now.has_burst_bytes() ||
               now.has_dscp() || now.has_quotas() || now.has_verb_rates());
  EXPECT_EQ(now.weight(), 10U);

  v1::DeleteQosPolicyResponse gone;
  refused(remove("gold", &gone, made.etag()), Code::FAILED_PRECONDITION, "etag", "somebody else");
  works(remove("gold", &gone, now.etag()));
  EXPECT_EQ(gone.revision(), now.revision() + 1);
  refused(remove("gold", &gone), Code::NOT_FOUND, "name", "there is no qosPolicies/gold");
}

TEST_F(QosTest, WrongPoliciesAreRefusedWithFieldAndReason) {
  works(create("taken", {}));
  refused(create("taken", {}), Code::ALREADY_EXISTS, "qos_policy_id", "exists");
  refused(create("Bad", {}), Code::INVALID_ARGUMENT, "qos_policy_id", "QoS policy id");
  refused(create("x", limits(20 * kMbit, 10 * kMbit)), Code::INVALID_ARGUMENT,
          "qos_policy.maximum_bps", "10Mbit is below the guarantee of 20Mbit");
  struct Case {
    std::string field;
    std::function<void(v1::QosPolicy&)> set;
  };
  const std::vector<Case> cases = {
      {"guaranteed_bps", [](auto& p) { p.set_guaranteed_bps(0); }},
      {"guaranteed_bps", [](auto& p) { p.set_guaranteed_bps(7999); }},
      {"maximum_bps", [](auto& p) { p.set_maximum_bps(0); }},
      {"maximum_bps", [](auto& p) { p.set_maximum_bps(10'000'000'000'001); }},
      {"burst_bytes", [](auto& p) { p.set_burst_bytes(0); }},
      {"weight", [](auto& p) { p.set_weight(0); }},
      {"weight", [](auto& p) { p.set_weight(101); }},
      {"dscp", [](auto& p) { p.set_dscp(64); }},
      {"dscp", [](auto& p) { p.set_dscp(256 + 8); }},
      {"description", [](auto& p) { p.set_description(std::string(1025, 'x')); }},
      {"quotas.queue_pairs", [](auto& p) { p.mutable_quotas()->set_queue_pairs(0); }},
      {"quotas.completion_queues",
       [](auto& p) { p.mutable_quotas()->set_completion_queues(1U << 31U); }},
      {"quotas.memory_regions", [](auto& p) { p.mutable_quotas()->set_memory_regions(0); }},
      {"quotas.shared_receive_queues",
       [](auto& p) { p.mutable_quotas()->set_shared_receive_queues(0); }},
      {"quotas.pinned_bytes", [](auto& p) { p.mutable_quotas()->set_pinned_bytes(4095); }},
      {"verb_rates.contexts.per_second",
       [](auto& p) { p.mutable_verb_rates()->mutable_contexts(); }},
      {"verb_rates.queue_pairs.burst",
       [](auto& p) {
         p.mutable_verb_rates()->mutable_queue_pairs()->set_per_second(1);
         p.mutable_verb_rates()->mutable_queue_pairs()->set_burst(1'000'001);
       }},
      {"verb_rates.connects.per_second",
       [](auto& p) { p.mutable_verb_rates()->mutable_connects()->set_per_second(1'000'001); }},
      {"verb_rates.verbs.per_second", [](auto& p) { p.mutable_verb_rates()->mutable_verbs(); }},
  };
  for (const Case& c : cases) {
    v1::QosPolicy policy;
    c.set(policy);
    refused(create("x", policy), Code::INVALID_ARGUMENT, "qos_policy." + c.field, "");
    policy.set_name("qosPolicies/taken");
    v1::QosPolicy ignored;
    refused(update(policy, {}, &ignored), Code::INVALID_ARGUMENT, "qos_policy." + c.field, "");
  }
  v1::QosPolicy ignored;
  v1::QosPolicy taken;
  taken.set_name("qosPolicies/taken");
  refused(update(taken, {"verb_rates.verbs.burst"}, &ignored), Code::INVALID_ARGUMENT,
          "update_mask", "cannot be updated");
  refused(update(taken, {"uid"}, &ignored), Code::INVALID_ARGUMENT, "update_mask", "'uid'");
  taken.set_name("qosPolicies/none");
  refused(update(taken, {}, &ignored), Code::NOT_FOUND, "qos_policy.name", "qosPolicies/none");
  taken.set_name("vpcs/none");
  refused(update(taken, {}, &ignored), Code::INVALID_ARGUMENT, "qos_policy.name", "qosPolicies/");
  v1::GetQosPolicyRequest get;
  get.set_name("qosPolicies/x");
  refused(client_->qos->GetQosPolicy(Client::context().get(), get, &ignored), Code::NOT_FOUND,
          "name", "qosPolicies/x");
}

TEST_F(QosTest, RequestsRepeatAndAreTried) {
  v1::CreateQosPolicyRequest request;
  request.set_qos_policy_id("again");
  request.set_validate_only(true);
  v1::QosPolicy first;
  works(client_->qos->CreateQosPolicy(Client::context().get(), request, &first));
  EXPECT_EQ(first.name(), "qosPolicies/again");
  request.set_validate_only(false);
  request.set_request_id(kUuid);
  works(client_->qos->CreateQosPolicy(Client::context().get(), request, &first));
  v1::QosPolicy second;
  works(client_->qos->CreateQosPolicy(Client::context().get(), request, &second));
  EXPECT_EQ(first.SerializeAsString(), second.SerializeAsString());
  request.mutable_qos_policy()->set_weight(3);
  refused(client_->qos->CreateQosPolicy(Client::context().get(), request, &second),
          Code::INVALID_ARGUMENT, "request_id", "another request");
}

TEST_F(QosTest, ListsHavePagesAndFiltersAndAnEnd) {
  for (int i = 0; i < 25; ++i)
    works(create("p" + std::to_string(100 + i), {}));
  v1::ListQosPoliciesRequest request;
  request.set_page_size(10);
  std::vector<std::string> names;
  for (;;) {
    v1::ListQosPoliciesResponse page;
    works(client_->qos->ListQosPolicies(Client::context().get(), request, &page));
    for (const auto& policy : page.qos_policies())
      names.push_back(policy.name());
    request.set_page_token(page.next_page_token());
    if (page.next_page_token().empty()) break;
  }
  ASSERT_EQ(names.size(), 25U);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  request.Clear();
  request.set_filter("name=p11*");
  v1::ListQosPoliciesResponse page;
  works(client_->qos->ListQosPolicies(Client::context().get(), request, &page));
  EXPECT_EQ(page.qos_policies_size(), 10);
  request.set_filter("weight=1");
  refused(client_->qos->ListQosPolicies(Client::context().get(), request, &page),
          Code::INVALID_ARGUMENT, "filter", "weight");

  for (int i = 25; i < 1000; ++i)
    works(create("p" + std::to_string(1000 + i), {}));
  refused(create("more", {}), Code::RESOURCE_EXHAUSTED, "qos_policy_id", "1000");
  v1::DeleteQosPolicyResponse gone;
  works(remove("p100", &gone));
  works(create("more", {}));
}

TEST_F(QosTest, WhoHasAPolicyIsSaid) {
  works(create("gold", {}));
  v1::CreateVpcRequest request;
  request.set_vpc_id("blue");
  request.mutable_vpc()->add_ranges("10.0.0.0/24");
  request.mutable_vpc()->set_qos_policy("qosPolicies/none");
  v1::Vpc vpc;
  refused(client_->vpcs->CreateVpc(Client::context().get(), request, &vpc), Code::NOT_FOUND,
          "vpc.qos_policy", "there is no qosPolicies/none");
  request.mutable_vpc()->set_qos_policy("gold");
  refused(client_->vpcs->CreateVpc(Client::context().get(), request, &vpc), Code::INVALID_ARGUMENT,
          "vpc.qos_policy", "qosPolicies/POLICY");
  request.mutable_vpc()->set_qos_policy("qosPolicies/gold");
  works(client_->vpcs->CreateVpc(Client::context().get(), request, &vpc));
  EXPECT_EQ(vpc.qos_policy(), "qosPolicies/gold");
  EXPECT_EQ(vpc.qos_policy_uid(), get("gold").uid());
  works(client_->create_host("a"));
  v1::Endpoint endpoint;
  refused(add_endpoint("blue", "one", "a", "qosPolicies/none", &endpoint), Code::NOT_FOUND,
          "endpoint.qos_policy", "there is no qosPolicies/none");
  for (int i = 0; i < 9; ++i)
    works(add_endpoint("blue", "e" + std::to_string(i), "a", "qosPolicies/gold", &endpoint));
  EXPECT_EQ(endpoint.qos_policy(), "qosPolicies/gold");
  EXPECT_EQ(endpoint.qos_policy_uid(), vpc.qos_policy_uid());
  EXPECT_EQ(get("gold").vpc_count(), 1U);
  EXPECT_EQ(get("gold").endpoint_count(), 9U);
  v1::DeleteQosPolicyResponse gone;
  auto status = remove("gold", &gone);
  refused(status, Code::FAILED_PRECONDITION, "name",
          "1 VPCs and 9 endpoints have qosPolicies/gold: vpcs/blue, vpcs/blue/endpoints/e");
  EXPECT_THAT(status.error_message(), HasSubstr("and 5 more"));

  // A change of something else leaves it; an empty name takes it away.
  v1::UpdateVpcRequest describe;
  *describe.mutable_vpc() = vpc;
  describe.mutable_vpc()->clear_qos_policy();
  describe.mutable_vpc()->set_description("text");
  works(client_->vpcs->UpdateVpc(Client::context().get(), describe, &vpc));
  EXPECT_EQ(vpc.qos_policy(), "qosPolicies/gold");
  works(give_vpc("blue", "", &vpc));
  EXPECT_EQ(vpc.qos_policy(), "");
  EXPECT_EQ(vpc.qos_policy_uid(), 0U);
  for (int i = 0; i < 9; ++i)
    works(give_endpoint("vpcs/blue/endpoints/e" + std::to_string(i), "", &endpoint));
  works(remove("gold", &gone));
  refused(give_endpoint("vpcs/blue/endpoints/e1", "qosPolicies/gold", &endpoint), Code::NOT_FOUND,
          "endpoint.qos_policy", "there is no qosPolicies/gold");
}

TEST_F(QosTest, PromisesMustFitUnlessForced) {
  works(client_->create_vpc("blue", {"10.0.0.0/24"}));
  works(client_->create_vpc("red", {"10.0.0.0/24"}));
  works(client_->create_host("a"));
  v1::Host host;
  refused(set_rates("a", {{"rxe0", 999}}, &host), Code::INVALID_ARGUMENT,
          "host.nic_rates[0].rate_bps", "999bit");
  refused(set_rates("a", {{"rxe0", 5000}, {"rxe0", 5000}}, &host), Code::INVALID_ARGUMENT,
          "host.nic_rates[1].device", "twice");
  works(set_rates("a", {{"rxe0", 30 * kMbit}}, &host));
  ASSERT_EQ(host.nic_rates_size(), 1);
  EXPECT_EQ(host.nic_rates(0).rate_bps(), 30 * kMbit);
  works(create("twenty", limits(20 * kMbit, 0)));
  v1::Endpoint endpoint;
  works(add_endpoint("blue", "one", "a", "qosPolicies/twenty", &endpoint));
  EXPECT_THAT(endpoint.oversubscriptions(), IsEmpty());

  refused(add_endpoint("blue", "two", "a", "qosPolicies/twenty", &endpoint),
          Code::FAILED_PRECONDITION, "endpoint.qos_policy",
          "guarantees on hosts/a would add up to 40Mbit, but rxe0 has 30Mbit");
  refused(add_endpoint("blue", "two", "a", "qosPolicies/twenty", &endpoint, false, true),
          Code::FAILED_PRECONDITION, "endpoint.qos_policy", "40Mbit");
  works(add_endpoint("blue", "two", "a", "qosPolicies/twenty", &endpoint, true, true));
  EXPECT_EQ(endpoint.oversubscriptions_size(), 1);
  works(add_endpoint("blue", "two", "a", "qosPolicies/twenty", &endpoint, true));
  ASSERT_EQ(endpoint.oversubscriptions_size(), 1);
  EXPECT_EQ(endpoint.oversubscriptions(0).host(), "hosts/a");
  EXPECT_EQ(endpoint.oversubscriptions(0).device(), "rxe0");
  EXPECT_THAT(endpoint.oversubscriptions(0).may_suffer(),
              ElementsAre("vpcs/blue/endpoints/one", "vpcs/blue/endpoints/two"));
  works(give_endpoint("vpcs/blue/endpoints/two", "", &endpoint));

  works(add_endpoint("red", "one", "a", "", &endpoint));
  v1::Vpc vpc;
  refused(give_vpc("red", "qosPolicies/twenty", &vpc), Code::FAILED_PRECONDITION, "vpc.qos_policy",
          "40Mbit");
  works(give_vpc("red", "qosPolicies/twenty", &vpc, true));
  EXPECT_EQ(vpc.oversubscriptions_size(), 1);
  works(give_vpc("red", "", &vpc));
  EXPECT_EQ(vpc.oversubscriptions_size(), 0);

  v1::QosPolicy policy = limits(31 * kMbit, 0);
  policy.set_name("qosPolicies/twenty");
  v1::QosPolicy out;
  refused(update(policy, {"guaranteed_bps"}, &out), Code::FAILED_PRECONDITION,
          "qos_policy.guaranteed_bps", "31Mbit, but rxe0 of hosts/a has 30Mbit");
  policy = limits(0, 31 * kMbit);
  policy.set_name("qosPolicies/twenty");
  refused(update(policy, {"maximum_bps"}, &out), Code::FAILED_PRECONDITION,
          "qos_policy.maximum_bps", "31Mbit, but rxe0 of hosts/a has 30Mbit");
  works(update(policy, {"maximum_bps"}, &out, true, true));
  EXPECT_FALSE(get("twenty").has_maximum_bps());

  refused(set_rates("a", {{"rxe0", 10 * kMbit}}, &host), Code::FAILED_PRECONDITION,
          "host.nic_rates[0].rate_bps", "20Mbit");
  works(set_rates("a", {{"rxe0", 10 * kMbit}}, &host, true));
  ASSERT_EQ(host.oversubscriptions_size(), 1);
  EXPECT_EQ(host.oversubscriptions(0).guaranteed_bps(), 20 * kMbit);

  works(client_->create_host("b"));
  works(set_rates("b", {{"rxe0", 15 * kMbit}}, &host));
  v1::UpdateEndpointRequest move;
  move.mutable_endpoint()->set_name("vpcs/blue/endpoints/one");
  move.mutable_endpoint()->set_host("hosts/b");
  move.mutable_update_mask()->add_paths("host");
  refused(client_->endpoints->UpdateEndpoint(Client::context().get(), move, &endpoint),
          Code::FAILED_PRECONDITION, "endpoint.host", "hosts/b");
  move.set_force(true);
  works(client_->endpoints->UpdateEndpoint(Client::context().get(), move, &endpoint));
  EXPECT_EQ(endpoint.oversubscriptions_size(), 1);
}

// Policies go to every agent, with endpoints or without, in deltas and in snapshots.
TEST_F(QosTest, EveryAgentHoldsAllPolicies) {
  v1::QosPolicy before;
  works(create("before", {}, &before));
  FakeAgent agent(process_, "hostA");
  agent.connect();
  ASSERT_TRUE(agent.follow(before.revision()));
  EXPECT_EQ(agent.model.held().policies.size(), 1U)
      << "in the snapshot, on a host without endpoints";
  const int snapshots = agent.snapshots;
  v1::QosPolicy gold;
  works(create("gold", limits(0, 20 * kMbit), &gold));
  ASSERT_TRUE(agent.follow(gold.revision()));
  EXPECT_EQ(agent.model.held().policies.at(gold.uid()), gold.revision());

  agent.hang_up();
  v1::QosPolicy change = limits(0, 10 * kMbit);
  change.set_name(gold.name());
  works(update(change, {"maximum_bps"}, &gold));
  v1::DeleteQosPolicyResponse gone;
  works(remove("before", &gone));
  agent.connect();
  ASSERT_TRUE(agent.follow(gone.revision()));
  EXPECT_EQ(agent.model.held().policies.size(), 1U);
  EXPECT_EQ(agent.model.held().policies.at(gold.uid()), gold.revision());
  EXPECT_EQ(agent.snapshots, snapshots);

  // And over a restart of the controller.
  process_.kill9();
  process_.start({"--heartbeat-ms", "60000"});
  client_ = std::make_unique<Client>(process_);
  FakeAgent fresh(process_, "hostB");
  fresh.connect();
  ASSERT_TRUE(fresh.follow(gone.revision()));
  EXPECT_EQ(fresh.model.held().policies, agent.model.held().policies);
}

// What the fields look like that agents read.
TEST_F(QosTest, ABatchCarriesLimitsReferencesAndRates) {
  FakeAgent agent(process_, "hostA");
  agent.connect();
  ASSERT_TRUE(agent.follow(0));
  v1::Host host;
  works(set_rates("hostA", {{"rxe0", 30 * kMbit}}, &host));
  v1::QosPolicy gold;
  works(create("gold", limits(5 * kMbit, 20 * kMbit), &gold));
  works(client_->create_vpc("blue", {"10.0.0.0/24"}));
  v1::Vpc vpc;
  works(give_vpc("blue", "qosPolicies/gold", &vpc));
  v1::Endpoint endpoint;
  works(add_endpoint("blue", "a", "hostA", "qosPolicies/gold", &endpoint));
  v1::Batch all;
  v1::SyncResponse message;
  while (agent.model.revision().value < endpoint.revision() && agent.read(&message)) {
    agent.take(message);
    all.MergeFrom(message.batch());
  }
  ASSERT_EQ(all.qos_policies_size(), 1);
  EXPECT_EQ(all.qos_policies(0).uid(), gold.uid());
  EXPECT_EQ(all.qos_policies(0).name(), "qosPolicies/gold");
  EXPECT_EQ(all.qos_policies(0).maximum_bps(), 20 * kMbit);
  ASSERT_EQ(all.vpcs_size(), 1);
  EXPECT_EQ(all.vpcs(0).qos_policy_uid(), gold.uid());
  ASSERT_EQ(all.endpoints_size(), 1);
  EXPECT_EQ(all.endpoints(0).qos_policy_uid(), gold.uid());
  EXPECT_EQ(all.endpoints(0).qos_policy(), "qosPolicies/gold");
  ASSERT_GE(all.hosts_size(), 1);
  ASSERT_EQ(all.hosts(0).nic_rates_size(), 1);
  EXPECT_EQ(all.hosts(0).nic_rates(0).device(), "rxe0");
  EXPECT_EQ(all.hosts(0).nic_rates(0).rate_bps(), 30 * kMbit);

  // A rollout of a policy waits for hosts where somebody has it, and for them alone.
  FakeAgent idle(process_, "hostB");
  idle.connect();
  ASSERT_TRUE(idle.follow(0));
  idle.hang_up();
  v1::QosPolicy change = limits(0, 10 * kMbit);
  change.set_name(gold.name());
  works(update(change, {"maximum_bps"}, &gold));
  ASSERT_TRUE(agent.follow(gold.revision()));
  v1::WaitRolloutRequest request;
  request.set_revision(gold.revision());
  request.mutable_timeout()->set_seconds(10);
  v1::WaitRolloutResponse rollout;
  works(client_->hosts->WaitRollout(Client::context().get(), request, &rollout));
  EXPECT_TRUE(rollout.complete());
  ASSERT_EQ(rollout.hosts_size(), 1);
  EXPECT_EQ(rollout.hosts(0).host(), "hosts/hostA");
}

TEST_F(QosTest, WhatAHostSaysOfLimitsShows) {
  FakeAgent agent(process_, "hostA");
  agent.connect();
  ASSERT_TRUE(agent.follow(0));
  works(client_->create_vpc("blue", {"10.0.0.0/24"}));
  v1::Endpoint endpoint;
  works(add_endpoint("blue", "a", "hostA", "", &endpoint));
  ASSERT_TRUE(agent.follow(endpoint.revision()));
  EXPECT_FALSE(endpoint.status().has_qos());
  v1::SyncRequest request;
  auto* report = request.mutable_endpoint_report();
  report->set_endpoint_uid(endpoint.uid());
  report->mutable_status()->set_state(v1::EndpointStatus::BOUND);
  report->mutable_status()->mutable_qos()->set_configured(true);
  report->mutable_status()->mutable_qos()->add_unenforced("maximum of vpcs/blue on rxe0: none");
  agent.write(request);
  v1::GetEndpointRequest get;
  get.set_name(endpoint.name());
  for (int i = 0; i < 500 && !endpoint.status().has_qos(); ++i) {
    works(client_->endpoints->GetEndpoint(Client::context().get(), get, &endpoint));
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_TRUE(endpoint.status().qos().configured());
  EXPECT_FALSE(endpoint.status().qos().enforced());
  EXPECT_THAT(endpoint.status().qos().unenforced(),
              ElementsAre("maximum of vpcs/blue on rxe0: none"));
}

TEST_F(QosTest, ShowAsksTheAgentsConcerned) {
  FakeAgent agent(process_, "hostB");
  agent.connect();
  ASSERT_TRUE(agent.follow(0));
  works(client_->create_host("hostA"));
  works(client_->create_host("idle"));
  v1::Vpc blue;
  works(client_->create_vpc("blue", {"10.0.0.0/24"}, &blue));
  works(client_->create_vpc("red", {"10.0.0.0/24"}));
  v1::Endpoint endpoint;
  works(add_endpoint("blue", "b", "hostB", "", &endpoint));
  works(add_endpoint("red", "a", "hostA", "", &endpoint));
  ASSERT_TRUE(agent.follow(endpoint.revision()));
  v1::ShowQosResponse shown;
  refused(show("vpcs/none", "", &shown), Code::NOT_FOUND, "vpc", "there is no vpcs/none");
  refused(show("", "hosts/none", &shown), Code::NOT_FOUND, "host", "there is no hosts/none");
  refused(show("blue", "", &shown), Code::INVALID_ARGUMENT, "vpc", "vpcs/VPC");

  // Answers what it was asked, and notes it.
  std::atomic<int> questions = 0;
  std::vector<std::uint64_t> asked_for;
  std::thread answering([&] {
    v1::SyncResponse message;
    while (questions < 3 && agent.read(&message)) {
      agent.take(message);
      if (!message.has_query() || !message.query().has_qos()) continue;
      asked_for.push_back(message.query().qos().vpc_uid());
      v1::SyncRequest request;
      auto* answer = request.mutable_answer();
      answer->set_query_id(message.query().id());
      answer->set_held_revision(agent.model.revision().value);
      answer->mutable_qos()->set_host("hosts/somebody-else");
      answer->mutable_qos()->add_nics()->set_device("rxe0");
      agent.write(request);
      ++questions;
    }
  });
  works(show("", "", &shown));
  ASSERT_EQ(shown.hosts_size(), 2);
  EXPECT_GE(shown.revision(), endpoint.revision());
  EXPECT_EQ(shown.hosts(0).host(), "hosts/hostA");
  EXPECT_THAT(shown.hosts(0).error(), HasSubstr("not connected"));
  EXPECT_EQ(shown.hosts(1).host(), "hosts/hostB");
  EXPECT_EQ(shown.hosts(1).error(), "");
  EXPECT_EQ(shown.hosts(1).revision(), agent.model.revision().value);
  ASSERT_EQ(shown.hosts(1).nics_size(), 1);
  EXPECT_EQ(shown.hosts(1).nics(0).device(), "rxe0");
  works(show("vpcs/blue", "", &shown));
  ASSERT_EQ(shown.hosts_size(), 1);
  EXPECT_EQ(shown.hosts(0).host(), "hosts/hostB");
  works(show("", "hosts/hostB", &shown));
  ASSERT_EQ(shown.hosts_size(), 1);
  EXPECT_EQ(shown.hosts(0).error(), "");
  answering.join();
  EXPECT_THAT(asked_for, ElementsAre(0U, blue.uid(), 0U));
  works(show("", "hosts/idle", &shown));
  ASSERT_EQ(shown.hosts_size(), 1);
  EXPECT_THAT(shown.hosts(0).error(), HasSubstr("not connected"));
}

}  // namespace
}  // namespace qmasq::controller
