// SPDX-License-Identifier: Apache-2.0
#include "vbond/kernel/task_inspector.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <map>
#include <memory>
#include <string_view>

namespace qmasq::vbond {
namespace {

struct CloseDir {
  void operator()(DIR* dir) const { closedir(dir); }
};
using Dir = std::unique_ptr<DIR, CloseDir>;

Dir open_dir(const std::string& path) {
  return Dir(opendir(path.c_str()));
}

std::optional<int> number(std::string_view text) {
  int value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Calls visit(number) for each entry of a directory that is a number.
template <typename Visit>
void each_number(const Dir& dir, Visit visit) {
  while (const dirent* entry = readdir(dir.get())) {
    if (auto value = number(entry->d_name)) visit(*value);
  }
}

std::string proc(pid_t tid) {
  return "/proc/" + std::to_string(tid);
}

// kcmp answers 0 same, 1 less, 2 greater, 3 differs without an order.
ErrnoOr<int> kcmp_files(pid_t a, int fd_a, pid_t b, int fd_b) {
  long order = syscall(SYS_kcmp, a, b, KCMP_FILE, fd_a, fd_b);
  if (order < 0) return tl::unexpected(errno);
  return order == 0 ? 0 : (order == 1 ? -1 : 1);
}

// One of the agent's files that is looked for.
struct Wanted {
  int own = -1;
  dev_t device = 0;
  std::size_t index = 0;
};

class HolderSearch {
 public:
  explicit HolderSearch(std::span<const int> own) : found_(own.size()), self_(getpid()) {
    for (std::size_t i = 0; i < own.size(); ++i) {
      struct stat status {};
      if (fstat(own[i], &status) != 0) continue;
      wanted_.push_back({own[i], status.st_rdev, i});
    }
    // In the kernel's own order, so that each descriptor met costs a few comparisons.
    std::sort(wanted_.begin(), wanted_.end(), [&](const Wanted& a, const Wanted& b) {
      return kcmp_files(self_, a.own, self_, b.own).value_or(0) < 0;
    });
  }

  void look_into(pid_t pid) {
    if (pid == self_) return;
    look_at_table(pid);
    // Threads share the table unless they ran unshare(CLONE_FILES).
    Dir tasks = open_dir(proc(pid) + "/task");
    if (!tasks) return;
    each_number(tasks, [&](int tid) {
      if (tid != pid && syscall(SYS_kcmp, pid, tid, KCMP_FILES, 0, 0) > 0) look_at_table(tid);
    });
  }

  std::vector<std::optional<TaskInspector::Holder>> take() { return std::move(found_); }

 private:
  void look_at_table(pid_t tid) {
    Dir table = open_dir(proc(tid) + "/fd");
    if (!table) return;
    each_number(table, [&](int fd) {
      struct stat status {};
      if (fstatat(dirfd(table.get()), std::to_string(fd).c_str(), &status, 0) != 0) return;
      if (S_ISCHR(status.st_mode)) match(tid, fd, status.st_rdev);
    });
  }

  void match(pid_t tid, int fd, dev_t device) {
    if (std::none_of(wanted_.begin(), wanted_.end(),
                     [&](const Wanted& each) { return each.device == device; })) {
      return;
    }
    auto low = wanted_.begin();
    auto high = wanted_.end();
    while (low < high) {
      auto middle = low + (high - low) / 2;
      auto order = kcmp_files(self_, middle->own, tid, fd);
      if (!order) return;
      if (*order == 0) {
        found_[middle->index] = TaskInspector::Holder{tid, fd};
        return;
      }
      if (*order < 0) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
  }

  std::vector<Wanted> wanted_;
  std::vector<std::optional<TaskInspector::Holder>> found_;
  const pid_t self_;
};

struct Stat {
  pid_t parent = 0;
  std::uint64_t started = 0;
};

// Fields 4 and 22 of /proc/PID/stat. The name in field 2 may contain anything, parentheses too.
std::optional<Stat> read_stat(pid_t pid) {
  UniqueFd file(open((proc(pid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return std::nullopt;
  std::array<char, 1024> text{};
  ssize_t got = read(file.get(), text.data(), text.size());
  std::string_view rest(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  const auto at = rest.rfind(')');
  if (at == std::string_view::npos) return std::nullopt;
  rest.remove_prefix(at + 1);
  Stat out;
  for (int field = 3; field <= 22; ++field) {
    if (rest.empty()) return std::nullopt;
    rest.remove_prefix(1);
    const std::string_view word = rest.substr(0, rest.find(' '));
    if (field == 4) out.parent = number(word).value_or(0);
    if (field == 22) std::from_chars(word.data(), word.data() + word.size(), out.started);
    rest.remove_prefix(word.size());
  }
  return out;
}

}  // namespace

ErrnoOr<pid_t> ProcTasks::process_of(pid_t tid) {
  // Name and Tgid are the first lines; a name has at most 63 bytes when escaped.
  UniqueFd file(open((proc(tid) + "/status").c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return tl::unexpected(errno == ENOENT ? ESRCH : errno);
  std::array<char, 512> text{};
  ssize_t got = read(file.get(), text.data(), text.size());
  if (got < 0) return tl::unexpected(errno);
  std::string_view rest(text.data(), static_cast<std::size_t>(got));
  constexpr std::string_view kKey = "\nTgid:\t";
  auto at = rest.find(kKey);
  if (at == std::string_view::npos) return tl::unexpected(ESRCH);
  rest.remove_prefix(at + kKey.size());
  auto pid = number(rest.substr(0, rest.find('\n')));
  if (!pid) return tl::unexpected(ESRCH);
  return *pid;
}

std::string ProcTasks::command_of(pid_t pid) {
  UniqueFd file(open((proc(pid) + "/comm").c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return "?";
  std::array<char, 64> text{};
  ssize_t got = read(file.get(), text.data(), text.size());
  std::string name(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  if (!name.empty() && name.back() == '\n') name.pop_back();
  // The tenant chose it; it ends up in logs and tables.
  for (char& each : name) {
    if (each < 0x20 || each > 0x7e) each = '?';
  }
  return name.empty() ? "?" : name;
}

ErrnoOr<int> ProcTasks::free_descriptor(pid_t tid, int first, int count) {
  rlimit limit{};
  if (prlimit(tid, RLIMIT_NOFILE, nullptr, &limit) != 0) return tl::unexpected(errno);
  constexpr int kMost = 4096;
  count = std::min(count, kMost);
  std::bitset<kMost> used;
  Dir table = open_dir(proc(tid) + "/fd");
  if (!table) return tl::unexpected(errno == ENOENT ? ESRCH : errno);
  each_number(table, [&](int fd) {
    if (fd >= first && fd - first < count) used.set(static_cast<std::size_t>(fd - first));
  });
  for (int i = 0; i < count; ++i) {
    if (static_cast<rlim_t>(first) + static_cast<rlim_t>(i) >= limit.rlim_cur) break;
    if (!used.test(static_cast<std::size_t>(i))) return first + i;
  }
  return tl::unexpected(EMFILE);
}

ErrnoOr<int> ProcTasks::compare(int own, pid_t tid, int fd) {
  return kcmp_files(self_, own, tid, fd);
}

ErrnoOr<int> ProcTasks::compare(int own, int other) {
  return kcmp_files(self_, own, self_, other);
}

ErrnoOr<UniqueFd> ProcTasks::take(pid_t tid, int fd) {
  auto pid = process_of(tid);
  if (!pid) return tl::unexpected(pid.error());
  UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, *pid, 0)));
  if (!process.valid()) return tl::unexpected(errno);
  UniqueFd taken(static_cast<int>(syscall(SYS_pidfd_getfd, process.get(), fd, 0)));
  if (!taken.valid()) return tl::unexpected(errno);
  // The table was that of the process; a task may have one of its own.
  auto same = compare(taken.get(), tid, fd);
  if (!same) return tl::unexpected(same.error());
  if (*same != 0) return tl::unexpected(EBADF);
  return taken;
}

ErrnoOr<dev_t> ProcTasks::device_of(pid_t tid, int fd) {
  struct stat status {};
  if (stat((proc(tid) + "/fd/" + std::to_string(fd)).c_str(), &status) != 0) {
    return tl::unexpected(errno == ENOENT ? EBADF : errno);
  }
  return S_ISCHR(status.st_mode) ? status.st_rdev : 0;
}

std::vector<std::optional<TaskInspector::Holder>> ProcTasks::find_holders(
    std::span<const int> own) {
  HolderSearch search(own);
  std::vector<pid_t> passed_over;
  {
    std::lock_guard lock(mutex_);
    passed_over = passed_over_;
  }
  if (Dir processes = open_dir("/proc")) {
    each_number(processes, [&](int pid) {
      if (std::count(passed_over.begin(), passed_over.end(), pid) == 0) search.look_into(pid);
    });
  }
  return search.take();
}

ErrnoOr<std::uint64_t> ProcTasks::started(pid_t pid) {
  auto stat = read_stat(pid);
  if (!stat) return tl::unexpected(ESRCH);
  return stat->started;
}

std::vector<pid_t> ProcTasks::descendants(pid_t pid) {
  std::multimap<pid_t, pid_t> children;
  if (Dir processes = open_dir("/proc")) {
    each_number(processes, [&](int each) {
      if (auto stat = read_stat(each)) children.emplace(stat->parent, each);
    });
  }
  std::vector<pid_t> out{pid};
  for (std::size_t i = 0; i < out.size(); ++i) {
    auto [child, last] = children.equal_range(out[i]);
    for (; child != last; ++child) {
      // The tree was not read in one moment: an id used again could close a circle.
      if (std::find(out.begin(), out.end(), child->second) == out.end())
        out.push_back(child->second);
    }
  }
  out.erase(out.begin());
  return out;
}

int ProcTasks::end(pid_t pid, const std::function<bool()>& still) {
  if (pid == self_ || pid <= 1) return ECANCELED;
  UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!process.valid()) return errno;
  if (!still()) return ECANCELED;
  return syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0) == 0 ? 0 : errno;
}

void ProcTasks::look_past(std::vector<pid_t> processes) {
  std::lock_guard lock(mutex_);
  passed_over_ = std::move(processes);
}

}  // namespace qmasq::vbond
