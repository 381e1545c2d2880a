// SPDX-License-Identifier: Apache-2.0
#include "vbond/qos/hw_counters.h"

#include <filesystem>
#include <fstream>
#include <utility>

namespace qmasq::vbond {
namespace {

namespace fs = std::filesystem;

// How often the driver asks the device, in milliseconds: no counter.
constexpr const char* kLifespan = "lifespan";

class SysfsCounters final : public HwCounters {
 public:
  explicit SysfsCounters(std::string sysfs) : sysfs_(std::move(sysfs)) {}

  std::map<std::string, std::uint64_t> read(const std::string& device,
                                            std::uint32_t port) override {
    std::map<std::string, std::uint64_t> out;
    const fs::path root = fs::path(sysfs_) / "class/infiniband" / device;
    add(root / "ports" / std::to_string(port) / "hw_counters", out);
    add(root / "hw_counters", out);
    return out;
  }

 private:
  static void add(const fs::path& directory, std::map<std::string, std::uint64_t>& out) {
    std::error_code error;
    fs::directory_iterator entry(directory, error);
    for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
      const std::string name = entry->path().filename().string();
      if (name == kLifespan || out.contains(name)) continue;
      std::ifstream file(entry->path());
      std::uint64_t value = 0;
      if (file >> value) out.emplace(name, value);
    }
  }

  const std::string sysfs_;
};

}  // namespace

std::unique_ptr<HwCounters> make_sysfs_hw_counters(std::string sysfs) {
  return std::make_unique<SysfsCounters>(std::move(sysfs));
}

}  // namespace qmasq::vbond
