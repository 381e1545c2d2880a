// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/controller/kill_writer.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <utility>

namespace qmasq::controller::testing {
namespace {

constexpr std::uint64_t kBps = 1'000'000;

template <typename Message>
std::string serialized(const Message& message) {
  return message.SerializeAsString();
}

// With `send(context, request, answer)`, an rpc of a stub.
template <typename Answer, typename Object, typename Send, typename Request>
Answer sent(Send send, const Request& request) {
  Object object;
  Answer out;
  auto context = Client::context();
  out.status = send(context.get(), request, &object);
  if (!out.status.ok()) return out;
  out.revision = object.revision();
  if constexpr (requires { wire(object); }) out.object = wire(object);
  return out;
}

}  // namespace

std::string wire(v1::Vpc vpc) {
  return serialized(vpc);
}
std::string wire(v1::Endpoint endpoint) {
  endpoint.clear_status();
  return serialized(endpoint);
}
std::string wire(v1::SecurityGroup group) {
  group.clear_endpoint_count();
  return serialized(group);
}
std::string wire(v1::QosPolicy policy) {
  policy.clear_vpc_count();
  policy.clear_endpoint_count();
  return serialized(policy);
}

struct Writer::Stubs {
  explicit Stubs(const ControllerProcess& process)
      : client(process), groups(v1::SecurityGroupService::NewStub(client.channel)) {}
  Client client;
  std::unique_ptr<v1::SecurityGroupService::Stub> groups;
};

Listing list_all(const ControllerProcess& process) {
  Listing out;
  Client client(process);
  auto groups = v1::SecurityGroupService::NewStub(client.channel);
  constexpr int kPage = 1000;  // far more than there are
  v1::ListVpcsRequest all_vpcs;
  all_vpcs.set_page_size(kPage);
  v1::ListVpcsResponse vpcs;
  EXPECT_TRUE(client.vpcs->ListVpcs(Client::context().get(), all_vpcs, &vpcs).ok());
  out.vpcs = {vpcs.vpcs().begin(), vpcs.vpcs().end()};
  out.endpoints = client.list_endpoints("vpcs/-", kPage);
  v1::ListSecurityGroupsRequest all_groups;
  all_groups.set_parent("vpcs/-");
  all_groups.set_page_size(kPage);
  v1::ListSecurityGroupsResponse found;
  EXPECT_TRUE(groups->ListSecurityGroups(Client::context().get(), all_groups, &found).ok());
  out.groups = {found.security_groups().begin(), found.security_groups().end()};
  v1::ListQosPoliciesRequest all_policies;
  all_policies.set_page_size(kPage);
  v1::ListQosPoliciesResponse policies;
  EXPECT_TRUE(client.qos->ListQosPolicies(Client::context().get(), all_policies, &policies).ok());
  out.policies = {policies.qos_policies().begin(), policies.qos_policies().end()};

  for (const auto& vpc : out.vpcs)
    out.objects[vpc.name()] = wire(vpc);
  for (const auto& endpoint : out.endpoints)
    out.objects[endpoint.name()] = wire(endpoint);
  for (const auto& group : out.groups) {
    if (!group.name().ends_with("/default")) out.objects[group.name()] = wire(group);
  }
  for (const auto& policy : out.policies)
    out.objects[policy.name()] = wire(policy);
  return out;
}

std::string Writer::request_id() {
  char out[37];
  std::snprintf(out, sizeof(out), "%08x-0000-4000-8000-%012x", number_, ++requests_);
  return out;
}

std::string Writer::text() {
  return "by " + std::to_string(number_) + " in " + std::to_string(requests_);
}

std::string Writer::address() {
  constexpr unsigned kOfByte = 250;
  const unsigned n = addresses_++ % (kOfByte * kOfByte);
  return "10." + std::to_string(number_) + "." + std::to_string(n / kOfByte) + "." +
         std::to_string(n % kOfByte + 1);
}

Writer::Request Writer::next() {
  const std::string home = "w" + std::to_string(number_);
  if (!has("vpcs/" + home)) return on_vpc(home);
  switch (random_() % 10) {
    case 0:
      return on_vpc(home);
    case 1:
      return on_vpc(home + "-x");
    case 2:
    case 3:
    case 4:
      return on_group();
    case 5:
      return on_policy();
    default:
      return on_endpoint();
  }
}

Writer::Request Writer::on_vpc(const std::string& id) {
  const std::string name = "vpcs/" + id;
  const bool home = id.find('-') == std::string::npos;
  const std::string request_id = this->request_id();
  const std::string text = this->text();
  v1::Vpc vpc;
  vpc.set_name(name);
  vpc.set_description(text);
  if (!has(name)) {
    v1::CreateVpcRequest request;
    request.set_vpc_id(id);
    vpc.clear_name();
    vpc.add_ranges("10." + std::to_string(number_) + ".0.0/16");
    *request.mutable_vpc() = vpc;
    request.set_request_id(request_id);
    return {name, text, [request](Stubs& stubs) {
              return sent<Answer, v1::Vpc>(
                  [&](const auto&... each) { return stubs.client.vpcs->CreateVpc(each...); },
                  request);
            }};
  }
  if (home || random_() % 2 == 0) {
    v1::UpdateVpcRequest request;
    *request.mutable_vpc() = vpc;
    request.mutable_update_mask()->add_paths("description");
    request.set_request_id(request_id);
    return {name, text, [request](Stubs& stubs) {
              return sent<Answer, v1::Vpc>(
                  [&](const auto&... each) { return stubs.client.vpcs->UpdateVpc(each...); },
                  request);
            }};
  }
  v1::DeleteVpcRequest request;
  request.set_name(name);
  request.set_request_id(request_id);
  return {name, "", [request](Stubs& stubs) {
            return sent<Answer, v1::DeleteVpcResponse>(
                [&](const auto&... each) { return stubs.client.vpcs->DeleteVpc(each...); },
                request);
          }};
}

Writer::Request Writer::on_endpoint() {
  const std::string parent = "vpcs/w" + std::to_string(number_);
  const std::string id = "e" + std::to_string(random_() % 8);
  const std::string name = parent + "/endpoints/" + id;
  const std::string request_id = this->request_id();
  const std::string text = this->text();
  v1::Endpoint endpoint;
  endpoint.set_name(name);
  endpoint.set_description(text);
  endpoint.add_addresses(address());
  endpoint.add_addresses(address());
  if (!has(name)) {
    v1::CreateEndpointRequest request;
    request.set_parent(parent);
    request.set_endpoint_id(id);
    endpoint.clear_name();
    endpoint.set_host(random_() % 2 == 0 ? "hosts/h" : "hosts/g");
    *request.mutable_endpoint() = endpoint;
    request.set_request_id(request_id);
    return {
        name, text, [request](Stubs& stubs) {
          return sent<Answer, v1::Endpoint>(
              [&](const auto&... each) { return stubs.client.endpoints->CreateEndpoint(each...); },
              request);
        }};
  }
  if (random_() % 3 != 0) {
    v1::UpdateEndpointRequest request;
    *request.mutable_endpoint() = endpoint;
    request.mutable_update_mask()->add_paths("description");
    request.mutable_update_mask()->add_paths("addresses");
    request.set_request_id(request_id);
    return {
        name, text, [request](Stubs& stubs) {
          return sent<Answer, v1::Endpoint>(
              [&](const auto&... each) { return stubs.client.endpoints->UpdateEndpoint(each...); },
              request);
        }};
  }
  v1::DeleteEndpointRequest request;
  request.set_name(name);
  // The agents of this test do not say whether programs use it.
  request.set_force(true);
  request.set_request_id(request_id);
  return {
      name, "", [request](Stubs& stubs) {
        return sent<Answer, v1::DeleteEndpointResponse>(
            [&](const auto&... each) { return stubs.client.endpoints->DeleteEndpoint(each...); },
            request);
      }};
}

Writer::Request Writer::on_group() {
  const std::string parent = "vpcs/w" + std::to_string(number_);
  const std::string id = "g" + std::to_string(random_() % 3);
  const std::string name = parent + "/securityGroups/" + id;
  const std::string request_id = this->request_id();
  const std::string text = this->text();
  v1::SecurityGroup group;
  group.set_name(name);
  group.set_description(text);
  // A revision has all of its rules or none.
  for (unsigned i = 0, rules = 1 + random_() % 5; i < rules; ++i) {
    auto* rule = group.add_rules();
    rule->set_direction(v1::SecurityGroupRule::INGRESS);
    rule->set_cidr("10." + std::to_string(number_) + "." + std::to_string(i) + ".0/24");
    rule->set_description(text);
  }
  if (!has(name)) {
    v1::CreateSecurityGroupRequest request;
    request.set_parent(parent);
    request.set_security_group_id(id);
    group.clear_name();
    *request.mutable_security_group() = group;
    request.set_request_id(request_id);
    return {name, text, [request](Stubs& stubs) {
              return sent<Answer, v1::SecurityGroup>(
                  [&](const auto&... each) { return stubs.groups->CreateSecurityGroup(each...); },
                  request);
            }};
  }
  if (random_() % 3 != 0) {
    v1::UpdateSecurityGroupRequest request;
    *request.mutable_security_group() = group;
    request.mutable_update_mask()->add_paths("description");
    request.mutable_update_mask()->add_paths("rules");
    request.set_request_id(request_id);
    return {name, text, [request](Stubs& stubs) {
              return sent<Answer, v1::SecurityGroup>(
                  [&](const auto&... each) { return stubs.groups->UpdateSecurityGroup(each...); },
                  request);
            }};
  }
  v1::DeleteSecurityGroupRequest request;
  request.set_name(name);
  request.set_request_id(request_id);
  return {name, "", [request](Stubs& stubs) {
            return sent<Answer, v1::DeleteSecurityGroupResponse>(
                [&](const auto&... each) { return stubs.groups->DeleteSecurityGroup(each...); },
                request);
          }};
}

Writer::Request Writer::on_policy() {
  const std::string id = "q" + std::to_string(number_) + "-" + std::to_string(random_() % 2);
  const std::string name = "qosPolicies/" + id;
  const std::string request_id = this->request_id();
  const std::string text = this->text();
  v1::QosPolicy policy;
  policy.set_name(name);
  policy.set_description(text);
  policy.set_maximum_bps((1 + requests_) * kBps);
  if (!has(name)) {
    v1::CreateQosPolicyRequest request;
    request.set_qos_policy_id(id);
    policy.clear_name();
    *request.mutable_qos_policy() = policy;
    request.set_request_id(request_id);
    return {name, text, [request](Stubs& stubs) {
              return sent<Answer, v1::QosPolicy>(
                  [&](const auto&... each) { return stubs.client.qos->CreateQosPolicy(each...); },
                  request);
            }};
  }
  if (random_() % 2 == 0) {
    v1::UpdateQosPolicyRequest request;
    *request.mutable_qos_policy() = policy;
    request.mutable_update_mask()->add_paths("description");
    request.mutable_update_mask()->add_paths("maximum_bps");
    request.set_request_id(request_id);
    return {name, text, [request](Stubs& stubs) {
              return sent<Answer, v1::QosPolicy>(
                  [&](const auto&... each) { return stubs.client.qos->UpdateQosPolicy(each...); },
                  request);
            }};
  }
  v1::DeleteQosPolicyRequest request;
  request.set_name(name);
  request.set_request_id(request_id);
  return {name, "", [request](Stubs& stubs) {
            return sent<Answer, v1::DeleteQosPolicyResponse>(
                [&](const auto&... each) { return stubs.client.qos->DeleteQosPolicy(each...); },
                request);
          }};
}

void Writer::take(const Request& request, const Answer& answer) {
  ++acknowledged_;
  EXPECT_GT(answer.revision, last_revision_) << request.name << ": revisions go up";
  last_revision_ = answer.revision;
  if (answer.object.empty()) {
    objects_.erase(request.name);
  } else {
    objects_[request.name] = answer.object;
  }
}

void Writer::write_until_it_dies(const ControllerProcess& process) {
  Stubs stubs(process);
  for (;;) {
    Request request = next();
    const Answer answer = request.send(stubs);
    if (!answer.status.ok()) {
      EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE)
          << request.name << ": " << answer.status.error_message();
      doubted_ = std::move(request);
      return;
    }
    take(request, answer);
  }
}

