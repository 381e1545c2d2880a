// SPDX-License-Identifier: Apache-2.0
#include "cli/doctor/machine_checks.h"

#include <fmt/format.h>
#include <linux/capability.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

#include "cli/gid_text.h"
#include "common/net_types.h"

namespace qmasq::cli {
namespace {

namespace fs = std::filesystem;

bool exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// Contents without the line break at the end; empty if there is none. Files of sysfs are small.
std::string read(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  std::string out = text.str();
  while (!out.empty() && out.back() == '\n')
    out.pop_back();
  return out;
}

std::vector<std::string> entries(const std::string& path) {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
    out.push_back(at->path().filename().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

enum class ModuleState { kLoaded, kBuiltIn, kLoadable, kAbsent, kUnknown };

// Module lists of depmod(8): one path a line, up to a ':' in modules.dep.
bool lists_module(const std::string& path, std::string_view module) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::string_view name = std::string_view(line).substr(0, line.find(':'));
    name.remove_prefix(name.rfind('/') + 1);
    name = name.substr(0, name.find(".ko"));
    // File names use both; the kernel takes '-' and '_' for the same.
    bool same = std::equal(name.begin(), name.end(), module.begin(), module.end(),
                           [](char a, char b) { return a == b || (a == '-' && b == '_'); });
    if (same) return true;
  }
  return false;
}

ModuleState module_state(const std::string& root, const std::string& release,
                         const std::string& module) {
  if (exists(root + "/sys/module/" + module)) return ModuleState::kLoaded;
  std::string folder = root + "/lib/modules/" + release;
  if (lists_module(folder + "/modules.builtin", module)) return ModuleState::kBuiltIn;
  if (lists_module(folder + "/modules.dep", module)) return ModuleState::kLoadable;
  return exists(folder + "/modules.dep") ? ModuleState::kAbsent : ModuleState::kUnknown;
}

constexpr const char* kOtherKernel =
    "Install a kernel that has it: Debian's linux-image-amd64 does, its cloud flavour does not.";

Finding check_uverbs(const std::string& root, const std::string& release) {
  Finding out{Health::kOk, "modules", "ib_uverbs", "loaded", ""};
  if (exists(root + "/sys/class/infiniband_verbs")) return out;
  switch (module_state(root, release, "ib_uverbs")) {
    case ModuleState::kLoaded:
    case ModuleState::kBuiltIn:
      return out;
    case ModuleState::kLoadable:
      return {Health::kFail, "modules", "ib_uverbs", "not loaded",
              "modprobe ib_uverbs, and name it in /etc/modules-load.d/qmasq.conf."};
    default:
      return {Health::kFail, "modules", "ib_uverbs", "this kernel has none", kOtherKernel};
  }
}

// A module that the kernel loads by itself when it is needed.
Finding check_on_demand(const std::string& root, const std::string& release,
                        const std::string& module) {
  switch (module_state(root, release, module)) {
    case ModuleState::kLoaded:
      return {Health::kOk, "modules", module, "loaded", ""};
    case ModuleState::kBuiltIn:
      return {Health::kOk, "modules", module, "built in", ""};
    case ModuleState::kLoadable:
      return {Health::kOk, "modules", module, "loads when it is needed", ""};
    case ModuleState::kAbsent:
      return {Health::kFail, "modules", module, "this kernel has none; the overlay needs it",
              kOtherKernel};
    case ModuleState::kUnknown:
      break;
  }
  return {Health::kWarn, "modules", module,
          fmt::format("not loaded, and /lib/modules/{} does not say whether there is one", release),
          fmt::format("Try modprobe {}.", module)};
}

bool has_crc32(const std::string& root) {
  std::istringstream crypto(read(root + "/proc/crypto"));
  for (std::string line; std::getline(crypto, line);) {
    if (line.rfind("name", 0) != 0) continue;
    std::size_t value = line.find_first_not_of(" \t:", 4);
    if (value != std::string::npos && line.substr(value) == "crc32") return true;
  }
  return false;
}

// Addresses of the RoCE v2 entries that routers carry: what peers can send to.
std::vector<std::string> roce_v2_addresses(const std::string& port) {
  std::vector<std::string> out;
  const std::string types = port + "/gid_attrs/types/";
  const std::string gids = port + "/gids/";
  for (const std::string& index : entries(types)) {
    // An index without an entry answers the read with EINVAL.
    if (read(fmt::format("{}{}", types, index)) != "RoCE v2") continue;
    auto gid = parse_gid(read(fmt::format("{}{}", gids, index)));
    if (!gid || gid->is_zero() || gid->address().is_link_local()) continue;
    out.push_back(to_string(gid->address()));
  }
  return out;
}

Finding check_nic(const std::string& root, const std::string& device) {
  std::string port = root + "/sys/class/infiniband/" + device + "/ports/1";
  std::string state = read(port + "/state");
  if (state.find("ACTIVE") == std::string::npos) {
    return {Health::kWarn, "nic", device,
            "port 1 is not active (" + (state.empty() ? "no state" : state) + ")",
            "Bring the Ethernet interface below it up."};
  }
  auto addresses = roce_v2_addresses(port);
  if (addresses.empty()) {
    return {Health::kWarn, "nic", device, "active, but without a RoCE v2 GID that is routed",
            "Give the Ethernet interface below it an address."};
  }
  std::string list;
  for (const std::string& address : addresses)
    list += (list.empty() ? "" : ", ") + address;
  return {Health::kOk, "nic", device, "active, RoCE v2 GID " + list, ""};
}

}  // namespace

Findings check_features(const vbond::Features& features) {
  Findings out;
  for (const vbond::Feature& feature : features.all) {
    std::string name(feature.name);
    if (feature.present) {
      out.push_back({Health::kOk, "kernel", name, std::string(feature.purpose), ""});
      continue;
    }
    std::string why = feature.err == 0 ? "" : std::generic_category().message(feature.err);
    std::string remedy =
        feature.err == EBUSY
            ? "This program is under a seccomp listener itself; run doctor outside of it."
            : fmt::format("Linux {} and later have it; you run {}.", feature.since,
                          features.kernel_release);
    out.push_back({feature.required ? Health::kFail : Health::kWarn, "kernel", name,
                   fmt::format("missing{}; what needs it: {}", why.empty() ? "" : " (" + why + ")",
                               feature.purpose),
                   remedy});
  }
  return out;
}

Findings check_modules(const std::string& root, const std::string& release) {
  Findings out = {check_uverbs(root, release)};
  // Newer kernels' Soft-RoCE needs no crc32 of the crypto interface, so its absence says something
  // only where there is no device.
  if (entries(root + "/sys/class/infiniband").empty() && !has_crc32(root)) {
    out.push_back({Health::kWarn, "modules", "crc32", "not in /proc/crypto",
                   "Soft-RoCE of some kernels needs it and says 'No such file or directory' "
                   "otherwise: modprobe crc32_generic."});
  }
  for (const char* module : {"bridge", "vxlan", "veth"}) {
    out.push_back(check_on_demand(root, release, module));
  }
  return out;
}

Findings check_rdma_mode(const std::string& root) {
  std::string mode = read(root + "/sys/module/ib_core/parameters/netns_mode");
  if (mode.empty()) return {};
  if (mode == "Y" || mode == "1") {
    return {{Health::kOk, "rdma", "namespace mode", "shared", ""}};
  }
  return {{Health::kFail, "rdma", "namespace mode",
           "exclusive: programs in an endpoint's namespace find no RDMA device",
           "rdma system set netns shared, while no RDMA device is in another namespace."}};
}

Findings check_nics(const std::string& root) {
  Findings out;
  for (const std::string& device : entries(root + "/sys/class/infiniband")) {
    out.push_back(check_nic(root, device));
  }
  bool any = std::any_of(out.begin(), out.end(),
                         [](const Finding& finding) { return finding.health == Health::kOk; });
  if (out.empty()) {
    out.push_back({Health::kFail, "nic", "any", "there is no RDMA device",
                   "Load the driver of the NIC; for Soft-RoCE: modprobe rdma_rxe and "
                   "rdma link add rxe0 type rxe netdev INTERFACE."});
  } else if (!any) {
    out.push_back({Health::kFail, "nic", "any", "no RDMA device can carry traffic",
                   "Mend one of those above."});
  }
  return out;
}

Findings check_capabilities(std::uint64_t effective) {
  static constexpr std::pair<int, const char*> kNeeded[] = {
      {CAP_SYS_ADMIN, "SYS_ADMIN"}, {CAP_NET_ADMIN, "NET_ADMIN"}, {CAP_SYS_PTRACE, "SYS_PTRACE"}};
  std::string missing;
  for (auto [capability, name] : kNeeded) {
    if ((effective >> static_cast<unsigned>(capability) & 1U) == 0) {
      missing += (missing.empty() ? "" : ", ") + std::string(name);
    }
  }
  if (missing.empty()) return {{Health::kOk, "rights", "capabilities", "all that are needed", ""}};
  return {{Health::kWarn, "rights", "capabilities", "missing: " + missing,
           "qmasq-vbond and qmasq run need them: run as root. What doctor cannot see now may be "
           "wrong."}};
}

std::uint64_t effective_capabilities(const std::string& root) {
  std::istringstream status(read(root + "/proc/self/status"));
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("CapEff:", 0) != 0) continue;
    std::uint64_t out = 0;
    std::istringstream(line.substr(7)) >> std::hex >> out;
    return out;
  }
  return 0;
}

}  // namespace qmasq::cli
