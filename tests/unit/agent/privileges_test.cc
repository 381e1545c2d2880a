// SPDX-License-Identifier: Apache-2.0
#include "vbond/agent/privileges.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <string>

namespace qmasq::vbond {
namespace {

// True if any set of this thread has CAP_NET_RAW, as /proc says.
bool any_set_has_net_raw() {
  std::ifstream file("/proc/self/status");
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind("Cap", 0) != 0) continue;
    auto mask = std::stoull(line.substr(line.find('\t') + 1), nullptr, 16);
    if ((mask >> CAP_NET_RAW & 1U) != 0) return true;
  }
  return false;
}

// Runs `body` in a child, whose credentials are its own; its answer is the exit code.
template <typename Body>
int in_child(Body&& body) {
  pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Privileges, NetRawLeavesEverySet) {
  if (::prctl(PR_CAPBSET_READ, CAP_SETPCAP, 0, 0, 0) != 1 || ::geteuid() != 0) {
    GTEST_SKIP() << "needs CAP_SETPCAP";
  }
  EXPECT_EQ(in_child([] {
              if (!drop_net_raw()) return 1;
              if (any_set_has_net_raw()) return 2;
              // A second time changes nothing.
              return drop_net_raw() ? 0 : 3;
            }),
            0);
}

TEST(Privileges, MissingOnesAreNamed) {
  EXPECT_EQ(in_child([] {
              __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
              std::array<__user_cap_data_struct, 2> none{};
              if (::syscall(SYS_capset, &header, none.data()) != 0) return 1;
              auto status = check_capabilities();
              if (status) return 2;
              if (status.error().message.find("CAP_SYS_ADMIN") == std::string::npos) return 3;
              return status.error().message.find("as root") == std::string::npos ? 4 : 0;
            }),
            0);
}

}  // namespace
}  // namespace qmasq::vbond
