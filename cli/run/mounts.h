// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

// The tenant's view of the file system, made by the process that becomes the tenant's program.
namespace qmasq::cli {

struct Mount {
  // Path on the host: a file or a directory. Empty: an empty directory over the target, if it is a
  // directory; else nothing.
  std::string source;
  std::string target;  // of the same kind; must exist
  bool read_only = false;
  bool no_devices = false;  // device nodes below cannot be opened; stat still works
};

struct MountEntry {
  std::string mount_point;
  std::string type;
};
// What /proc/self/mountinfo says (proc(5)), with \040 and the like turned back. Lines of another
// form are left out.
[[nodiscard]] std::vector<MountEntry> parse_mountinfo(std::string_view text);

// Directories of RDMA device nodes that `type` devtmpfs mounts would show besides the usual one:
// "<mount point>/infiniband" for each.
[[nodiscard]] std::vector<std::string> device_directories(const std::vector<MountEntry>& mounts);

// In this order:
//   a mount namespace of its own, from which nothing spreads to the host
//   a sysfs of the current network namespace on /sys, read-only, with the cgroup tree as it was;
//     of software NICs it shows those that `mounts` covers, and none that comes later
//   `mounts`; the source is looked up before /sys is replaced
//   every other devtmpfs (of a chroot, say): its RDMA nodes made unusable too
// REQUIRES: already in the endpoint's network namespace, CAP_SYS_ADMIN. On failure the process is
// left half way and must not run the tenant's program.
[[nodiscard]] Status enter_mount_namespace(const std::vector<Mount>& mounts);

}  // namespace qmasq::cli
