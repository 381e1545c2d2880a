// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <string_view>

#include "common/unique_fd.h"
#include "vbond/kernel/errno_or.h"

namespace qmasq::vbond {

// An open verbs device: one user context in the kernel. Thread-safe.
class VerbsFile {
 public:
  virtual ~VerbsFile() = default;  // closes; tears the context down when nobody else has the file
  [[nodiscard]] virtual int descriptor() const = 0;
  // ioctl(RDMA_VERBS_IOCTL) with a header in the agent's memory.
  [[nodiscard]] virtual ErrnoOr<int> call(void* header) = 0;
};

class VerbsDevices {
 public:
  virtual ~VerbsDevices() = default;

  // Opens /dev/infiniband/<node> such that whoever gets the descriptor can not open the device
  // anew through it. `flags`: access mode and O_NONBLOCK.
  //
  // Why that matters: opening /proc/self/fd/N gives a second file, opened by the tenant itself.
  // The kernel takes write() from the opener of a verbs file, and write() carries every verb.
  [[nodiscard]] virtual ErrnoOr<std::unique_ptr<VerbsFile>> open(std::string_view node,
                                                                 int flags) = 0;
  // A file that the tenant opened itself.
  [[nodiscard]] virtual ErrnoOr<std::unique_ptr<VerbsFile>> adopt(UniqueFd file) = 0;
  // Node that a device number belongs to ("uverbs0"); empty: no verbs device.
  [[nodiscard]] virtual std::string node_of(dev_t device) = 0;
  // RDMA device behind a node: "rxe0"; empty: none.
  [[nodiscard]] virtual std::string rdma_device_of(std::string_view node) = 0;
};

// The kernel's. `root` is where the nodes are, ioctls go to the device.
class DeviceNodes final : public VerbsDevices {
 public:
  explicit DeviceNodes(std::string root = "/dev/infiniband") : root_(std::move(root)) {}
  [[nodiscard]] ErrnoOr<std::unique_ptr<VerbsFile>> open(std::string_view node, int flags) override;
  [[nodiscard]] ErrnoOr<std::unique_ptr<VerbsFile>> adopt(UniqueFd file) override;
  [[nodiscard]] std::string node_of(dev_t device) override;
  [[nodiscard]] std::string rdma_device_of(std::string_view node) override;

 private:
  const std::string root_;
};

// The step of DeviceNodes::open that keeps others from opening anew, and from changing the node's
// mode or owner: a descriptor of the node at `path` whose mount has MNT_NODEV and MNT_READONLY.
// open_tree(2), mount_setattr(2): Linux 5.12, CAP_SYS_ADMIN.
[[nodiscard]] ErrnoOr<UniqueFd> open_without_reopen(const std::string& path, int flags);

}  // namespace qmasq::vbond