void Writer::resolve(const ControllerProcess& process) {
  if (!doubted_) return;
  const Request request = *std::exchange(doubted_, std::nullopt);
  ++in_doubt;
  auto find = [&] {
    auto objects = list_all(process).objects;
    auto at = objects.find(request.name);
    return at == objects.end() ? std::string() : at->second;
  };
  const std::string known = has(request.name) ? objects_[request.name] : std::string();
  const std::string found = find();
  const bool was_done = found != known;
  if (was_done) ++done_in_doubt;
  // Only this request can have changed it, and a delete leaves nothing of it.
  if (was_done && !request.text.empty()) {
    EXPECT_NE(found.find(request.text), std::string::npos) << request.name << " is somebody else's";
  } else if (was_done) {
    EXPECT_EQ(found, "") << request.name << " is half deleted";
  }

  Stubs stubs(process);
  const Answer answer = request.send(stubs);
  ASSERT_TRUE(answer.status.ok()) << request.name << ": " << answer.status.error_message();
  if (was_done) {
    EXPECT_EQ(answer.object, found) << request.name << " was done twice, or by half";
  }
  const Answer again = request.send(stubs);
  ASSERT_TRUE(again.status.ok()) << request.name << ": " << again.status.error_message();
  EXPECT_EQ(again.object, answer.object) << request.name;
  EXPECT_EQ(again.revision, answer.revision) << request.name << " was done twice";
  EXPECT_EQ(find(), answer.object) << request.name;
  take(request, answer);
}

}  // namespace qmasq::controller::testing
