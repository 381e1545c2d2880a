// SPDX-License-Identifier: Apache-2.0
#include "vbond/agent/instance_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

namespace qmasq::vbond {

Result<InstanceLock> InstanceLock::take(const std::string& directory) {
  if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) {
    return fail_errno(errno, fmt::format("make the directory {}", directory));
  }
  std::string path = directory + "/vbond.lock";
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return fail_errno(errno, fmt::format("open {}", path));
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno(errno, fmt::format("lock {}", path));
    std::array<char, 32> text{};
    auto size = ::pread(file.get(), text.data(), text.size() - 1, 0);
    long pid = size > 0 ? std::strtol(text.data(), nullptr, 10) : 0;
    return fail(
        Code::kAlreadyExists,
        fmt::format("an agent (pid {}) runs with {} already: stop it first", pid, directory));
  }
  std::string pid = fmt::format("{}\n", ::getpid());
  if (::ftruncate(file.get(), 0) != 0 ||
      ::pwrite(file.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return fail_errno(errno, fmt::format("write {}", path));
  }
  return InstanceLock(std::move(file));
}

}  // namespace qmasq::vbond
