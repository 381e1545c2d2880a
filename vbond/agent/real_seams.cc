// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <random>

#include "vbond/agent/agent.h"
#include "vbond/agent/qos_backends.h"
#include "vbond/guard/bpf_guard.h"
#include "vbond/intercept/options.h"
#include "vbond/kernel/features.h"
#include "vbond/netlink/kernel.h"
#include "vbond/sealed/sealed_memory.h"

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

// Whether arguments can be sealed here; else programs are served as before there was that.
Status can_seal(const AgentOptions& options, const Features& features) {
  if (!options.seal) return fail(Code::kUnsupported, "--seal off");
  // Without it a signal would take the thread from the call that the agent is at.
  if (!features.has(kWaitKillable))
    return fail(Code::kUnsupported, "the kernel has no WAIT_KILLABLE_RECV (Linux 5.19)");
  std::ifstream yama("/proc/sys/kernel/yama/ptrace_scope");
  constexpr int kNobody = 3;
  if (int scope = 0; yama >> scope && scope >= kNobody)
    return fail(Code::kUnsupported, "kernel.yama.ptrace_scope is 3: nobody may stop a thread");
  QMASQ_TRY(sealed::SealedMemory::create(InterceptOptions{}.sealed_folder));
  return {};
}

void seal(const AgentOptions& options, const Features& features, AgentSeams& out) {
  if (auto can = can_seal(options, features); !can) {
    spdlog::warn("arguments of verbs are not sealed: {}; what programs change the guard alone sees",
                 can.error().message);
    return;
  }
  out.redirector = make_redirector();
  out.features.emplace_back("sealed_arguments");
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
  seal(options, features, out);
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
