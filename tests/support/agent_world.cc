// SPDX-License-Identifier: Apache-2.0
#include "tests/support/agent_world.h"

#include <prometheus/registry.h>

#include <cstring>
#include <stdexcept>

#include "tests/support/metric_values.h"
#include "vbond/rename/policy_change.h"

namespace qmasq::test {

using namespace vbond;  // NOLINT: all of this is about the agent

namespace {

Gid gid(const char* text) {
  return parse_gid(text).value();
}

Change initial_state() {
  Change change;
  change.groups.push_back(AgentWorld::default_group());
  change.revision = Revision{1};
  change.snapshot = true;
  change.vpcs.push_back({VpcUid{1}, "vpcs/blue", Vni{100}, {}, 0});
  change.hosts.push_back({HostUid{1},
                          "hosts/hostA",
                          parse_ip("192.168.0.1").value(),
                          {{"rxe0", AgentWorld::physical_gid()}}});
  change.hosts.push_back({HostUid{2},
                          "hosts/hostB",
                          parse_ip("192.168.0.2").value(),
                          {{"rxe0", AgentWorld::peer_physical_gid()}}});
  change.endpoints.push_back({AgentWorld::kEndpoint,
                              VpcUid{1},
                              "vpcs/blue/endpoints/a",
                              HostUid{1},
                              parse_mac("02:00:00:00:00:0a").value(),
                              {parse_ip("10.0.0.1").value()},
                              {AgentWorld::kGroup}});
  change.endpoints.push_back({EndpointUid{12},
                              VpcUid{1},
                              "vpcs/blue/endpoints/b",
                              HostUid{2},
                              parse_mac("02:00:00:00:00:0b").value(),
                              {parse_ip("10.0.0.2").value()},
                              {AgentWorld::kGroup}});
  return change;
}

}  // namespace

Gid AgentWorld::virtual_gid() {
  return gid("10.0.0.1");
}
Gid AgentWorld::peer_virtual_gid() {
  return gid("10.0.0.2");
}
conntrack::Group AgentWorld::default_group() {
  conntrack::Group out;
  out.uid = kGroup;
  out.vpc = VpcUid{1};
  out.name = "vpcs/blue/securityGroups/default";
  conntrack::Rule rule;
  rule.id = "self-in";
  rule.remote.kind = conntrack::Remote::Kind::kGroup;
  rule.remote.group = kGroup;
  out.rules = {rule};
  return out;
}
Gid AgentWorld::physical_gid() {
  return gid("192.168.0.1");
}
Gid AgentWorld::peer_physical_gid() {
  return gid("192.168.0.2");
}

AgentWorld::AgentWorld(ConnectionJournal* journal)
    : events(clock, 1000),
      endpoints(peers, sync),
      renamer({sync, endpoints, peers, nics, tracker, connections, events, clock, wire, nullptr,
               nullptr, journal},
              {}),
      registry(std::make_shared<prometheus::Registry>()),
      admission(clock, events, *registry) {
  policies.add_listener([this](const auto& changed) { admission.policies_changed(changed); });
  policies.set_host(HostUid{1});
  Nic nic;
  nic.device = "rxe0";
  nic.driver = "rxe";
  nic.active = true;
  nic.active_mtu = 1024;
  nic.primary = PhysicalGid{1, physical_gid(), vbond::GidType::kRoceV2};
  nic.gids = {*nic.primary};
  (void)nics.update({nic});
  endpoints.set_host(HostUid{1}, "hosts/hostA");
  const Change change = initial_state();
  peers.apply(change);
  endpoints.apply(change);
  policies.apply(change);
  (void)tracker.apply(vbond::policy_change(change));
  sync.mark_in_sync(change.revision);
}

AgentWorld::~AgentWorld() = default;

void AgentWorld::set_policies(const qos::Policy& own, const qos::Policy& of_vpc) {
  constexpr QosPolicyUid kOwn{501};
  constexpr QosPolicyUid kOfVpc{502};
  Change change;
  change.revision = Revision{++revision_};
  change.policies = {own, of_vpc};
  change.policies[0].uid = kOwn;
  change.policies[1].uid = kOfVpc;
  for (VpcView vpc : initial_state().vpcs) {
    vpc.qos_policy = kOfVpc;
    change.vpcs.push_back(vpc);
  }
  for (EndpointView endpoint : initial_state().endpoints) {
    if (endpoint.uid == kEndpoint) endpoint.qos_policy = kOwn;
    change.endpoints.push_back(endpoint);
  }
  policies.apply(change);
}

void AgentWorld::set_users(std::vector<std::uint32_t> users, std::vector<std::uint32_t> groups) {
  Change change;
  change.revision = Revision{++revision_};
  EndpointView endpoint = initial_state().endpoints.front();
  endpoint.user_ids = std::move(users);
  endpoint.group_ids = std::move(groups);
  change.endpoints.push_back(std::move(endpoint));
  endpoints.apply(change);
}

void AgentWorld::remove_endpoint() {
  Change change;
  change.revision = Revision{++revision_};
  change.removed_endpoints = {kEndpoint};
  policies.apply(change);
}

Interceptor::Parts AgentWorld::parts(FakeKernel& kernel) {
  return parts(kernel, kernel, kernel);
}

Interceptor::Parts AgentWorld::parts(TenantMemory& memory, VerbsDevices& devices,
                                     TaskInspector& tasks) {
  return {renamer, endpoints, nics, events, clock, memory, devices, tasks, *registry, admission};
}

double AgentWorld::metric(const std::string& name,
                          const std::map<std::string, std::string>& labels) const {
  return metric_value(*registry, name, labels).value_or(0);
}

Event AgentWorld::last_event(EventType type) const {
  Event out;
  for (const Event& event : events.read(0, 1000, std::chrono::milliseconds(0))) {
    if (event.type == type) out = event;
  }
  return out;
}

TenantCall::TenantCall(uverbs::Object object, std::uint16_t method)
    : object_(static_cast<std::uint16_t>(object)), method_(method) {}

TenantCall TenantCall::write_form(uverbs::WriteCommand command) {
  TenantCall out(uverbs::Object::kDevice, uverbs::kMethodInvokeWrite);
  out.number(uverbs::attr::kWriteCmd, static_cast<std::uint64_t>(command));
  return out;
}

TenantCall& TenantCall::in(std::uint16_t id, std::span<const std::byte> payload) {
  Attribute out;
  out.id = id;
  out.len = static_cast<std::uint16_t>(payload.size());
  if (payload.size() <= uverbs::kInlineSize) {
    std::memcpy(&out.data, payload.data(), payload.size());
  } else {
    out.payload.assign(payload.begin(), payload.end());
  }
  attributes_.push_back(std::move(out));
  return *this;
}

TenantCall& TenantCall::number(std::uint16_t id, std::uint64_t value, std::uint16_t size) {
  Attribute out;
  out.id = id;
  out.len = size;
  out.data = value;
  attributes_.push_back(std::move(out));
  return *this;
}

TenantCall& TenantCall::out(std::uint16_t id, std::size_t size) {
  Attribute out;
  out.id = id;
  out.len = static_cast<std::uint16_t>(size);
  out.payload.resize(size, std::byte{0xee});
  out.is_out = true;
  attributes_.push_back(std::move(out));
  return *this;
}

TenantCall& TenantCall::handle(std::uint16_t id, std::uint64_t handle) {
  return number(id, handle, 0);
}

std::uint64_t TenantCall::place(FakeKernel& kernel, pid_t process) {
  kernel_ = &kernel;
  process_ = process;
  std::vector<std::byte> bytes(uverbs::kHeaderSize + attributes_.size() * uverbs::kAttrSize);
  auto put = [&](std::size_t at, auto value) {
    std::memcpy(bytes.data() + at, &value, sizeof(value));
  };
  put(0, static_cast<std::uint16_t>(bytes.size()));
  put(2, object_);
  put(4, method_);
  put(6, static_cast<std::uint16_t>(attributes_.size()));
  put(16, driver_id);
  for (std::size_t i = 0; i < attributes_.size(); ++i) {
    Attribute& attribute = attributes_[i];
    if (attribute.is_out || !attribute.payload.empty()) {
      attribute.data = kernel.map(process, attribute.payload);
    }
    const std::size_t at = uverbs::kHeaderSize + i * uverbs::kAttrSize;
    put(at, attribute.id);
    put(at + 2, attribute.len);
    put(at + 4, uverbs::kAttrMandatory);
    put(at + 8, attribute.data);
  }
  header_ = kernel.map(process, bytes);
  return header_;
}

std::size_t TenantCall::index_of(std::uint16_t id) const {
  for (std::size_t i = 0; i < attributes_.size(); ++i) {
    if (attributes_[i].id == id) return i;
  }
  throw std::logic_error("no such attribute in the call");
}

std::vector<std::byte> TenantCall::out_bytes(std::uint16_t id) const {
  const Attribute& attribute = attributes_[index_of(id)];
  return kernel_->peek(process_, attribute.data, attribute.len);
}

std::uint64_t TenantCall::out_address(std::uint16_t id) const {
  return attributes_[index_of(id)].data;
}

std::uint64_t TenantCall::data(std::uint16_t id) const {
  auto bytes = kernel_->peek(
      process_, header_ + uverbs::kHeaderSize + index_of(id) * uverbs::kAttrSize + 8, 8);
  std::uint64_t out = 0;
  std::memcpy(&out, bytes.data(), sizeof(out));
  return out;
}

std::uint16_t TenantCall::flags(std::uint16_t id) const {
  auto bytes = kernel_->peek(
      process_, header_ + uverbs::kHeaderSize + index_of(id) * uverbs::kAttrSize + 4, 2);
  std::uint16_t out = 0;
  std::memcpy(&out, bytes.data(), sizeof(out));
  return out;
}

}  // namespace qmasq::test
