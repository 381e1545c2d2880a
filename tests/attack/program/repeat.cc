// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <regex>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/attack/program/attack.h"
#include "tests/attack/program/tally.h"

namespace qmasq::attack {
namespace {

using Clock = std::chrono::steady_clock;

// Runs a program to its end; its wait status.
int run(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (const std::string& word : words)
    argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    // Standard output is for one line, ours.
    ::dup2(STDERR_FILENO, STDOUT_FILENO);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  int status = -1;
  if (child > 0) (void)::waitpid(child, &status, 0);
  return status;
}

// Queue pairs that the kernel has in RTR or RTS with that peer.
bool any_connected(std::uint32_t peer_qpn) {
  FILE* listing = ::popen("rdma resource show qp", "r");
  if (listing == nullptr) return true;
  const std::regex wanted("rqpn " + std::to_string(peer_qpn) + " .*state RT[RS]");
  std::array<char, 512> line{};
  bool found = false;
  while (std::fgets(line.data(), line.size(), listing) != nullptr)
    found = found || std::regex_search(line.data(), wanted);
  ::pclose(listing);
  return found;
}

}  // namespace

Tally* open_tally(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) return nullptr;
  void* memory = MAP_FAILED;
  if (::ftruncate(fd, sizeof(Tally)) == 0) {
    memory = ::mmap(nullptr, sizeof(Tally), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  }
  ::close(fd);
  return memory == MAP_FAILED ? nullptr : static_cast<Tally*>(memory);
}

int repeat(const std::string& path, std::uint64_t rounds, int seconds, std::uint32_t peer_qpn,
           const std::vector<std::string>& command) {
  Tally* tally = open_tally(path);
  if (tally == nullptr) return 2;
  const auto end = Clock::now() + std::chrono::seconds(seconds);
  std::uint64_t runs = 0;
  std::uint64_t killed = 0;
  std::uint64_t failed = 0;
  std::int64_t longest = 0;  // milliseconds that a queue pair stayed after its program's end
  int last = 0;
  while (tally->rounds.load() < rounds && Clock::now() < end) {
    last = run(command);
    ++runs;
    if (WIFSIGNALED(last) && WTERMSIG(last) == SIGKILL) {
      ++killed;
    } else if (last != 0 && ++failed > 20) {
      break;
    }
    const auto ended = Clock::now();
    while (any_connected(peer_qpn) && Clock::now() - ended < std::chrono::seconds(5))
      ::usleep(10'000);
    longest = std::max<std::int64_t>(
        longest,
        std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - ended).count());
  }
  nlohmann::ordered_json out;
  out["rounds"] = tally->rounds.load();
  out["calls"] = tally->calls.load();
  out["returned"] = tally->returned.load();
  out["used"] = tally->used.load();
  out["wrote"] = tally->wrote.load();
  out["runs"] = runs;
  out["killed"] = killed;
  out["failed"] = failed;
  out["longest_ms"] = longest;
  std::printf("%s\n", out.dump().c_str());
  return 0;
}

}  // namespace qmasq::attack
