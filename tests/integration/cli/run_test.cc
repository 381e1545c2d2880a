// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/integration/cli/run_harness.h"

namespace qmasq::cli::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class Run : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!may_make_namespaces()) GTEST_SKIP() << "needs root and namespaces";
  }
  Finished shell(const std::string& script, const std::vector<std::string>& options = {}) {
    return run_tenant(agent_, {"/bin/sh", "-c", script}, options);
  }
  FakeAgent agent_;
};

std::string own_link(const char* path) {
  return std::filesystem::read_symlink(path).string();
}

TEST_F(Run, OutputAndExitCodeAreTheProgramsOwn) {
  Finished done = shell("echo out; echo err >&2; exit 42");
  EXPECT_EQ(done.code(), 42);
  EXPECT_EQ(done.out, "out\n");
  EXPECT_EQ(done.err, "err\n");
  EXPECT_EQ(shell("exit 0").code(), 0);
  EXPECT_EQ(shell("exit 255").code(), 255);
  EXPECT_EQ(agent_.last_command(), "/bin/sh");
  EXPECT_EQ(agent_.last_endpoint(), "blue/a");
}

TEST_F(Run, FindsTheAgentsSocketsHidden) {
  agent_.terms.mounts = {{"", agent_.folder(), true, true}, {"", "/nonexistent/x", true, true}};
  Finished done = shell("ls -A " + agent_.folder() + "; touch " + agent_.folder() +
                        "/x 2>/dev/null || echo read-only; umount " + agent_.folder() +
                        " 2>/dev/null || echo stays");
  EXPECT_EQ(done.code(), 0) << done.err;
  EXPECT_EQ(done.out, "read-only\nstays\n");
  EXPECT_TRUE(std::filesystem::exists(agent_.folder() + "/attach.sock")) << "it is there for us";
}

TEST_F(Run, ASignalEndsItAsItWouldAlone) {
  EXPECT_EQ(shell("kill -TERM $$").signal(), SIGTERM);
  EXPECT_EQ(shell("kill -KILL $$").signal(), SIGKILL);
  // What a shell makes of it.
  Finished nested = run_command({"/bin/sh", "-c",
                                 std::string(QMASQ_PROGRAM) + " run -e blue/a --agent-socket-dir " +
                                     agent_.folder() + " -- /bin/sh -c 'kill -TERM $$'; echo $?"});
  EXPECT_EQ(nested.out, "143\n");
}

TEST_F(Run, TheProcessItselfBecomesTheProgram) {
  // The shell that starts it sees the pid of `qmasq run` as the pid of the program.
  Finished done =
      run_command({"/bin/sh", "-c",
                   std::string(QMASQ_PROGRAM) + " run -e blue/a --agent-socket-dir " +
                       agent_.folder() + " -- /bin/sh -c 'echo $$' & pid=$!; wait; echo $pid"});
  std::istringstream lines(done.out);
  std::string inner;
  std::string outer;
  lines >> inner >> outer;
  EXPECT_FALSE(inner.empty()) << done.err;
  EXPECT_EQ(inner, outer);
}

TEST_F(Run, ArgumentsAndInputArriveAsTheyAre) {
  Finished done = run_tenant(
      agent_, {"/bin/sh", "-c", "printf '<%s>' \"$@\"", "sh", "--wait", "--", "-o", "", "a b"});
  EXPECT_EQ(done.out, "<--wait><--><-o><><a b>");
}

TEST_F(Run, IsInTheEndpointsNetworkAndInAMountNamespaceOfItsOwn) {
  Finished done = shell("readlink /proc/self/ns/net /proc/self/ns/mnt; echo $QMASQ_ENDPOINT");
  std::istringstream lines(done.out);
  std::string net;
  std::string mnt;
  std::string endpoint;
  lines >> net >> mnt >> endpoint;
  EXPECT_EQ(net, agent_.netns_id());
  EXPECT_NE(net, own_link("/proc/self/ns/net"));
  EXPECT_NE(mnt, own_link("/proc/self/ns/mnt"));
  EXPECT_EQ(endpoint, "vpcs/blue/endpoints/a");
}

TEST_F(Run, SysfsShowsTheNamespacesInterfacesAndIsReadOnly) {
  Finished done = shell("ls /sys/class/net; grep ' /sys ' /proc/self/mountinfo | tail -1");
  EXPECT_THAT(done.out, ::testing::StartsWith("lo\n"));
  EXPECT_THAT(done.out, ContainsRegex(" /sys ro,nosuid,nodev,noexec"));
}

TEST_F(Run, CapabilitiesAreGoneFromEverySet) {
  Finished done = shell("cat /proc/self/status");
  std::uint64_t allowed = 0;
  for (int kept : {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_KILL, CAP_SETGID,
                   CAP_SETUID, CAP_SETPCAP, CAP_NET_BIND_SERVICE, CAP_IPC_LOCK, CAP_AUDIT_WRITE}) {
    allowed |= std::uint64_t{1} << static_cast<unsigned>(kept);
  }
  int sets = 0;
  std::istringstream lines(done.out);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("Cap", 0) != 0) continue;
    ++sets;
    std::uint64_t mask = std::stoull(line.substr(line.find(':') + 1), nullptr, 16);
    EXPECT_EQ(mask & ~allowed, 0U) << line;
  }
  EXPECT_EQ(sets, 5);
  EXPECT_THAT(done.out, HasSubstr("NoNewPrivs:\t1"));
  EXPECT_THAT(done.out, HasSubstr("Seccomp:\t2"));
}

