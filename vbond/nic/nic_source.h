// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/result.h"
#include "vbond/nic/nic.h"

namespace qmasq::vbond {

// What one glance shows. A device that went and came back under its name has another index.
struct NicGlance {
  std::string device;
  int index = -1;  // the kernel's number of the RDMA device
  // Of whatever shows without asking the driver, which may log each question: the interface below,
  // whether it is up, the first GIDs. Compared, not read.
  std::string looks;
  bool operator==(const NicGlance&) const = default;
};

// The seam to the RDMA devices of the machine. Called from one thread at a time.
class NicSource {
 public:
  virtual ~NicSource() = default;
  // Cheap enough for every second; by name.
  [[nodiscard]] virtual Result<std::vector<NicGlance>> glance() = 0;
  // All but `primary`. kNotFound for a device that has gone.
  [[nodiscard]] virtual Result<Nic> describe(const std::string& device) = 0;
};

// libibverbs, RDMA netlink and sysfs. Opens a device for the length of describe() only: a context
// held open keeps `rdma link del` waiting on drivers that cannot be taken from their users.
[[nodiscard]] std::unique_ptr<NicSource> make_verbs_nic_source();

// The seam to this host's own addresses.
class UnderlaySource {
 public:
  virtual ~UnderlaySource() = default;
  [[nodiscard]] virtual Result<IpAddress> address() = 0;
};

// Always this one. `address` must be an address of this host: kNotFound otherwise.
[[nodiscard]] std::unique_ptr<UnderlaySource> make_fixed_underlay(const IpAddress& address);
// The first IPv4 address of the interface that is not link-local, else the first such IPv6 one.
[[nodiscard]] std::unique_ptr<UnderlaySource> make_device_underlay(std::string device);

}  // namespace qmasq::vbond
