// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "controller/model/address_rules.h"
#include "controller/store/store.h"

// Objects for store tests, written without a service in front.
namespace qmasq::controller::testing {

inline std::uint64_t uid_of(WriteView& view) {
  return view.new_uid().value();
}

inline Result<VpcPtr> add_vpc(WriteView& view, const std::string& id, std::uint32_t vni,
                              std::vector<std::string> ranges = {"10.0.0.0/16"}) {
  Vpc vpc;
  vpc.uid = VpcUid{uid_of(view)};
  vpc.id = id;
  vpc.vni = Vni{vni};
  vpc.ranges = check_ranges(ranges, "ranges").value();
  return view.put(std::move(vpc));
}

inline Result<HostPtr> add_host(WriteView& view, const std::string& id) {
  Host host;
  host.uid = HostUid{uid_of(view)};
  host.id = id;
  return view.put(std::move(host), true);
}

inline Result<EndpointPtr> add_endpoint(WriteView& view, const VpcPtr& vpc, const HostPtr& host,
                                        const std::string& id, std::vector<std::string> addresses) {
  Endpoint endpoint;
  endpoint.uid = EndpointUid{uid_of(view)};
  endpoint.vpc = vpc->uid;
  endpoint.vpc_id = vpc->id;
  endpoint.id = id;
  endpoint.host = host->uid;
  endpoint.host_id = host->id;
  auto low = static_cast<std::uint8_t>(endpoint.uid.value);
  auto high = static_cast<std::uint8_t>(endpoint.uid.value >> 8U);
  endpoint.mac = Mac{{2, 0, 0, 0, high, low}};
  for (const auto& text : addresses)
    endpoint.addresses.push_back(parse_ip(text).value());
  return view.put(std::move(endpoint));
}

inline Result<QosPolicyPtr> add_policy(WriteView& view, const std::string& id,
                                       qos::Bandwidth bandwidth = {}) {
  QosPolicy policy;
  policy.policy.uid = QosPolicyUid{uid_of(view)};
  policy.policy.id = id;
  policy.policy.bandwidth = bandwidth;
  return view.put(std::move(policy));
}

// All that a store shows, as text: two stores with equal dumps hold the same.
inline std::string dump(Store& store) {
  std::string out;
  auto status = store.read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(auto revision, view.revision());
    out = fmt::format("revision {}\n", revision.value);
    QMASQ_ASSIGN(auto vpcs, view.list_vpcs({"", 100'000}));
    for (const auto& v : vpcs) {
      out += fmt::format("vpc {} {} {} {} v{} r{}", v->uid.value, v->id, v->vni.value, v->mtu,
                         v->version, v->revision.value);
      if (v->qos_policy.uid.value != 0) out += " has " + v->qos_policy.id;
      for (const auto& range : v->ranges)
        out += " " + to_string(range);
      out += "\n";
    }
    QMASQ_ASSIGN(auto hosts, view.list_hosts({"", 100'000}));
    for (const auto& h : hosts) {
      out += fmt::format("host {} {} v{} r{} {} nics\n", h->uid.value, h->id, h->version,
                         h->revision.value, h->nics.size());
      for (const auto& rate : h->nic_rates)
        out += fmt::format("  {} {}\n", rate.device, rate.rate_bps);
    }
    QMASQ_ASSIGN(auto policies, view.list_policies({"", 100'000}));
    for (const auto& p : policies) {
      out += fmt::format("policy {} {} v{} r{}\n", p->policy.uid.value, p->policy.id, p->version,
                         p->revision.value);
    }
    EndpointQuery all;
    all.limit = 1'000'000;
    QMASQ_ASSIGN(auto endpoints, view.list_endpoints(all));
    for (const auto& e : endpoints) {
      out += fmt::format("endpoint {} {}/{} on {} {} v{} r{}", e->uid.value, e->vpc_id, e->id,
                         e->host_id, to_string(e->mac), e->version, e->revision.value);
      if (e->qos_policy.uid.value != 0) out += " has " + e->qos_policy.id;
      for (const auto& address : e->addresses)
        out += " " + to_string(address);
      out += "\n";
    }
    QMASQ_ASSIGN(auto log, view.log({}, 1'000'000));
    for (const auto& l : log) {
      out += fmt::format("log {} {} {} {} {} {} {}\n", l.revision.value, static_cast<int>(l.kind),
                         static_cast<int>(l.op), l.uid, l.vpc.value, l.host.value,
                         l.previous_host.value);
    }
    return {};
  });
  if (!status) return "error: " + status.error().message;
  return out;
}

}  // namespace qmasq::controller::testing