TEST_F(Run, WhatNeedsThemFails) {
  EXPECT_NE(shell("mknod " + agent_.folder() + "/node c 1 3 2>&1").code(), 0);
  EXPECT_NE(shell("mount -t tmpfs none /mnt 2>&1").code(), 0);
  EXPECT_NE(shell("umount /sys 2>&1").code(), 0);
  EXPECT_FALSE(std::filesystem::exists(agent_.folder() + "/node"));
}

TEST_F(Run, OffersMountsOfTheAgentAndLeavesTheHostAsItWas) {
  std::string staged = agent_.folder() + "/staged";
  std::string target = agent_.folder() + "/target";
  std::ofstream(staged) << "virtual\n";
  std::ofstream(target) << "physical\n";
  agent_.terms.mounts = {{staged, target, /*read_only=*/true, /*no_devices=*/false}};
  Finished done = shell("cat " + target + "; echo x > " + target);
  EXPECT_THAT(done.out, HasSubstr("virtual\n"));
  EXPECT_NE(done.code(), 0);
  std::ifstream host(target);
  std::string text;
  host >> text;
  EXPECT_EQ(text, "physical");
}

TEST_F(Run, MaskedDeviceNodesCanBeSeenAndNotOpened) {
  std::string nodes = agent_.folder() + "/infiniband";
  std::filesystem::create_directory(nodes);
  if (::mknod((nodes + "/uverbs0").c_str(), S_IFCHR | 0666, ::makedev(1, 3)) != 0) {
    GTEST_SKIP() << "no device nodes here";
  }
  // Where nodes cannot be opened anyway the test would show nothing.
  UniqueFd usable(::open((nodes + "/uverbs0").c_str(), O_RDWR | O_CLOEXEC));
  if (!usable.valid()) GTEST_SKIP() << "the temporary directory is mounted nodev";
  agent_.terms.mounts = {{nodes, nodes, false, /*no_devices=*/true}};
  Finished done = shell("stat -c '%F %t:%T' " + nodes + "/uverbs0; cat " + nodes + "/uverbs0");
  EXPECT_EQ(done.out, "character special file 1:3\n");
  EXPECT_THAT(done.err, HasSubstr("Permission denied"));
  EXPECT_NE(done.code(), 0);
  EXPECT_NE(shell("echo x > " + nodes + "/uverbs0").code(), 0);
}

TEST_F(Run, AnotherUserKeepsNoCapability) {
  Finished done = shell("id -u; id -g; grep CapEff /proc/self/status",
                        {"--endpoint", "a", "--user", "54321:54322"});
  EXPECT_EQ(done.out, "54321\n54322\nCapEff:\t0000000000000000\n") << done.err;
}

TEST_F(Run, NoDescriptorOfOursReachesTheProgram) {
  Finished done = shell("ls -l /proc/self/fd | grep -E 'seccomp|socket|ns/net|net:' ; true");
  EXPECT_EQ(done.out, "");
}

TEST_F(Run, FilesOpenForWritingThroughTheAgent) {
  // openat for writing is trapped; the agent lets it run.
  Finished done =
      shell("echo text > " + agent_.folder() + "/file && cat " + agent_.folder() + "/file");
  EXPECT_EQ(done.out, "text\n") << done.err;
}

TEST_F(Run, TheTerminalIsTheProgramsOwn) {
  int master = -1;
  winsize size{24, 133, 0, 0};
  pid_t child = ::forkpty(&master, nullptr, nullptr, &size);
  if (child == 0) {
    std::string folder = agent_.folder();
    ::execl(QMASQ_PROGRAM, "qmasq", "run", "--agent-socket-dir", folder.c_str(), "--endpoint",
            "blue/a", "--", "/bin/sh", "-c",
            "test -t 0 && test -t 1 && stty size && echo ready && sleep 60; echo not reached",
            nullptr);
    ::_exit(99);
  }
  UniqueFd terminal(master);
  std::string text;
  // Control-C goes to the foreground process group: the program's. Again and again, since a shell
  // that is just starting a program loses one.
  bool ended = false;
  for (int silence = 0; silence < 100;) {
    pollfd wait{master, POLLIN, 0};
    if (::poll(&wait, 1, 100) == 0) {
      ++silence;
      if (text.find("ready") != std::string::npos) (void)!::write(master, "\x03", 1);
      continue;
    }
    char buffer[512];
    ssize_t got = ::read(master, buffer, sizeof buffer);
    ended = got <= 0;
    if (ended) break;
    text.append(buffer, static_cast<std::size_t>(got));
  }
  int status = 0;
  if (!ended) ::kill(child, SIGKILL);
  ::waitpid(child, &status, 0);
  EXPECT_THAT(text, HasSubstr("24 133"));
  EXPECT_THAT(text, Not(HasSubstr("not reached")));
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT) << status << text;
}

}  // namespace
}  // namespace qmasq::cli::testing
