// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "vbond/netlink/encode.h"
#include "vbond/netlink/kernel.h"
#include "vbond/netlink/socket.h"

namespace qmasq::vbond::netlink {
namespace {

Status check_name(const std::string& name) {
  if (name.empty() || name.size() > 255 || name.find('/') != std::string::npos || name == "." ||
      name == "..") {
    return fail(Code::kInvalidArgument,
                "network namespace name \"" + name + "\" is not a file name");
  }
  return {};
}

// Tenants have no CAP_NET_RAW; without this `ping` fails in their namespaces. Every group may use
// ICMP echo sockets, which can do no more than that. A kernel without them just has no ping.
void allow_ping() {
  UniqueFd file(::open("/proc/sys/net/ipv4/ping_group_range", O_WRONLY | O_CLOEXEC));
  constexpr std::string_view kEveryGroup = "0 2147483647";
  if (file.valid() && ::write(file.get(), kEveryGroup.data(), kEveryGroup.size()) < 0) {
    spdlog::debug("ping_group_range of a new network namespace cannot be set");
  }
}

// In a new namespace of the calling thread: marks it, then pins it to the name.
Result<UniqueFd> make_here(const std::string& path, const std::string& mark) {
  if (::unshare(CLONE_NEWNET) != 0) return fail_errno(errno, "make a network namespace");
  QMASQ_ASSIGN(Socket socket, Socket::open());
  SetLink loopback;
  loopback.alias = mark;
  loopback.up = true;
  for (SetLinkStep& step : encode(loopback, 1, 0)) {  // the first link of each namespace
    QMASQ_TRY(socket.run(std::move(step.message)));
  }
  allow_ping();
  UniqueFd netns(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!netns.valid()) return fail_errno(errno, "open /proc/thread-self/ns/net");
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
  if (!file.valid()) {
    if (errno == EEXIST) {
      return fail(Code::kAlreadyExists, "network namespace " + path + " is there already");
    }
    return fail_errno(errno, "create " + path);
  }
  if (::mount("/proc/thread-self/ns/net", path.c_str(), "none", MS_BIND, nullptr) != 0) {
    int err = errno;
    ::unlink(path.c_str());
    return fail_errno(err, "name the network namespace " + path);
  }
  return netns;
}

}  // namespace

KernelNamespaces::KernelNamespaces(Options options) : options_(std::move(options)) {}

std::string KernelNamespaces::path(const std::string& name) const {
  return options_.directory + "/" + name;
}

// The directory is a shared mount, as `ip netns` makes it: a name that is taken away goes from
// every mount namespace, or copies of the mount would keep the namespace alive.
Status KernelNamespaces::prepare_directory() {
  const char* directory = options_.directory.c_str();
  if (::mkdir(directory, 0755) != 0 && errno != EEXIST) {
    return fail_errno(errno, "create " + options_.directory);
  }
  if (::mount("", directory, "none", MS_SHARED | MS_REC, nullptr) == 0) return {};
  if (errno != EINVAL) return fail_errno(errno, "share the mount " + options_.directory);
  if (::mount(directory, directory, "none", MS_BIND | MS_REC, nullptr) != 0 ||
      ::mount("", directory, "none", MS_SHARED | MS_REC, nullptr) != 0) {
    return fail_errno(errno, "share the mount " + options_.directory);
  }
  return {};
}

Result<std::vector<std::string>> KernelNamespaces::names() {
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(options_.directory.c_str()), ::closedir);
  std::vector<std::string> found;
  if (!directory) {
    if (errno == ENOENT) return found;
    return fail_errno(errno, "read " + options_.directory);
  }
  while (const dirent* entry = ::readdir(directory.get())) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") found.push_back(std::move(name));
  }
  std::sort(found.begin(), found.end());
  return found;
}

Result<UniqueFd> KernelNamespaces::open(const std::string& name) {
  QMASQ_TRY(check_name(name));
  UniqueFd fd(::open(path(name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, "open the network namespace " + path(name));
  if (::ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET) {
    return fail(Code::kFailedPrecondition, path(name) + " is not a network namespace");
  }
  return fd;
}

Result<UniqueFd> KernelNamespaces::create(const std::string& name, const std::string& mark) {
  QMASQ_TRY(check_name(name));
  QMASQ_TRY(prepare_directory());
  std::optional<Result<UniqueFd>> made;
  std::thread([&] { made = make_here(path(name), mark); }).join();
  return std::move(*made);
}

Status KernelNamespaces::remove(const std::string& name) {
  QMASQ_TRY(check_name(name));
  std::string target = path(name);
  // EINVAL: not a mount; the file alone is left.
  if (::umount2(target.c_str(), MNT_DETACH) != 0 && errno != EINVAL) {
    return fail_errno(errno, "unmount " + target);
  }
  if (::unlink(target.c_str()) != 0) return fail_errno(errno, "remove " + target);
  return {};
}

}  // namespace qmasq::vbond::netlink
