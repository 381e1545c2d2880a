// SPDX-License-Identifier: Apache-2.0
#include "cli/run/mounts.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "common/unique_fd.h"

namespace qmasq::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCgroup = "/sys/fs/cgroup";
constexpr const char* kVirtualDevices = "/sys/devices/virtual";
constexpr const char* kVirtualNics = "/sys/devices/virtual/infiniband";
constexpr unsigned long kInert = MS_NOSUID | MS_NODEV | MS_NOEXEC;

// A copy of the mount at `path` with what is below it, attached nowhere yet. Invalid if there is
// none.
UniqueFd copy_tree(const char* path, unsigned flags) {
  return UniqueFd(::open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags));
}

Status attach_tree(const UniqueFd& tree, const char* target) {
  if (::move_mount(tree.get(), "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return fail_errno(errno, fmt::format("cannot mount on {}", target));
  }
  return {};
}

Status restrict_mount(const char* target, unsigned long flags) {
  if (::mount(nullptr, target, nullptr, MS_REMOUNT | MS_BIND | flags, nullptr) != 0) {
    return fail_errno(errno, fmt::format("cannot restrict the mount on {}", target));
  }
  return {};
}

std::vector<std::string> directories_in(const std::string& path) {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    if (at->symlink_status(ignored).type() == fs::file_type::directory) out.push_back(at->path());
  }
  return out;
}

// A software NIC that is made later, or made anew after `rdma link delete`, has its directory below
// kVirtualNics, with the host's addresses in it and without a mount of ours. The directory above is
// the kernel's to remove, too, and with it goes what was mounted there. So kVirtualDevices, which
// stays, is covered by a directory that holds what is there now, and of the NICs those that
// `mounts` hides something of.
Status seal_virtual_devices(const std::vector<Mount>& mounts) {
  auto is_covered = [&](const std::string& nic) {
    return std::any_of(mounts.begin(), mounts.end(), [&](const Mount& mount) {
      return mount.target == nic || mount.target.starts_with(nic + "/");
    });
  };
  std::vector<std::pair<std::string, UniqueFd>> shown;
  auto show = [&](const std::string& path) {
    UniqueFd tree = copy_tree(path.c_str(), 0);
    // Whatever went away meanwhile need not be shown.
    if (tree.valid()) shown.emplace_back(path, std::move(tree));
  };
  for (const std::string& path : directories_in(kVirtualDevices)) {
    if (path != kVirtualNics) show(path);
  }
  for (const std::string& nic : directories_in(kVirtualNics)) {
    if (is_covered(nic)) show(nic);
  }
  if (::mount("tmpfs", kVirtualDevices, "tmpfs", kInert, "mode=755") != 0) {
    return fail_errno(errno, fmt::format("cannot mount on {}", kVirtualDevices));
  }
  for (const auto& [path, tree] : shown) {
    std::error_code error;
    fs::create_directories(path, error);
    if (error) return fail_errno(error.value(), path);
    QMASQ_TRY(attach_tree(tree, path.c_str()));
  }
  return restrict_mount(kVirtualDevices, kInert | MS_RDONLY);
}

// The cgroup tree is no part of a new sysfs; runtimes read their limits there.
Status replace_sysfs(const std::vector<Mount>& mounts) {
  struct stat cgroup {};
  UniqueFd kept;
  if (::stat(kCgroup, &cgroup) == 0) kept = copy_tree(kCgroup, AT_RECURSIVE);
  if (::mount("sysfs", "/sys", "sysfs", kInert, nullptr) != 0) {
    return fail_errno(errno, "cannot mount sysfs on /sys");
  }
  if (kept.valid() && ::stat(kCgroup, &cgroup) == 0) {
    QMASQ_TRY(attach_tree(kept, kCgroup));
    QMASQ_TRY(restrict_mount(kCgroup, kInert | MS_RDONLY));
  }
  // Only this mount: the file system itself is the agent's too.
  QMASQ_TRY(restrict_mount("/sys", kInert | MS_RDONLY));
  return seal_virtual_devices(mounts);
}

