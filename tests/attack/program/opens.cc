// SPDX-License-Identifier: Apache-2.0
// Every way to a verbs device of one's own, past the agent. Each answers with the errno, "agent"
// when the descriptor is one that another opened (the kernel takes no write() on it), "path" when
// nothing can be done with it, or "own": an attack that worked.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/attack/program/attack.h"
#include "tests/attack/program/ring.h"

namespace qmasq::attack {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Whether the file was opened by a mount that this program does not have.
bool opened_elsewhere(int fd) {
  const std::string info = text_of("/proc/self/fdinfo/" + std::to_string(fd));
  const std::size_t at = info.find("mnt_id:");
  if (at == std::string::npos) return false;
  const std::string id = std::to_string(std::stoi(info.substr(at + std::strlen("mnt_id:"))));
  const std::string mounts = "\n" + text_of("/proc/self/mountinfo");
  return mounts.find("\n" + id + " ") == std::string::npos;
}

// What a descriptor is good for. On a number below those the agent reserves: a write there is the
// kernel's to judge.
std::string worth(int fd) {
  if (fd < 0) return errno_name(errno);
  ib_uverbs_get_context command{};
  std::array<std::byte, 64> answer{};
  command.response = reinterpret_cast<std::uint64_t>(answer.data());
  Legacy<ib_uverbs_get_context> request(IB_USER_VERBS_CMD_GET_CONTEXT, command,
                                        sizeof(ib_uverbs_get_context_resp));
  const int low = ::fcntl(fd, F_DUPFD, 40);
  std::string out = "own";
  if (::write(low, &request, sizeof request) < 0) {
    const int by_write = errno;
    out = by_write == EACCES ? "agent" : by_write == EBADF ? "path" : "own";
    // A descriptor that is not for writing takes no write(); an ioctl it takes.
    if (by_write == EBADF && opened_elsewhere(low)) {
      out = "agent";
    } else if (by_write == EBADF && (::fcntl(low, F_GETFL) & O_PATH) == 0) {
      Method query(UVERBS_OBJECT_DEVICE, UVERBS_METHOD_GET_CONTEXT);
      std::uint32_t vectors = 0;
      std::uint64_t support = 0;
      query.out(UVERBS_ATTR_GET_CONTEXT_NUM_COMP_VECTORS, &vectors, sizeof vectors)
          .out(UVERBS_ATTR_GET_CONTEXT_CORE_SUPPORT, &support, sizeof support);
      out = query.run(low) == 0 ? "own" : "path";
    }
  }
  ::close(low);
  ::close(fd);
  return out;
}

int open_by_how(const std::string& path, std::uint64_t flags, std::uint64_t resolve) {
  ::open_how how{};
  how.flags = flags;
  how.resolve = resolve;
  return static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how));
}

int reopen(int fd, int flags) {
  if (fd < 0) return -1;
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  return ::open(link.c_str(), flags | O_CLOEXEC);
}

#if defined(__x86_64__)
// open() by the entry of 32-bit programs.
int open_i386(const std::string& path, int flags) {
  auto* low = static_cast<char*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0));
  if (low == MAP_FAILED) return -1;
  std::strncpy(low, path.c_str(), 4095);
  constexpr long kOpen = 5;
  long result = kOpen;
  __asm__ volatile("int $0x80"
                   : "+a"(result)
                   : "b"(reinterpret_cast<std::uint64_t>(low)),
                     "c"(static_cast<std::uint64_t>(flags)), "d"(0UL)
                   : "memory", "r8", "r9", "r10", "r11");
  ::munmap(low, 4096);
  if (result >= 0) return static_cast<int>(result);
  errno = static_cast<int>(-result);
  return -1;
}

int open_x32(const std::string& path, int flags) {
  constexpr long kX32 = 0x40000000;
  return static_cast<int>(::syscall(kX32 + SYS_openat, AT_FDCWD, path.c_str(), flags, 0));
}
#endif

// In a child: what it does to namespaces and mounts is to stay there.
std::string in_child(const std::function<std::string()>& attempt) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) return errno_name(errno);
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string answer = attempt();
    (void)!::write(ends[1], answer.data(), answer.size());
    ::_exit(0);
  }
  ::close(ends[1]);
  std::array<char, 128> text{};
  const ssize_t length = ::read(ends[0], text.data(), text.size());
  ::close(ends[0]);
  (void)::waitpid(child, nullptr, 0);
  return {text.data(), length > 0 ? static_cast<std::size_t>(length) : 0};
}

std::string made_node(const std::string& node, const std::string& folder) {
  struct stat info {};
  dev_t number = makedev(231, 192);
  if (::stat(node.c_str(), &info) == 0 && S_ISCHR(info.st_mode)) number = info.st_rdev;
  const std::string path = folder + "/attack-node";
  (void)::unlink(path.c_str());
  if (::mknod(path.c_str(), S_IFCHR | 0666, number) != 0) return errno_name(errno);
  std::string out = worth(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  (void)::unlink(path.c_str());
  return out;
}

// All capabilities, over namespaces of one's own.
bool become_user_root(int more) {
  const uid_t uid = ::getuid();
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS | more) != 0) return false;
  FILE* map = std::fopen("/proc/self/uid_map", "w");
  if (map == nullptr) return false;
  std::fprintf(map, "0 %u 1", uid);
  return std::fclose(map) == 0;
}

