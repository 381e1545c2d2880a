// SPDX-License-Identifier: Apache-2.0
#include "vbond/sysfs/staged_dir.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "common/unique_fd.h"

namespace qmasq::vbond {
namespace {

constexpr std::size_t kMaxFile = 4096;  // sysfs never says more

Result<std::string> read_all(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, path);
  std::array<char, kMaxFile> buffer{};
  ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
  if (got < 0) return fail_errno(errno, path);
  return std::string(buffer.data(), static_cast<std::size_t>(got));
}

}  // namespace

Status make_directories(const std::string& path) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), 0755) == 0) {
      if (::chmod(part.c_str(), 0755) != 0) return fail_errno(errno, part);
    } else if (errno != EEXIST) {
      return fail_errno(errno, part);
    }
    if (end == std::string::npos) return {};
  }
}

Status write_staged(const std::string& path, const std::string& text, const std::string& scratch) {
  if (auto now = read_all(path); now && *now == text) return {};
  std::string fresh = scratch + "/new";
  UniqueFd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return fail_errno(errno, fresh);
  ssize_t put = ::write(fd.get(), text.data(), text.size());
  if (put < 0) return fail_errno(errno, fresh);
  if (static_cast<std::size_t>(put) != text.size()) return fail_errno(ENOSPC, fresh);
  if (::fchmod(fd.get(), 0444) != 0) return fail_errno(errno, fresh);
  if (::rename(fresh.c_str(), path.c_str()) != 0) return fail_errno(errno, path);
  return {};
}

Status write_table(const std::string& directory, const std::vector<std::string>& texts,
                   const std::string& scratch) {
  QMASQ_TRY(make_directories(directory));
  for (std::size_t i = 0; i < texts.size(); ++i)
    QMASQ_TRY(write_staged(directory + "/" + std::to_string(i), texts[i], scratch));
  QMASQ_ASSIGN(std::vector<std::string> names, names_in(directory));
  for (const std::string& name : names) {
    bool wanted = false;
    for (std::size_t i = 0; i < texts.size() && !wanted; ++i)
      wanted = name == std::to_string(i);
    if (wanted) continue;
    const std::filesystem::path path = std::filesystem::path(directory) / name;
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno(errno, path.native());
  }
  return {};
}

Result<std::vector<std::string>> names_in(const std::string& directory) {
  std::vector<std::string> out;
  std::error_code error;
  std::filesystem::directory_iterator at(directory, error);
  for (; !error && at != std::filesystem::directory_iterator(); at.increment(error))
    out.push_back(at->path().filename());
  if (error) return fail_errno(error.value(), directory);
  std::sort(out.begin(), out.end());
  return out;
}

Result<std::string> read_line(const std::string& path) {
  QMASQ_ASSIGN(std::string text, read_all(path));
  return text.substr(0, text.find('\n'));
}

}  // namespace qmasq::vbond
