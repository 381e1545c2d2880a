// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>
#include <future>
#include <set>
#include <sstream>

#include "keeper/wire.h"
#include "tests/support/eventually.h"
#include "tests/support/keeper_contract.h"
#include "tests/support/keeper_process.h"
#include "vbond/keeper/keeper.h"

namespace qmasq::test {
namespace {

using std::chrono::milliseconds;
using vbond::connect_keeper;
using vbond::Keeper;

constexpr milliseconds kSoon{10'000};

class ProgramWorld final : public KeeperWorld {
 public:
  ProgramWorld() {
    EXPECT_TRUE(process_.start({"--max-descriptors", std::to_string(KeeperWorld::kMost)}));
  }
  Result<std::unique_ptr<Keeper>> connect(milliseconds patience) override {
    return connect_keeper(process_.socket(), patience);
  }
  void die() override { EXPECT_EQ(process_.end(SIGKILL), 128 + SIGKILL); }

 private:
  KeeperProcess process_{QMASQ_KEEPER};
};

INSTANTIATE_TEST_SUITE_P(Program, KeeperContract,
                         ::testing::Values([] { return std::make_unique<ProgramWorld>(); }));

// An agent in a process of its own, that holds the session until it is killed.
class AgentProcess {
 public:
  AgentProcess(const std::string& socket, int descriptor) {
    std::array<int, 2> ready{};
    EXPECT_EQ(::pipe2(ready.data(), O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      auto keeper = connect_keeper(socket, kSoon);
      const bool put = keeper && (*keeper)->put("of the dead", descriptor);
      (void)!::write(ready[1], put ? "y" : "n", 1);
      for (;;)
        ::pause();
    }
    char answer = 0;
    ::close(ready[1]);
    EXPECT_EQ(::read(ready[0], &answer, 1), 1);
    EXPECT_EQ(answer, 'y');
    ::close(ready[0]);
  }
  AgentProcess(const AgentProcess&) = delete;
  AgentProcess& operator=(const AgentProcess&) = delete;
  ~AgentProcess() { kill(); }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

std::string status_line(pid_t pid, const std::string& name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + ":"))
      return line.substr(line.find_first_not_of(" \t", name.size() + 1));
  }
  return "no " + name;
}

TEST(KeeperProgram, HoldsWhenTheAgentIsKilled) {
  KeeperProcess process(QMASQ_KEEPER);
  ASSERT_TRUE(process.start());
  Witness file;
  auto agent = std::make_unique<AgentProcess>(process.socket(), file.descriptor());
  const pid_t pid = agent->pid();
  auto refused = connect_keeper(process.socket(), milliseconds(0));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kFailedPrecondition);
  EXPECT_NE(refused.error().message.find("agent " + std::to_string(pid) + " "), std::string::npos)
      << refused.error().message;

  auto next =
      std::async(std::launch::async, [&] { return connect_keeper(process.socket(), kSoon); });
  ASSERT_EQ(next.wait_for(milliseconds(50)), std::future_status::timeout);
  agent->kill();
  auto keeper = next.get();
  ASSERT_TRUE(keeper) << keeper.error().message;
  auto held = (*keeper)->list();
  ASSERT_TRUE(held);
  ASSERT_EQ(held->size(), 1U);
  EXPECT_EQ(held->front().tag, "of the dead");
  EXPECT_TRUE(file.is(held->front().descriptor.get()));
}

TEST(KeeperProgram, AHundredKilledAgents) {
  KeeperProcess process(QMASQ_KEEPER);
  ASSERT_TRUE(process.start());
  Witness file;
  for (int i = 0; i < 100; ++i) {
    AgentProcess agent(process.socket(), file.descriptor());
    agent.kill();
  }
  auto keeper = connect_keeper(process.socket(), kSoon);
  ASSERT_TRUE(keeper);
  auto held = (*keeper)->list();
  ASSERT_TRUE(held);
  EXPECT_EQ(held->size(), 100U);
  for (const auto& one : *held) {
    EXPECT_TRUE(file.is(one.descriptor.get()));
    EXPECT_TRUE((*keeper)->drop(one.id));
  }
}

// Who waits is served in the order of arrival, and one that gave up is not.
TEST(KeeperProgram, WaitersComeInOrder) {
  KeeperProcess process(QMASQ_KEEPER);
  ASSERT_TRUE(process.start());
  auto first = connect_keeper(process.socket(), kSoon);
  ASSERT_TRUE(first);
  EXPECT_FALSE(connect_keeper(process.socket(), milliseconds(20)));
  auto second =
      std::async(std::launch::async, [&] { return connect_keeper(process.socket(), kSoon); });
  ASSERT_EQ(second.wait_for(milliseconds(50)), std::future_status::timeout);
  auto third =
      std::async(std::launch::async, [&] { return connect_keeper(process.socket(), kSoon); });
  ASSERT_EQ(third.wait_for(milliseconds(50)), std::future_status::timeout);
  first->reset();
  auto keeper = second.get();
  ASSERT_TRUE(keeper);
  EXPECT_EQ(third.wait_for(milliseconds(50)), std::future_status::timeout);
  keeper->reset();
  EXPECT_TRUE(third.get());
}

TEST(KeeperProgram, ErrorsSayWhatAndWhere) {
  KeeperProcess process(QMASQ_KEEPER);
  auto nobody = connect_keeper(process.socket(), kSoon);
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().code, Code::kUnavailable);
  EXPECT_NE(nobody.error().message.find(process.socket()), std::string::npos);
  EXPECT_EQ(connect_keeper(std::string(200, 'x'), kSoon).error().code, Code::kInvalidArgument);

