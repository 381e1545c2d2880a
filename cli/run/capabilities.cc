// SPDX-License-Identifier: Apache-2.0
#include "cli/run/capabilities.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

namespace qmasq::cli {
namespace {

// SETFCAP, SYS_CHROOT, MKNOD, NET_RAW, which container runtimes often leave, are not here: a file
// with capabilities outlives the program on the host's disk, and the others get at devices or at
// raw QPs.
constexpr std::array<int, 11> kKept = {
    CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER,           CAP_FSETID,   CAP_KILL,        CAP_SETGID,
    CAP_SETUID, CAP_SETPCAP,      CAP_NET_BIND_SERVICE, CAP_IPC_LOCK, CAP_AUDIT_WRITE,
};

struct Sets {
  std::uint64_t effective = 0;
  std::uint64_t permitted = 0;
  std::uint64_t inheritable = 0;
};

constexpr std::uint64_t bit(int capability) {
  return std::uint64_t{1} << static_cast<unsigned>(capability);
}

Result<Sets> get_sets() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return fail_errno(errno, "capget");
  auto join = [](std::uint32_t low, std::uint32_t high) {
    return std::uint64_t{high} << 32U | low;
  };
  return Sets{join(data[0].effective, data[1].effective),
              join(data[0].permitted, data[1].permitted),
              join(data[0].inheritable, data[1].inheritable)};
}

Status set_sets(const Sets& sets) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (unsigned i = 0; i < 2; ++i) {
    data[i].effective = static_cast<std::uint32_t>(sets.effective >> (32U * i));
    data[i].permitted = static_cast<std::uint32_t>(sets.permitted >> (32U * i));
    data[i].inheritable = static_cast<std::uint32_t>(sets.inheritable >> (32U * i));
  }
  if (::syscall(SYS_capset, &header, data) != 0) {
    return fail_errno(errno, "cannot give up capabilities");
  }
  return {};
}

}  // namespace

std::span<const int> kept_capabilities() {
  return kKept;
}

std::uint64_t keep_mask(std::uint64_t present) {
  std::uint64_t kept = 0;
  for (int capability : kKept)
    kept |= bit(capability);
  return present & kept;
}

Status drop_capabilities() {
  // The kernel says where its capabilities end: EINVAL.
  for (int capability = 0; capability < 64; ++capability) {
    int held = ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
    if (held < 0) break;
    if (held == 0 || keep_mask(bit(capability)) != 0) continue;
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
      return fail_errno(errno, fmt::format("cannot give up capability {}", capability));
    }
  }
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
    return fail_errno(errno, "cannot clear ambient capabilities");
  }
  QMASQ_ASSIGN(Sets sets, get_sets());
  std::uint64_t kept = keep_mask(sets.permitted);
  // Nothing to inherit: a program of another user must not get capabilities through its file.
  return set_sets(Sets{kept, kept, 0});
}

std::string missing_capabilities(bool other_user) {
  auto sets = get_sets();
  const std::uint64_t held = sets ? sets->effective : 0;
  std::string out;
  auto need = [&](int capability, const char* name) {
    if ((held & bit(capability)) == 0) out += (out.empty() ? "" : ", ") + std::string(name);
  };
  need(CAP_SYS_ADMIN, "CAP_SYS_ADMIN");
  need(CAP_SETPCAP, "CAP_SETPCAP");
  if (other_user) {
    need(CAP_SETUID, "CAP_SETUID");
    need(CAP_SETGID, "CAP_SETGID");
  }
  return out;
}

}  // namespace qmasq::cli
