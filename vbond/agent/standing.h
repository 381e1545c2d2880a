// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "vbond/bond/binder.h"
#include "vbond/guard/guard.h"
#include "vbond/intercept/interceptor.h"
#include "vbond/local/agent_view.h"
#include "vbond/qos/qos_manager.h"
#include "vbond/rename/connection_table.h"
#include "vbond/rename/endpoint_table.h"
#include "vbond/rename/nic_table.h"
#include "vbond/rename/peer_map.h"
#include "vbond/state/sync_state.h"

namespace qmasq::vbond {

// How the agent stands, for the local service.
class Standing final : public AgentView {
 public:
  struct Parts {
    const SyncState& sync;
    const PeerMap& peers;
    const EndpointTable& endpoints;
    const NicTable& nics;
    const ConnectionTable& connections;
    const Binder& binder;
    const Interceptor& interceptor;
    const QosManager& qos;
    const Guard* guard = nullptr;  // none: off
  };
  struct Facts {
    std::string host;        // "hosts/hostA"
    std::string controller;  // its address
    std::vector<std::string> features;
    std::function<std::string()> keeper = [] { return std::string("off"); };
  };
  // Parts are not owned.
  Standing(Parts parts, Facts facts);

  [[nodiscard]] v1::Agent describe() override;
  [[nodiscard]] std::vector<v1::Connection> connections(const std::string& parent) override;
  [[nodiscard]] v1::HostQos qos() override { return parts_.qos.describe(VpcUid{}); }
  [[nodiscard]] Status check_known(const std::string& parent) override;

 private:
  void add_endpoints(v1::Agent& out) const;

  const Parts parts_;
  const Facts facts_;
};

[[nodiscard]] v1::Connection to_proto(const Connection& connection);

}  // namespace qmasq::vbond