  ASSERT_TRUE(process.start());
  KeeperProcess other(QMASQ_KEEPER);
  EXPECT_FALSE(other.start({"--socket", process.socket()}));
  EXPECT_NE(other.log().find("another keeper listens on " + process.socket()), std::string::npos);
  EXPECT_FALSE(other.start({"--socket", "relative"}));
  EXPECT_FALSE(other.start({"--max-descriptors", "99999"}));
  EXPECT_TRUE(connect_keeper(process.socket(), kSoon)) << "the first still listens";
}

TEST(KeeperProgram, AKeeperThatHangsIsNoKeeper) {
  KeeperProcess process(QMASQ_KEEPER);
  ASSERT_TRUE(process.start());
  ASSERT_EQ(::kill(process.pid(), SIGSTOP), 0);
  auto keeper = connect_keeper(process.socket(), milliseconds(0));
  ASSERT_FALSE(keeper);
  EXPECT_EQ(keeper.error().code, Code::kUnavailable);
  EXPECT_NE(keeper.error().message.find("hangs"), std::string::npos) << keeper.error().message;
  ASSERT_EQ(::kill(process.pid(), SIGCONT), 0);
  EXPECT_TRUE(connect_keeper(process.socket(), kSoon));
}

TEST(KeeperProgram, OnlySigtermAndSigintEndIt) {
  KeeperProcess process(QMASQ_KEEPER);
  ASSERT_TRUE(process.start());
  for (int signal : {SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM})
    ASSERT_EQ(::kill(process.pid(), signal), 0);
  {
    auto keeper = connect_keeper(process.socket(), kSoon);
    ASSERT_TRUE(keeper);
    EXPECT_TRUE((*keeper)->list());
  }
  EXPECT_EQ(process.end(SIGTERM), 0);
  ASSERT_TRUE(process.start()) << "what is left of the first is in the way";
  EXPECT_EQ(process.end(SIGINT), 0);
}

TEST(KeeperProgram, HasNoRightsButItsDescriptors) {
  KeeperProcess process(QMASQ_KEEPER);
  ASSERT_TRUE(process.start());
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb"})
    EXPECT_EQ(status_line(process.pid(), set), "0000000000000000") << set;
  EXPECT_EQ(status_line(process.pid(), "NoNewPrivs"), "1");
#ifndef QMASQ_KEEPER_UNFILTERED
  EXPECT_EQ(status_line(process.pid(), "Seccomp"), "2");
#endif
  struct stat socket {};
  ASSERT_EQ(::stat(process.socket().c_str(), &socket), 0);
  EXPECT_EQ(socket.st_mode & 07777U, 0600U);
}

// It must start and go on wherever the agent does: whatever else is upgraded on the host.
TEST(KeeperProgram, NeedsNoLibraryButThatOfTheLanguage) {
  std::array<char, 4096> buffer{};
  std::string text;
  FILE* readelf = ::popen("LC_ALL=C objdump -p " QMASQ_KEEPER, "r");
  ASSERT_NE(readelf, nullptr);
  while (std::fgets(buffer.data(), buffer.size(), readelf) != nullptr)
    text += buffer.data();
  ASSERT_EQ(::pclose(readelf), 0);
  std::set<std::string> needed;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    std::string value;
    if (words >> name >> value && name == "NEEDED")
      needed.insert(value.substr(0, value.find(".so")));
  }
  EXPECT_TRUE(needed.contains("libc"));
  for (const char* fine :
       {"libc", "libm", "libstdc++", "libgcc_s", "libasan", "libubsan", "libtsan"})
    needed.erase(fine);
  EXPECT_TRUE(needed.empty()) << "needs " << *needed.begin();
}

TEST(KeeperProgram, WhoIsNotRootIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  KeeperProcess process(QMASQ_KEEPER);
  ASSERT_TRUE(process.start());
  ASSERT_EQ(::chmod(process.directory().path().c_str(), 0755), 0);
  // Even if the mode of the socket let everybody in.
  ASSERT_EQ(::chmod(process.socket().c_str(), 0666), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresuid(65534, 65534, 65534) != 0) ::_exit(3);
    auto keeper = connect_keeper(process.socket(), milliseconds(0));
    ::_exit(keeper ? 1 : keeper.error().code == Code::kUnavailable ? 0 : 2);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(eventually([&] { return process.log().find("is not root") != std::string::npos; }));
}

}  // namespace
}  // namespace qmasq::test
