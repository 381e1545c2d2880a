// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/net_types.h"
#include "tests/lab/probe/probe.h"

// Everything that a tenant can ask about its own address, by verbs and by sysfs.
namespace qmasq::probe {
namespace {

namespace fs = std::filesystem;

std::string text_of(const std::uint8_t (&raw)[16]) {
  Gid gid;
  std::memcpy(gid.raw.data(), raw, gid.raw.size());
  return to_string(gid);
}

std::string read_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Files of a sysfs folder by name; the kernel answers EINVAL for what an entry does not have.
nlohmann::ordered_json read_folder(const fs::path& folder) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    out[entry.path().filename()] = read_line(entry.path());
  }
  return out;
}

}  // namespace

int identity(const std::string& device) {
  nlohmann::ordered_json out;
  Context context = open_device(device);
  out["open"] = errno_name(context ? 0 : errno);
  if (!context) {
    std::printf("%s\n", out.dump().c_str());
    return 1;
  }
  ibv_device_attr attributes{};
  out["QUERY_DEVICE"] = errno_name(ibv_query_device(context.get(), &attributes));
  std::uint8_t guid[16] = {};
  std::memcpy(guid, &attributes.node_guid, 8);
  std::memcpy(guid + 8, &attributes.sys_image_guid, 8);
  out["guids"] = text_of(guid);
  ibv_port_attr port{};
  out["QUERY_PORT"] = errno_name(ibv_query_port(context.get(), 1, &port));
  out["gid_tbl_len"] = port.gid_tbl_len;
  out["query_gid"] = nlohmann::ordered_json::array();
  for (int i = 0; i < port.gid_tbl_len; ++i) {
    ibv_gid gid{};
    int err = ibv_query_gid(context.get(), 1, i, &gid) == 0 ? 0 : errno;
    out["query_gid"].push_back(err == 0 ? text_of(gid.raw) : errno_name(err));
  }
  ibv_gid beyond{};
  out["query_gid_beyond"] =
      errno_name(ibv_query_gid(context.get(), 1, port.gid_tbl_len, &beyond) == 0 ? 0 : errno);
  std::vector<ibv_gid_entry> table(256);
  ssize_t entries = ibv_query_gid_table(context.get(), table.data(), table.size(), 0);
  out["gid_table"] = nlohmann::ordered_json::array();
  for (ssize_t i = 0; i < entries; ++i) {
    const auto& entry = table[static_cast<std::size_t>(i)];
    out["gid_table"].push_back({{"index", entry.gid_index},
                                {"gid", text_of(entry.gid.raw)},
                                {"type", entry.gid_type},
                                {"ifindex", entry.ndev_ifindex}});
  }
  fs::path sysfs = fs::path("/sys/class/infiniband") / device;
  out["sysfs"] = {{"node_guid", read_line(sysfs / "node_guid")},
                  {"sys_image_guid", read_line(sysfs / "sys_image_guid")},
                  {"gids", read_folder(sysfs / "ports/1/gids")},
                  {"types", read_folder(sysfs / "ports/1/gid_attrs/types")},
                  {"ndevs", read_folder(sysfs / "ports/1/gid_attrs/ndevs")}};
  std::printf("%s\n", out.dump().c_str());
  return 0;
}

}  // namespace qmasq::probe