bool is_directory(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

// Not even root finds there what it could ask something of.
Status hide(const std::string& directory) {
  if (!is_directory(directory)) return {};
  if (::mount("tmpfs", directory.c_str(), "tmpfs", kInert | MS_RDONLY, "mode=755,nr_inodes=1") !=
      0) {
    return fail_errno(errno, "cannot hide " + directory);
  }
  return {};
}

Status bind(const Mount& mount, const UniqueFd& source) {
  if (mount.source.empty()) return hide(mount.target);
  QMASQ_TRY(attach_tree(source, mount.target.c_str()));
  unsigned long flags = MS_NOSUID;
  if (mount.read_only) flags |= MS_RDONLY;
  if (mount.no_devices) flags |= MS_NODEV;
  return restrict_mount(mount.target.c_str(), flags);
}

std::string read_mountinfo() {
  std::ifstream file("/proc/self/mountinfo");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

std::vector<MountEntry> parse_mountinfo(std::string_view text) {
  auto unescape = [](std::string_view word) {
    std::string out;
    for (std::size_t i = 0; i < word.size(); ++i) {
      auto digit = [&](std::size_t at) {
        return at < word.size() && word[at] >= '0' && word[at] <= '7' ? word[at] - '0' : -1;
      };
      if (word[i] == '\\' && digit(i + 1) >= 0 && digit(i + 2) >= 0 && digit(i + 3) >= 0) {
        out += static_cast<char>(digit(i + 1) * 64 + digit(i + 2) * 8 + digit(i + 3));
        i += 3;
      } else {
        out += word[i];
      }
    }
    return out;
  };
  std::vector<MountEntry> out;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    // ID PARENT MAJOR:MINOR ROOT MOUNT-POINT OPTIONS [TAG...] - TYPE SOURCE SUPER-OPTIONS
    std::vector<std::string_view> words;
    std::size_t dash = 0;
    for (std::size_t at = 0; at < line.size();) {
      std::size_t end = std::min(line.find(' ', at), line.size());
      if (end > at) {
        words.push_back(line.substr(at, end - at));
        if (dash == 0 && words.size() > 6 && words.back() == "-") dash = words.size() - 1;
      }
      at = end + 1;
    }
    if (dash == 0 || dash + 1 >= words.size()) continue;
    out.push_back({unescape(words[4]), std::string(words[dash + 1])});
  }
  return out;
}

std::vector<std::string> device_directories(const std::vector<MountEntry>& mounts) {
  std::vector<std::string> out;
  for (const MountEntry& mount : mounts) {
    if (mount.type != "devtmpfs") continue;
    std::string path = (mount.mount_point == "/" ? "" : mount.mount_point) + "/infiniband";
    if (std::find(out.begin(), out.end(), path) == out.end()) out.push_back(path);
  }
  return out;
}

Status enter_mount_namespace(const std::vector<Mount>& mounts) {
  if (::unshare(CLONE_NEWNS) != 0) return fail_errno(errno, "cannot make a mount namespace");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return fail_errno(errno, "cannot make the mounts private");
  }
  std::vector<Mount> all = mounts;
  for (const std::string& path : device_directories(parse_mountinfo(read_mountinfo()))) {
    bool covered = std::any_of(mounts.begin(), mounts.end(),
                               [&](const Mount& m) { return m.target == path && m.no_devices; });
    if (!covered && is_directory(path)) all.push_back({path, path, false, true});
  }
  std::vector<UniqueFd> sources;
  for (const Mount& mount : all) {
    if (mount.source.empty()) {
      sources.emplace_back();
      continue;
    }
    sources.push_back(copy_tree(mount.source.c_str(), 0));
    if (!sources.back().valid()) return fail_errno(errno, "cannot take a mount of " + mount.source);
  }
  QMASQ_TRY(replace_sysfs(all));
  for (std::size_t i = 0; i < all.size(); ++i)
    QMASQ_TRY(bind(all[i], sources[i]));
  return {};
}

}  // namespace qmasq::cli
