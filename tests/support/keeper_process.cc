// SPDX-License-Identifier: Apache-2.0
#include "tests/support/keeper_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "tests/support/eventually.h"

namespace qmasq::test {
namespace {

int status_of(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

bool KeeperProcess::start(const std::vector<std::string>& more,
                          const std::function<void()>& before_exec) {
  std::vector<std::string> words = {program_, "--socket", socket()};
  words.insert(words.end(), more.begin(), more.end());
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words)
    argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string output = dir_.file("log");
  const std::size_t before = log().size();
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int fd = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(fd, 1);
    ::dup2(fd, 2);
    if (fd > 2) ::close(fd);
    if (before_exec) before_exec();
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  int status = 0;
  bool ended = false;
  const bool ready = eventually([&] {
    if (log().find(" is ready on ", before) != std::string::npos) return true;
    ended = ::waitpid(pid_, &status, WNOHANG) == pid_;
    return ended;
  });
  if (ready && !ended) return true;
  if (ended) pid_ = -1;
  std::fprintf(stderr, "qmasq-keeper %s %d: %s\n", ended ? "ended with" : "is not ready, status",
               status_of(status), log().substr(before).c_str());
  return false;
}

int KeeperProcess::end(int signal) {
  if (pid_ <= 0) return -1;
  ::kill(pid_, signal);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return status_of(status);
}

std::string KeeperProcess::log() const {
  std::ifstream file(dir_.file("log"));
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace qmasq::test
