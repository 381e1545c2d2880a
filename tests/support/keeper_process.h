// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace qmasq::test {

// The real qmasq-keeper on a socket in a directory of its own. Ended by SIGKILL when this goes, or
// when the test is killed. Targets that use it define QMASQ_KEEPER, the program's path.
class KeeperProcess {
 public:
  // `program`: QMASQ_KEEPER. `before_exec` runs in the new process.
  explicit KeeperProcess(std::string program) : program_(std::move(program)) {}
  KeeperProcess(const KeeperProcess&) = delete;
  KeeperProcess& operator=(const KeeperProcess&) = delete;
  ~KeeperProcess() { (void)end(9); }

  // Starts it and waits for its ready line. False (and why on standard error): it ended instead.
  [[nodiscard]] bool start(const std::vector<std::string>& more = {},
                           const std::function<void()>& before_exec = {});
  // Sends the signal and waits for the end: exit code, or 128 + signal; -1: it does not run.
  int end(int signal);

  [[nodiscard]] std::string socket() const { return dir_.file("keeper.sock"); }
  [[nodiscard]] pid_t pid() const { return pid_; }
  // What it wrote to standard output and error, of all starts.
  [[nodiscard]] std::string log() const;
  [[nodiscard]] const qmasq::testing::TempDir& directory() const { return dir_; }

 private:
  std::string program_;
  qmasq::testing::TempDir dir_;
  pid_t pid_ = -1;
};

}  // namespace qmasq::test
