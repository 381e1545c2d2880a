// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>

namespace prometheus {
class Registry;
}

namespace qmasq::vbond {

// qmasq_vbond_nic_devices{state="active"|"down"}  RDMA devices that the agent may use
// qmasq_vbond_nic_usable                          of these, active and with a GID of the underlay
// qmasq_vbond_nic_changes_total{change="found"|"lost"}
// Thread-safe.
class NicMetrics {
 public:
  explicit NicMetrics(prometheus::Registry& registry);
  ~NicMetrics();
  NicMetrics(const NicMetrics&) = delete;
  NicMetrics& operator=(const NicMetrics&) = delete;

  void set_devices(std::size_t active, std::size_t down, std::size_t usable);
  void count_found();
  void count_lost();

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

}  // namespace qmasq::vbond
