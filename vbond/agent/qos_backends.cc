// SPDX-License-Identifier: Apache-2.0
#include "vbond/agent/qos_backends.h"

#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>

#include "qos/backends/devlink/backend.h"
#include "qos/backends/tc/backend.h"

namespace qmasq::vbond {
namespace {

using Made = Result<std::unique_ptr<qos::Backend>>;

tl::unexpected<Error> nothing(std::string why) {
  return fail(Code::kUnsupported, std::move(why));
}

Made make_tc(const Nic& nic) {
  if (nic.netdev.empty()) return nothing("it has no Ethernet interface to limit");
  return qos::tc::make_tc_backend({nic.netdev});
}

// "pci/0000:03:00.0": the bus and the name of the device under the RDMA device.
std::string devlink_handle(const std::string& device) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path at = fs::canonical("/sys/class/infiniband/" + device + "/device", error);
  if (error) return {};
  const fs::path bus = fs::canonical(at / "subsystem", error);
  if (error) return {};
  return bus.filename().string() + "/" + at.filename().string();
}

Made make_devlink(const Nic& nic, const std::map<std::string, std::uint32_t>& ports,
                  const PolicyTable& policies) {
  qos::devlink::Options options;
  options.handle = devlink_handle(nic.device);
  if (options.handle.empty()) return nothing("it has no device that devlink could know");
  options.port_of = [ports, &policies](EndpointUid uid) -> std::optional<std::uint32_t> {
    auto endpoint = policies.find(uid);
    if (endpoint == nullptr) return std::nullopt;
    auto found = ports.find(endpoint->name);
    return found == ports.end() ? std::nullopt : std::optional(found->second);
  };
  options.endpoint_of = [ports, &policies](std::uint32_t port) -> std::optional<EndpointUid> {
    for (const GovernedPtr& endpoint : policies.list()) {
      auto found = ports.find(endpoint->name);
      if (found != ports.end() && found->second == port) return endpoint->uid;
    }
    return std::nullopt;
  };
  return qos::devlink::make_devlink_backend(std::move(options));
}

}  // namespace

QosManager::BackendFor real_qos_backends(const AgentOptions& options) {
  return [kinds = options.qos_backends, ports = options.endpoint_ports](
             const Nic& nic, const PolicyTable& policies) -> Made {
    auto asked = kinds.find(nic.device);
    const QosBackend kind = asked == kinds.end() ? QosBackend::kAuto : asked->second;
    switch (kind) {
      case QosBackend::kNone:
        return nothing(
            fmt::format("the agent was told to limit nothing there (--qos-backend "
                        "{}=none)",
                        nic.device));
      case QosBackend::kTc:
        return make_tc(nic);
      case QosBackend::kDevlink:
        return make_devlink(nic, ports, policies);
      case QosBackend::kAuto:
        break;
    }
    if (nic.driver == "rxe") return make_tc(nic);
    if (nic.driver == "siw") {
      return nothing("soft iWARP sends over TCP: nothing tells the packets of tenants apart");
    }
    return nothing(fmt::format(
        "the driver of this NIC ({}) sends past its interface: nothing limits it unless tenants "
        "have ports of their own (--qos-backend {}=devlink)",
        nic.driver.empty() ? "unknown" : nic.driver, nic.device));
  };
}

}  // namespace qmasq::vbond
