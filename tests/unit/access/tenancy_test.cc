// SPDX-License-Identifier: Apache-2.0
#include "vbond/access/tenancy.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vbond/filter/filter.h"

namespace qmasq::vbond {
namespace {

// A process that has done what its argument says, and waits.
class Child {
 public:
  Child(bool network, bool privileges, bool filter) {
    int ends[2] = {};
    if (pipe(ends) != 0) return;
    pid_ = fork();
    if (pid_ == 0) {
      if (network && unshare(CLONE_NEWNET) != 0) _exit(1);
      if (privileges) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
      auto listener = filter ? install_filter({}) : Result<UniqueFd>(UniqueFd{});
      if (!listener || write(ends[1], "x", 1) != 1) _exit(1);
      for (;;)
        pause();
    }
    close(ends[1]);
    char ready = 0;
    ready_ = read(ends[0], &ready, 1) == 1;
    close(ends[0]);
  }
  ~Child() { end(); }
  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
  bool ready_ = false;
};

TEST(Tenancy, ReadsWhatProcSays) {
  auto marks = parse_status("Name:\tx\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n");
  EXPECT_TRUE(marks.found);
  EXPECT_TRUE(marks.no_new_privs);
  EXPECT_TRUE(marks.filtered);
  marks = parse_status("NoNewPrivs:\t0\nSeccomp:\t1\n");
  EXPECT_TRUE(marks.found);
  EXPECT_FALSE(marks.no_new_privs);
  EXPECT_FALSE(marks.filtered);
  EXPECT_FALSE(parse_status("").found);
  EXPECT_FALSE(parse_status("NoNewPrivs:\t1\n").found);
  // The name of a process is its own word: it cannot say more than a name.
  EXPECT_FALSE(parse_status("Name:\tNoNewPrivs:\t0\nSeccomp_filters:\t2\n").found);
}

TEST(Tenancy, KnowsWhatATenantCannotShed) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root for namespaces";
  Child tenant(true, true, true);
  Child in_namespace(true, false, false);
  Child sandboxed_here(false, true, true);
  ASSERT_TRUE(tenant.ready() && in_namespace.ready() && sandboxed_here.ready());
  EXPECT_TRUE(may_be_tenant(tenant.pid()));
  EXPECT_FALSE(may_be_tenant(in_namespace.pid())) << "an admin in `ip netns exec`";
  EXPECT_FALSE(may_be_tenant(sandboxed_here.pid())) << "a hardened service of the host";
  EXPECT_FALSE(may_be_tenant(getpid()));
}

TEST(Tenancy, TakesWhoIsGoneForOne) {
  Child gone(false, false, false);
  pid_t pid = gone.pid();
  gone.end();
  EXPECT_TRUE(may_be_tenant(pid));
}

}  // namespace
}  // namespace qmasq::vbond
