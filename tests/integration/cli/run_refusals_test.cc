// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>

#include "common/seen_order.h"
#include "tests/integration/cli/run_harness.h"
#include "vbond/filter/filter.h"

namespace qmasq::cli::testing {
namespace {

using ::testing::HasSubstr;

class RunRefusals : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!may_make_namespaces()) GTEST_SKIP() << "needs root and namespaces";
  }
  FakeAgent agent_;
};

TEST_F(RunRefusals, ProgramsThatCannotRun) {
  EXPECT_EQ(run_tenant(agent_, {"/nonexistent/program"}).code(), 127);
  EXPECT_EQ(run_tenant(agent_, {"no-such-program-in-path"}).code(), 127);
  EXPECT_EQ(run_tenant(agent_, {"/etc/passwd"}).code(), 126);
  Finished done = run_tenant(agent_, {"no-such-program-in-path"});
  EXPECT_THAT(done.err, HasSubstr("qmasq: there is no program 'no-such-program-in-path'"));
  EXPECT_EQ(done.out, "");
}

TEST_F(RunRefusals, UnknownEndpointAndEndpointOfAnotherHost) {
  Finished unknown = run_tenant(agent_, {"/bin/true"}, {"--endpoint", "blue/nobody"});
  EXPECT_EQ(unknown.code(), 125);
  EXPECT_EQ(unknown.err, "qmasq: there is no endpoint blue/nobody\n");
  Finished elsewhere = run_tenant(agent_, {"/bin/true"}, {"--endpoint", "blue/elsewhere"});
  EXPECT_EQ(elsewhere.code(), 125);
  EXPECT_THAT(elsewhere.err, HasSubstr("hosts/hostB"));
}

TEST_F(RunRefusals, NoAgentNamesSocketAndRemedy) {
  Finished done = run_command({QMASQ_PROGRAM, "run", "--agent-socket-dir", "/nonexistent",
                               "--endpoint", "blue/a", "--", "/bin/true"});
  EXPECT_EQ(done.code(), 125);
  EXPECT_THAT(done.err, HasSubstr("/nonexistent/attach.sock"));
  EXPECT_THAT(done.err, HasSubstr("qmasq-vbond"));
}

TEST_F(RunRefusals, NotRoot) {
  Finished done = run_tenant(agent_, {"/bin/true"}, {}, [] {
    // Another user may not even reach the program: a clone in /root is root's alone.
    if (::prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0) != 0) ::_exit(98);
  });
  EXPECT_EQ(done.code(), 125);
  EXPECT_THAT(done.err, HasSubstr("needs root, or CAP_SYS_ADMIN"));
  EXPECT_THAT(done.err, HasSubstr("sudo"));
}

TEST_F(RunRefusals, UnderAnotherListenerAlready) {
#ifdef QMASQ_UNDER_TSAN
  GTEST_SKIP() << "its runtime makes a file when a program starts, and nobody here answers that";
#endif
  Finished done = run_tenant(agent_, {"/bin/true"}, {}, [] {
    // As a sandbox would: the listener stays open, and nothing that the program does is trapped.
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    vbond::FilterOptions options;
    options.trap_write = false;
    auto listener = vbond::install_filter(options);
    if (!listener) ::_exit(97);
    ::fcntl(listener->release(), F_SETFD, 0);  // it must outlive the exec
  });
  EXPECT_EQ(done.code(), 125) << done.err;
  EXPECT_THAT(done.err, HasSubstr("already under a seccomp listener"));
}

TEST_F(RunRefusals, TheAgentRefusesAtTheLastStep) {
  agent_.refuse_attached = [] {
    return fail(Code::kFailedPrecondition, "the endpoint is being deleted");
  };
  Finished done = run_tenant(agent_, {"/bin/echo", "reached"});
  EXPECT_EQ(done.code(), 125);
  EXPECT_EQ(done.out, "");
  EXPECT_THAT(done.err, HasSubstr("the endpoint is being deleted"));
}

TEST_F(RunRefusals, AMountThatCannotBeMade) {
  agent_.terms.mounts = {{agent_.folder() + "/missing", "/etc/hostname", true, false}};
  Finished done = run_tenant(agent_, {"/bin/echo", "reached"});
  EXPECT_EQ(done.code(), 125);
  EXPECT_EQ(done.out, "");
  EXPECT_THAT(done.err, HasSubstr(agent_.folder() + "/missing"));
}

TEST_F(RunRefusals, TooFewDescriptors) {
  Finished done = run_tenant(agent_, {"/bin/echo", "reached"}, {}, [] {
    rlimit low{512, 512};
    ::setrlimit(RLIMIT_NOFILE, &low);
  });
  EXPECT_EQ(done.code(), 125);
  EXPECT_THAT(done.err, HasSubstr("ulimit"));
}

TEST_F(RunRefusals, UnknownUser) {
  Finished done =
      run_tenant(agent_, {"/bin/true"}, {"--endpoint", "blue/a", "--user", "no-such-user"});
  EXPECT_EQ(done.code(), 125);
  EXPECT_THAT(done.err, HasSubstr("--user: there is no user 'no-such-user'"));
}

}  // namespace
}  // namespace qmasq::cli::testing
