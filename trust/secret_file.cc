// SPDX-License-Identifier: Apache-2.0
#include "trust/secret_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "common/unique_fd.h"

namespace qmasq::trust {
namespace {

constexpr std::size_t kMaxFile = 256 << 10;

Result<UniqueFd> open_file(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd.valid()) {
    int err = errno;
    return fail_errno(err, fmt::format("cannot read {}", path));
  }
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return fail(Code::kFailedPrecondition, fmt::format("{} is not a file", path));
  }
  return fd;
}

Result<std::string> read_all(int fd, const std::string& path) {
  std::string text(kMaxFile + 1, '\0');
  std::size_t got = 0;
  while (got < text.size()) {
    ssize_t n = ::read(fd, text.data() + got, text.size() - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      int err = errno;
      return fail_errno(err, fmt::format("cannot read {}", path));
    }
    if (n == 0) break;
    got += static_cast<std::size_t>(n);
  }
  if (got > kMaxFile) {
    return fail(
        Code::kFailedPrecondition,
        fmt::format("{} has more than {} bytes: it holds no key or certificate", path, kMaxFile));
  }
  // What is behind the text goes with the string that held it.
  std::string out(text.data(), got);
  ::explicit_bzero(text.data(), got);
  return out;
}

Status check_secrecy(const struct stat& info, const std::string& path, std::string_view remedy) {
  if ((info.st_mode & 077) != 0) {
    return fail(Code::kFailedPrecondition,
                fmt::format("{} is open to others than its owner (mode {:04o}): {} {}", path,
                            info.st_mode & 07777, remedy, path));
  }
  if (info.st_uid != 0 && info.st_uid != ::geteuid()) {
    return fail(Code::kFailedPrecondition,
                fmt::format("{} belongs to user {}, who could change it: it must belong to root or "
                            "to user {}",
                            path, info.st_uid, ::geteuid()));
  }
  return {};
}

Status write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      int err = errno;
      return fail_errno(err, fmt::format("cannot write {}", path));
    }
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

std::string directory_of(const std::string& path) {
  auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Result<Secret> read_secret_file(const std::string& path) {
  QMASQ_ASSIGN(UniqueFd fd, open_file(path));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) {
    int err = errno;
    return fail_errno(err, fmt::format("cannot read {}", path));
  }
  QMASQ_TRY(check_secrecy(info, path, "chmod 600"));
  QMASQ_ASSIGN(std::string text, read_all(fd.get(), path));
  return Secret(std::move(text));
}

Result<std::string> read_text_file(const std::string& path) {
  QMASQ_ASSIGN(UniqueFd fd, open_file(path));
  return read_all(fd.get(), path);
}

Status write_file_atomically(const std::string& path, std::string_view text, mode_t mode) {
  std::string temporary = path + ".XXXXXX";
  // mkostemp makes it 0600.
  UniqueFd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd.valid()) {
    int err = errno;
    return fail_errno(err, fmt::format("cannot write {}", path));
  }
  auto write = [&]() -> Status {
    QMASQ_TRY(write_all(fd.get(), text, path));
    if (::fchmod(fd.get(), mode) != 0 || ::fsync(fd.get()) != 0 ||
        ::rename(temporary.c_str(), path.c_str()) != 0) {
      int err = errno;
      return fail_errno(err, fmt::format("cannot write {}", path));
    }
    return {};
  };
  if (auto written = write(); !written) {
    ::unlink(temporary.c_str());
    return written;
  }
  UniqueFd directory(::open(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid() || ::fsync(directory.get()) != 0) {
    int err = errno;
    return fail_errno(err, fmt::format("cannot flush the directory of {}", path));
  }
  return {};
}

Status make_secret_directory(const std::string& path) {
  // What leads to it is for all.
  for (auto at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    const std::string parent = path.substr(0, at);
    if (::mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) {
      int err = errno;
      return fail_errno(err, fmt::format("cannot make {}", parent));
    }
  }
  if (::mkdir(path.c_str(), 0700) == 0) return {};
  int err = errno;
  if (err != EEXIST) return fail_errno(err, fmt::format("cannot make {}", path));
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return fail(Code::kFailedPrecondition, fmt::format("{} is not a directory", path));
  }
  return check_secrecy(info, path, "chmod 700");
}

}  // namespace qmasq::trust