std::string unmasked(const std::string& node, bool as_user_root) {
  if (as_user_root ? !become_user_root(0) : ::unshare(CLONE_NEWNS) != 0) return errno_name(errno);
  (void)::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  if (::umount2("/dev/infiniband", MNT_DETACH) == 0) {
    return worth(::open(node.c_str(), O_RDWR | O_CLOEXEC));
  }
  const int first = errno;
  if (::mount("dev", "/mnt", "devtmpfs", 0, nullptr) == 0) {
    const std::string other = "/mnt" + node.substr(std::strlen("/dev"));
    return worth(::open(other.c_str(), O_RDWR | O_CLOEXEC));
  }
  // Without devices taken away, or turned back on: whatever of both is possible.
  if (::mount(nullptr, "/dev/infiniband", nullptr, MS_REMOUNT | MS_BIND, nullptr) == 0) {
    return worth(::open(node.c_str(), O_RDWR | O_CLOEXEC));
  }
  return errno_name(first);
}

std::string of_another_namespace(const std::string& node) {
  const int space = ::open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
  if (space < 0) return errno_name(errno);
  if (::setns(space, CLONE_NEWNS) != 0) return errno_name(errno);
  return worth(::open(node.c_str(), O_RDWR | O_CLOEXEC));
}

std::string by_handle(const std::string& node) {
  alignas(file_handle) std::array<std::byte, sizeof(file_handle) + MAX_HANDLE_SZ> bytes{};
  auto* handle = reinterpret_cast<file_handle*>(bytes.data());
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount_id = 0;
  if (::name_to_handle_at(AT_FDCWD, node.c_str(), handle, &mount_id, 0) != 0)
    return errno_name(errno);
  const int mount = ::open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  std::string out = worth(::open_by_handle_at(mount, handle, O_RDWR | O_CLOEXEC));
  ::close(mount);
  return out;
}

}  // namespace

int opens(const std::string& device, const std::string& node) {
  nlohmann::ordered_json out;
  constexpr int kBoth = O_RDWR | O_CLOEXEC;
  auto open = [&](int flags) { return ::openat(AT_FDCWD, node.c_str(), flags); };
  out["openat"] = worth(open(kBoth));
  out["openat write-only"] = worth(open(O_WRONLY | O_CLOEXEC));
  out["openat read-only"] = worth(open(O_RDONLY | O_CLOEXEC));
  out["openat access mode 3"] = worth(open(3 | O_CLOEXEC));
#ifdef SYS_open
  out["open"] = worth(static_cast<int>(::syscall(SYS_open, node.c_str(), kBoth)));
  out["creat"] = worth(static_cast<int>(::syscall(SYS_creat, node.c_str(), 0666)));
#endif
  out["openat2"] = worth(open_by_how(node, kBoth, 0));
  out["openat2 no magic links"] = worth(open_by_how(node, kBoth, RESOLVE_NO_MAGICLINKS));
  out["openat relative"] = in_child([&] {
    if (::chdir("/dev/infiniband") != 0) return errno_name(errno);
    return worth(::openat(AT_FDCWD, node.substr(node.rfind('/') + 1).c_str(), kBoth));
  });
  out["openat by a symbolic link"] = in_child([&] {
    const std::string link = "/tmp/attack-link-" + std::to_string(::getpid());
    if (::symlink(node.c_str(), link.c_str()) != 0) return errno_name(errno);
    const int fd = ::openat(AT_FDCWD, link.c_str(), kBoth);
    const int err = errno;
    ::unlink(link.c_str());
    errno = err;
    return worth(fd);
  });
  const int path = open(O_PATH | O_CLOEXEC);
  out["O_PATH"] = path < 0 ? errno_name(errno) : "path";
  out["O_PATH and /proc/self/fd"] = worth(reopen(path, O_RDWR));
  out["O_PATH and /proc/self/fd read-only"] = worth(reopen(path, O_RDONLY));
  {
    Rig rig(device);
    out["device"] = rig.error().empty() ? "0" : rig.error();
    if (rig.error().empty()) {
      out["/proc/self/fd of the open device"] = worth(reopen(rig.fd(), O_RDWR));
      out["/proc/self/fd of the open device read-only"] = worth(reopen(rig.fd(), O_RDONLY));
    }
  }
  out["mknod"] = made_node(node, "/tmp");
  out["mknod in /dev/shm"] = made_node(node, "/dev/shm");
  out["mknod as root of a user namespace"] =
      in_child([&] { return become_user_root(0) ? made_node(node, "/tmp") : errno_name(errno); });
  out["another mount namespace"] = in_child([&] { return of_another_namespace(node); });
  out["a mount namespace of one's own"] = in_child([&] { return unmasked(node, false); });
  out["a user and mount namespace"] = in_child([&] { return unmasked(node, true); });
  out["/proc/1/root"] = worth(::open(("/proc/1/root" + node).c_str(), kBoth));
  out["open_by_handle_at"] = by_handle(node);
  out["io_uring"] = worth(open_by_ring(node, kBoth));
#if defined(__x86_64__)
  out["int 0x80"] = worth(open_i386(node, kBoth));
  out["x32"] = worth(open_x32(node, kBoth));
#endif
  std::printf("%s\n", out.dump().c_str());
  return 0;
}

}  // namespace qmasq::attack
