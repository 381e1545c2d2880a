// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/survival/remote_nic.h"
#include "tests/support/temp_dir.h"

// The agent is killed at each stage of a call, with real processes, the real filter and the real
// keeper; nothing but the NIC is a stub. The tenant must not notice.
namespace qmasq::test {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

class Process {
 public:
  explicit Process(std::vector<std::string> words) {
    int ends[2] = {};
    if (pipe2(ends, O_CLOEXEC) != 0) return;
    output_.reset(ends[0]);
    UniqueFd write_end(ends[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDOUT_FILENO);
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (std::string& word : words)
      argv.push_back(word.data());
    argv.push_back(nullptr);
    (void)posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~Process() {
    if (pid_ <= 0) return;
    kill(SIGKILL);
    (void)wait();
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  void kill(int signal) const { (void)::kill(pid_, signal); }
  // Exit code, or 100 + signal.
  int wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
  }
  // A line of its output; empty at its end, or after so long.
  std::string read_line(milliseconds patience = milliseconds(20'000)) {
    std::string out;
    char c = 0;
    for (;;) {
      pollfd ready{output_.get(), POLLIN, 0};
      if (poll(&ready, 1, static_cast<int>(patience.count())) <= 0 ||
          read(output_.get(), &c, 1) != 1 || c == '\n') {
        return out;
      }
      out += c;
    }
  }

 private:
  pid_t pid_ = 0;
  UniqueFd output_;
};

class Survival : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: process_vm_readv, kcmp, open_tree";
    server_ = std::make_unique<NicServer>(folder_.file("nic.sock"));
    start_keeper();
  }
  void start_keeper() {
    keeper_ = std::make_unique<Process>(
        std::vector<std::string>{QMASQ_KEEPER, "--socket", folder_.file("keeper.sock")});
    ASSERT_THAT(keeper_->read_line(), HasSubstr("is ready"));
  }
  // `crash`: "point:count", or empty.
  [[nodiscard]] std::unique_ptr<Process> agent(const std::string& crash = {}) {
    auto out =
        std::make_unique<Process>(std::vector<std::string>{QMASQ_AGENT, folder_.path(), crash});
    const std::string line = out->read_line();
    // One that is to crash may do so on a call that was left, before it says anything.
    if (crash.empty() || !line.empty()) {
      EXPECT_EQ(line, "ready");
    }
    return out;
  }
  [[nodiscard]] std::unique_ptr<Process> tenant() {
    return std::make_unique<Process>(
        std::vector<std::string>{QMASQ_TENANT, folder_.file("attach.sock"), "rounds"});
  }
  // The longest call of the tenant's next rounds, µs; -1: it failed.
  static long rounds(Process& tenant, int count) {
    long longest = 0;
    for (int i = 0; i < count; ++i) {
      const std::string line = tenant.read_line();
      char* end = nullptr;
      const long took = std::strtol(line.c_str(), &end, 10);
      if (line.empty() || *end != 0) {
        ADD_FAILURE() << "the tenant says: " << line;
        return -1;
      }
      longest = std::max(longest, took);
    }
    return longest;
  }
  static std::string end(Process& agent) {
    agent.kill(SIGTERM);
    std::string out = agent.read_line();
    EXPECT_EQ(agent.wait(), 0);
    return out;
  }

  testing::TempDir folder_;
  std::unique_ptr<NicServer> server_;
  std::unique_ptr<Process> keeper_;
};

TEST_F(Survival, AKilledAgentIsNotNoticed) {
  auto first = agent();
  auto program = tenant();
  ASSERT_GE(rounds(*program, 3), 0);
  first->kill(SIGKILL);
  EXPECT_EQ(first->wait(), 100 + SIGKILL);
  auto second = agent();
  EXPECT_GE(rounds(*program, 10), 0);
  program->kill(SIGSTOP);
  // The round's own; and one more at most, whose answer was on its way from the NIC to the agent
  // when that was killed. A kernel's answer is in the ledger by then.
  EXPECT_LE(server_->nic.count(vbond::uverbs::Object::kPd), 2U);
  // The one that was connected all the time is among them, and nobody was cut.
  EXPECT_THAT(end(*second), HasSubstr("cut 0"));
  program->kill(SIGCONT);
  auto third = agent();
  EXPECT_GE(rounds(*program, 3), 0);
  program->kill(SIGKILL);
  (void)program->wait();
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // an agent starts in seconds then
#else
constexpr bool kSanitized = false;
#endif

class KillAt : public Survival, public ::testing::WithParamInterface<const char*> {};

TEST_P(KillAt, AtEachStageOfEachVerb) {
  constexpr int kKills = 13;
  const std::string point = GetParam();
  auto serving = agent(point + ":30");
  auto program = tenant();
  std::atomic<bool> done{false};
  std::atomic<bool> given_up{false};
  std::atomic<pid_t> serves{serving->pid()};
  // What a service manager does.
  std::thread manager([&] {
    for (int kills = 1; kills <= kKills; ++kills) {
      EXPECT_EQ(serving->wait(), 100 + SIGKILL);
      if (given_up) return;
      // Another number of calls from kill to kill, to meet another verb each time.
      serving = agent(kills == kKills ? "" : point + ":" + std::to_string(kills % 13 + 1));
      serves = serving->pid();
      if (given_up) serving->kill(SIGKILL);
    }
    done = true;
  });
  std::vector<long> waits;
  while (!done) {
    waits.push_back(rounds(*program, 1));
    if (waits.back() < 0) break;
  }
  const bool endured = waits.back() >= 0;
  if (!endured) program->kill(SIGKILL);
  EXPECT_TRUE(endured);
  if (!endured) {
    // The manager waits for a kill that does not come.
    given_up = true;
    (void)::kill(serves, SIGKILL);
    manager.join();
    return;
  }
  manager.join();
  EXPECT_GE(rounds(*program, 4), 0);
  program->kill(SIGKILL);
  (void)program->wait();
  EXPECT_THAT(end(*serving), HasSubstr("cut 0"));
  std::sort(waits.begin(), waits.end());
  const long p99 = waits[waits.size() * 99 / 100] / 1000;
  std::printf("killed %d times at %s: longest call of a round, p99 %ld ms, most %ld ms\n", kKills,
              GetParam(), p99, waits.back() / 1000);
  if (!kSanitized) {
    EXPECT_LT(p99, 500) << "what a tenant may have to wait";
  }
}
INSTANTIATE_TEST_SUITE_P(All, KillAt,
                         ::testing::Values("received", "copied", "called", "noted", "copied-back",
                                           "placed", "answered", "seized", "interrupted",
                                           "called-back", "stopped", "changed", "let"));

// While it maps in the program, its registers are the agent's.
TEST_F(Survival, AProgramDiesWithWhoMapsInIt) {
  auto first = agent("injecting:5");
  auto program = tenant();
  EXPECT_EQ(first->wait(), 100 + SIGKILL);
  auto second = agent();
  EXPECT_EQ(program->wait(), 100 + SIGKILL);
  EXPECT_THAT(end(*second), HasSubstr("contexts 0"));
}

}  // namespace
}  // namespace qmasq::test
