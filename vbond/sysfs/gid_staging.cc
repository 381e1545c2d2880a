// SPDX-License-Identifier: Apache-2.0
#include "vbond/sysfs/gid_staging.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "vbond/sysfs/staged_dir.h"

namespace qmasq::vbond {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRoceV2 = "RoCE v2\n";
constexpr const char* kScratch = ".new";
constexpr const char* kHidden = ".hidden";

Status check_device(const std::string& device) {
  // With a dot in front: directories, and names of our own.
  if (!device.empty() && device[0] != '.' && device.find('/') == std::string::npos) return {};
  return fail(Code::kInvalidArgument, fmt::format("'{:.64}' is not a device name", device));
}

// The kernel's form of a GUID: "0200:5eff:fe00:0001".
std::string guid_text(const std::array<std::uint8_t, 8>& guid) {
  return fmt::format("{:02x}{:02x}:{:02x}{:02x}:{:02x}{:02x}:{:02x}{:02x}\n", guid[0], guid[1],
                     guid[2], guid[3], guid[4], guid[5], guid[6], guid[7]);
}

Status remove_tree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return fail_errno(error.value(), path);
  return {};
}

// What hides the host's addresses in one device of sysfs, and shows the endpoint's.
void add_mounts(const std::string& home, const std::string& name, const fs::path& device,
                const std::vector<StagedNic>& nics, std::vector<StagedMount>& out) {
  const fs::path hidden = fs::path(home) / kHidden;
  const fs::path staged = fs::path(home) / name;
  std::error_code error;
  auto managed = [&](const std::string& port) {
    return std::any_of(nics.begin(), nics.end(), [&](const StagedNic& nic) {
      return nic.device == name && (port.empty() || std::to_string(nic.port) == port);
    });
  };
  if (!check_device(name) || !managed("")) {
    out.push_back({hidden, device});
    return;
  }
  for (const std::string part : {"node_guid", "sys_image_guid"}) {
    if (fs::exists(device / part, error)) out.push_back({staged / part, device / part});
  }
  auto ports = names_in(device / "ports");
  if (!ports) return;
  for (const std::string& port : *ports) {
    for (const std::string part : {"gids", "gid_attrs"}) {
      fs::path target = device / "ports" / port / part;
      if (!fs::exists(target, error)) continue;
      out.push_back({managed(port) ? staged / "ports" / port / part : hidden, target});
    }
  }
}

}  // namespace

std::string GidStaging::home(EndpointUid endpoint) const {
  return roots_.staging + "/" + std::to_string(endpoint.value);
}

Status GidStaging::stage(const StagedEndpoint& endpoint, const std::vector<StagedNic>& nics) {
  std::lock_guard lock(mutex_);
  std::string base = home(endpoint.uid);
  std::string scratch = base + "/" + kScratch;
  std::vector<std::string> gids;
  for (const Gid& gid : endpoint.gids)
    gids.push_back(to_string(gid) + "\n");
  std::vector<std::string> types(gids.size(), kRoceV2);
  std::vector<std::string> ndevs(gids.size(), endpoint.interface + "\n");
  std::string guid = guid_text(endpoint.guid);

  QMASQ_TRY(make_directories(scratch));
  QMASQ_TRY(make_directories(base + "/" + kHidden));
  for (const StagedNic& nic : nics) {
    QMASQ_TRY(check_device(nic.device));
    std::string device = base + "/" + nic.device;
    std::string port = device + "/ports/" + std::to_string(nic.port);
    QMASQ_TRY(make_directories(port));
    QMASQ_TRY(write_staged(device + "/node_guid", guid, scratch));
    QMASQ_TRY(write_staged(device + "/sys_image_guid", guid, scratch));
    // A GID that can be read has a type at any moment: it comes after it and goes before it.
    std::string attrs = port + "/gid_attrs";
    std::error_code ignored;
    bool shrinks = fs::exists(port + "/gids/" + std::to_string(gids.size()), ignored);
    if (shrinks) QMASQ_TRY(write_table(port + "/gids", gids, scratch));
    QMASQ_TRY(write_table(attrs + "/types", types, scratch));
    QMASQ_TRY(write_table(attrs + "/ndevs", ndevs, scratch));
    if (!shrinks) QMASQ_TRY(write_table(port + "/gids", gids, scratch));
  }
  return {};
}

std::vector<StagedMount> GidStaging::mounts(EndpointUid endpoint,
                                            const std::vector<StagedNic>& nics) const {
  std::lock_guard lock(mutex_);
  std::vector<StagedMount> out;
  const fs::path all = fs::path(roots_.sysfs) / "class/infiniband";
  auto names = names_in(all);
  if (!names) return out;
  for (const std::string& name : *names) {
    std::error_code error;
    fs::path device = fs::canonical(all / name, error);
    if (error) continue;
    add_mounts(home(endpoint), name, device, nics, out);
  }
  return out;
}

std::vector<StagedNode> GidStaging::nodes(const std::vector<StagedNic>& nics) const {
  std::vector<StagedNode> out;
  const fs::path verbs = fs::path(roots_.sysfs) / "class/infiniband_verbs";
  auto names = names_in(verbs);
  if (!names) return out;
  for (const std::string& name : *names) {
    auto device = read_line(verbs / name / "ibdev");
    auto number = read_line(verbs / name / "dev");
    if (!device || !number) continue;  // abi_version is a file here, and devices go away
    bool ours = std::any_of(nics.begin(), nics.end(),
                            [&](const StagedNic& nic) { return nic.device == *device; });
    StagedNode node{name, 0, 0};
    if (ours && std::sscanf(number->c_str(), "%u:%u", &node.major, &node.minor) == 2) {
      out.push_back(std::move(node));
    }
  }
  return out;
}

Status GidStaging::remove(EndpointUid endpoint) {
  std::lock_guard lock(mutex_);
  return remove_tree(home(endpoint));
}

Status GidStaging::sweep(const std::vector<EndpointUid>& keep) {
  std::lock_guard lock(mutex_);
  auto names = names_in(roots_.staging);
  if (!names)
    return names.error().code == Code::kNotFound ? Status{} : tl::unexpected(names.error());
  for (const std::string& name : *names) {
    // Only what has the form of ours.
    bool number = name.find_first_not_of("0123456789") == std::string::npos;
    bool kept = std::any_of(keep.begin(), keep.end(),
                            [&](EndpointUid uid) { return name == std::to_string(uid.value); });
    if (number && !kept) QMASQ_TRY(remove_tree(roots_.staging + "/" + name));
  }
  return {};
}

}  // namespace qmasq::vbond
