// SPDX-License-Identifier: Apache-2.0
#include "vbond/kernel/verbs_device.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <utility>

namespace qmasq::vbond {
namespace {

constexpr unsigned long kVerbsIoctlCommand = 0xc0181b01;  // RDMA_VERBS_IOCTL

class KernelVerbsFile final : public VerbsFile {
 public:
  explicit KernelVerbsFile(UniqueFd file) : file_(std::move(file)) {}
  int descriptor() const override { return file_.get(); }
  ErrnoOr<int> call(void* header) override {
    int value = ioctl(file_.get(), kVerbsIoctlCommand, header);
    if (value < 0) return tl::unexpected(errno);
    return value;
  }

 private:
  UniqueFd file_;
};

}  // namespace

ErrnoOr<UniqueFd> open_without_reopen(const std::string& path, int flags) {
  // A detached clone of the mount, holding nothing but the node. The file keeps the clone alive;
  // opening through the file's /proc entry goes by the clone, which has no devices any more. It is
  // read-only too: the inode is the host's, and a tenant that is root could fchmod() it.
  UniqueFd mount(static_cast<int>(
      syscall(SYS_open_tree, AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!mount.valid()) return tl::unexpected(errno);
  std::string link = "/proc/self/fd/" + std::to_string(mount.get());
  UniqueFd file(open(link.c_str(), flags | O_CLOEXEC | O_NOCTTY));
  if (!file.valid()) return tl::unexpected(errno);
  mount_attr change{};
  change.attr_set = MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
  if (syscall(SYS_mount_setattr, mount.get(), "", AT_EMPTY_PATH, &change, sizeof(change)) != 0) {
    return tl::unexpected(errno);
  }
  return file;
}

ErrnoOr<std::unique_ptr<VerbsFile>> DeviceNodes::open(std::string_view node, int flags) {
  auto file = open_without_reopen(root_ + "/" + std::string(node), flags);
  if (!file) return tl::unexpected(file.error());
  struct stat status {};
  if (fstat(file->get(), &status) != 0) return tl::unexpected(errno);
  if (!S_ISCHR(status.st_mode)) return tl::unexpected(ENODEV);
  return std::make_unique<KernelVerbsFile>(std::move(*file));
}

ErrnoOr<std::unique_ptr<VerbsFile>> DeviceNodes::adopt(UniqueFd file) {
  return std::make_unique<KernelVerbsFile>(std::move(file));
}

std::string DeviceNodes::node_of(dev_t device) {
  std::string link =
      "/sys/dev/char/" + std::to_string(major(device)) + ":" + std::to_string(minor(device));
  std::array<char, PATH_MAX> target{};
  ssize_t length = readlink(link.c_str(), target.data(), target.size());
  if (length <= 0) return {};
  // ".../infiniband_verbs/uverbs0"
  std::string_view text(target.data(), static_cast<std::size_t>(length));
  constexpr std::string_view kClass = "/infiniband_verbs/";
  auto at = text.rfind(kClass);
  if (at == std::string_view::npos) return {};
  return std::string(text.substr(at + kClass.size()));
}

std::string DeviceNodes::rdma_device_of(std::string_view node) {
  std::string path = "/sys/class/infiniband_verbs/" + std::string(node) + "/ibdev";
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return {};
  std::array<char, 128> text{};
  ssize_t length = read(file.get(), text.data(), text.size());
  std::string name(text.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
  while (!name.empty() && name.back() == '\n')
    name.pop_back();
  return name;
}

}  // namespace qmasq::vbond
