// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace qmasq::vbond {

// The seam to the counters that an RDMA device keeps of itself. Called from one thread.
class HwCounters {
 public:
  virtual ~HwCounters() = default;
  // By the driver's names; empty where it has none, or is gone.
  [[nodiscard]] virtual std::map<std::string, std::uint64_t> read(const std::string& device,
                                                                  std::uint32_t port) = 0;
};

// <sysfs>/class/infiniband/DEV/ports/N/hw_counters and DEV/hw_counters (Documentation/ABI/stable/
// sysfs-class-infiniband): a decimal number a file. Of a name that is in both the port's counts.
[[nodiscard]] std::unique_ptr<HwCounters> make_sysfs_hw_counters(std::string sysfs = "/sys");

}  // namespace qmasq::vbond
