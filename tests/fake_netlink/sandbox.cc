// SPDX-License-Identifier: Apache-2.0
#include "tests/fake_netlink/sandbox.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

namespace qmasq::test {
namespace {

std::string why(const char* what) {
  return std::string(what) + ": " + std::generic_category().message(errno);
}

}  // namespace

std::string enter_sandbox() {
  if (::unshare(CLONE_NEWNS | CLONE_NEWNET) != 0) return why("unshare");
  if (::mount("", "/", "none", MS_REC | MS_PRIVATE, nullptr) != 0) return why("make / private");
  if (::mount("none", "/run", "tmpfs", 0, nullptr) != 0) return why("mount /run");
  return {};
}

int run_tests_in_sandbox(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (std::string error = enter_sandbox(); !error.empty()) {
    if (::geteuid() == 0) {
      std::fprintf(stderr, "root, and still no sandbox: %s\n", error.c_str());
      return 1;
    }
    std::fprintf(stderr, "SKIPPED: needs root (%s)\n", error.c_str());
    return 77;  // ctest: SKIP_RETURN_CODE
  }
  return RUN_ALL_TESTS();
}

}  // namespace qmasq::test
