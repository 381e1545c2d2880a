// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <random>

#include "vbond/agent/agent.h"
#include "vbond/agent/qos_backends.h"
#include "vbond/guard/bpf_guard.h"
#include "vbond/kernel/features.h"
#include "vbond/netlink/kernel.h"

namespace qmasq::vbond {
namespace {

std::string find_node(const std::string& device) {
  std::error_code error;
  std::filesystem::directory_iterator nodes("/sys/class/infiniband_verbs", error);
  if (error) return {};
  for (const auto& node : nodes) {
    std::ifstream file(node.path() / "ibdev");
    std::string name;
    if (std::getline(file, name) && name == device) return node.path().filename().string();
  }
  return {};
}

Status check_features(const Features& features) {
  std::string missing;
  for (const Feature& feature : features.all) {
    if (feature.present || !feature.required) continue;
    missing += fmt::format("{}{} (Linux {}, {})", missing.empty() ? "" : "; ", feature.name,
                           feature.since, feature.purpose);
  }
  if (missing.empty()) return {};
  return fail(Code::kUnsupported, fmt::format("the kernel {} lacks what the agent stands on: {}",
                                              features.kernel_release, missing));
}

}  // namespace

Result<AgentSeams> real_seams(const AgentOptions& options) {
  AgentSeams out;
  Features features = detect_features();
  QMASQ_TRY(check_features(features));
  out.features = features.names();
  out.kernel_release = features.kernel_release;
  out.nics = make_verbs_nic_source();
  out.underlay = options.underlay_address ? make_fixed_underlay(*options.underlay_address)
                                          : make_device_underlay(options.underlay_device);
  out.namespaces =
      std::make_unique<netlink::KernelNamespaces>(netlink::KernelNamespaces::Options{});
  out.memory = std::make_unique<ProcessMemory>();
  out.devices = std::make_unique<DeviceNodes>(out.device_directory);
  out.tasks = std::make_unique<ProcTasks>();
  if (options.guard) {
    BpfGuard::Options guard;
    guard.writes = !options.tenant_opens.empty();
    auto started = BpfGuard::start(guard);
    if (!started && started.error().code == Code::kAlreadyExists) {
      return tl::unexpected(std::move(started).error());
    }
    if (!started) {
      Error error = std::move(started).error();
      error.message = fmt::format(
          "no guard: {}. With --guard off the agent runs without, and programs of tenants must be "
          "trusted not to race its checks",
          error.message);
      return tl::unexpected(std::move(error));
    }
    out.guard = std::move(*started);
  } else {
    QMASQ_TRY(BpfGuard::remove({}));
  }
  if (!options.keeper.empty()) {
    out.keeper = [socket = options.keeper](std::chrono::milliseconds patience) {
      return connect_keeper(socket, patience);
    };
  }
  out.open_port = open_port;
  out.files.staging = options.socket_directory + "/endpoints";
  out.node_of = find_node;
  out.qos_backend = real_qos_backends(options);
  out.hw_counters = make_sysfs_hw_counters();
  out.random = [engine = std::mt19937_64(std::random_device{}())]() mutable {
    return std::uniform_real_distribution<double>(0.0, 1.0)(engine);
  };
  return out;
}

}  // namespace qmasq::vbond
