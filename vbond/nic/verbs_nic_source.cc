// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <infiniband/verbs.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

#include "vbond/nic/describe.h"
#include "vbond/nic/nic_source.h"
#include "vbond/nic/rdma_netlink.h"

namespace qmasq::vbond {
namespace {

constexpr std::size_t kMaxGids = 4096;
// GIDs that a glance reads. An address that comes later than those is seen with the next refresh.
constexpr int kGlancedGids = 16;

struct FreeList {
  void operator()(ibv_device** list) const { ibv_free_device_list(list); }
};
using DeviceList = std::unique_ptr<ibv_device*[], FreeList>;
struct CloseContext {
  void operator()(ibv_context* context) const { ibv_close_device(context); }
};

Result<DeviceList> device_list() {
  DeviceList list(ibv_get_device_list(nullptr));
  // ENOSYS: the kernel has no RDMA at all, so it has no devices either.
  if (!list && errno != ENOSYS) return fail_errno(errno, "list the RDMA devices");
  return list;
}

std::string first_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::filesystem::path class_path(const std::string& device) {
  return std::filesystem::path("/sys/class/infiniband") / device;
}

std::string find_driver(ibv_device* device) {
  if (int index = ibv_get_device_index(device); index >= 0) {
    if (auto id = rdma_driver_id(index)) {
      if (auto name = driver_name(*id); !name.empty()) return std::string(name);
    }
  }
  std::error_code ignored;
  auto target = std::filesystem::read_symlink(
      class_path(ibv_get_device_name(device)) / "device" / "driver", ignored);
  return target.filename().string();
}

std::string find_netdev(const std::string& device, const std::vector<ibv_gid_entry>& gids) {
  for (const auto& entry : gids) {
    std::array<char, IF_NAMESIZE> name{};
    if (entry.ndev_ifindex != 0 && if_indextoname(entry.ndev_ifindex, name.data()) != nullptr) {
      return name.data();
    }
  }
  // A NIC without addresses; software NICs say what they stand on.
  return first_line(class_path(device) / "parent");
}

// Files that the kernel answers from its own tables. Those of the port's state and rate ask the
// driver, and for an Ethernet interface without a speed (virtio) the kernel logs each time.
std::string looks_of(const std::string& device) {
  auto port = class_path(device) / "ports/1";
  std::string netdev = first_line(port / "gid_attrs/ndevs/0");
  if (netdev.empty()) netdev = first_line(class_path(device) / "parent");
  std::string out = netdev;
  if (!netdev.empty()) {
    out += " " + first_line(std::filesystem::path("/sys/class/net") / netdev / "operstate");
  }
  for (int i = 0; i < kGlancedGids; ++i) {
    out += " " + first_line(port / "gids" / std::to_string(i));
  }
  return out;
}

class VerbsNicSource final : public NicSource {
 public:
  Result<std::vector<NicGlance>> glance() override {
    QMASQ_ASSIGN(DeviceList list, device_list());
    std::vector<NicGlance> out;
    for (std::size_t i = 0; list && list[i] != nullptr; ++i) {
      std::string name = ibv_get_device_name(list[i]);
      out.push_back({name, ibv_get_device_index(list[i]), looks_of(name)});
    }
    std::sort(out.begin(), out.end(),
              [](const NicGlance& a, const NicGlance& b) { return a.device < b.device; });
    return out;
  }

  Result<Nic> describe(const std::string& device) override {
    QMASQ_ASSIGN(DeviceList list, device_list());
    ibv_device* found = nullptr;
    for (std::size_t i = 0; list && list[i] != nullptr; ++i) {
      if (device == ibv_get_device_name(list[i])) found = list[i];
    }
    if (found == nullptr) {
      return fail(Code::kNotFound, fmt::format("no RDMA device named {}", device));
    }
    std::unique_ptr<ibv_context, CloseContext> context(ibv_open_device(found));
    if (!context) return fail_errno(errno, fmt::format("open RDMA device {}", device));

    Nic nic;
    nic.device = device;
    nic.port = 1;
    ibv_port_attr port{};
    if (int err = ibv_query_port(context.get(), 1, &port); err != 0) {
      return fail_errno(err, fmt::format("query port 1 of {}", device));
    }
    nic.active = port.state == IBV_PORT_ACTIVE;
    nic.active_mtu = mtu_bytes(port.active_mtu);
    nic.rate_bps = rate_bits_per_second(port.active_speed, port.active_width);

    auto length = std::clamp<std::size_t>(
        port.gid_tbl_len > 0 ? static_cast<std::size_t>(port.gid_tbl_len) : 1, 1, kMaxGids);
    std::vector<ibv_gid_entry> entries(length);
    auto count = ibv_query_gid_table(context.get(), entries.data(), entries.size(), 0);
    if (count < 0) {
      return fail_errno(static_cast<int>(-count), fmt::format("query the GIDs of {}", device));
    }
    entries.resize(static_cast<std::size_t>(count));
    for (const auto& entry : entries) {
      if (entry.port_num != 1) continue;
      PhysicalGid gid{entry.gid_index, {}, GidType::kIbRoceV1};
      std::memcpy(gid.gid.raw.data(), entry.gid.raw, gid.gid.raw.size());
      if (entry.gid_type == IBV_GID_TYPE_ROCE_V2) gid.type = GidType::kRoceV2;
      nic.gids.push_back(gid);
    }
    nic.netdev = find_netdev(device, entries);
    nic.driver = find_driver(found);
    return nic;
  }
};

}  // namespace

std::unique_ptr<NicSource> make_verbs_nic_source() {
  return std::make_unique<VerbsNicSource>();
}

}  // namespace qmasq::vbond
