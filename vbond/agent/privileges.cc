// SPDX-License-Identifier: Apache-2.0
#include "vbond/agent/privileges.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <string>
#include <utility>

namespace qmasq::vbond {
namespace {

struct Capability {
  int number;
  const char* name;
  const char* purpose;
};

constexpr std::array kNeeded = {
    Capability{CAP_SYS_ADMIN, "CAP_SYS_ADMIN",
               "network namespaces, mounts and the guard's BPF programs"},
    Capability{CAP_NET_ADMIN, "CAP_NET_ADMIN", "the overlay and limits of NICs"},
    Capability{CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "arguments of tenants' verbs"},
    Capability{CAP_KILL, "CAP_KILL", "to end programs that break out"},
    Capability{CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE", "files of tenants in /proc"},
};

struct Sets {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
};

Result<Sets> read_sets() {
  Sets sets;
  if (::syscall(SYS_capget, &sets.header, sets.data.data()) != 0) {
    return fail_errno(errno, "read our capabilities");
  }
  return sets;
}

}  // namespace

Status check_capabilities() {
  QMASQ_ASSIGN(Sets sets, read_sets());
  std::string missing;
  for (const Capability& one : kNeeded) {
    auto word = static_cast<std::size_t>(CAP_TO_INDEX(one.number));
    if ((sets.data[word].effective & CAP_TO_MASK(one.number)) != 0) continue;
    missing += fmt::format("{}{} ({})", missing.empty() ? "" : ", ", one.name, one.purpose);
  }
  if (missing.empty()) return {};
  return fail(Code::kPermissionDenied,
              fmt::format("this process lacks {}: start the agent as root", missing));
}

Status drop_net_raw() {
  // The bounding set first: it needs CAP_SETPCAP and would give the capability back on exec.
  if (::prctl(PR_CAPBSET_READ, CAP_NET_RAW, 0, 0, 0) == 1 &&
      ::prctl(PR_CAPBSET_DROP, CAP_NET_RAW, 0, 0, 0) != 0) {
    return fail_errno(errno, "drop CAP_NET_RAW from the bounding set");
  }
  QMASQ_ASSIGN(Sets sets, read_sets());
  auto& data = sets.data[CAP_TO_INDEX(CAP_NET_RAW)];
  const auto keep = ~static_cast<std::uint32_t>(CAP_TO_MASK(CAP_NET_RAW));
  data.effective &= keep;
  data.permitted &= keep;
  data.inheritable &= keep;  // takes it out of the ambient set too
  if (::syscall(SYS_capset, &sets.header, sets.data.data()) != 0) {
    return fail_errno(errno, "drop CAP_NET_RAW");
  }
  return {};
}

}  // namespace qmasq::vbond
