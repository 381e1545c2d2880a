// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <string>

namespace qmasq::testing {

// SQLite's default VFS with faults on demand: the disk "fills up" or "breaks" at the n-th write or
// sync of any file opened through it. Registered while it lives; one at a time.
class FailingVfs {
 public:
  enum class Fault { kFull, kIoError, kReadOnly };
  FailingVfs();
  FailingVfs(const FailingVfs&) = delete;
  FailingVfs& operator=(const FailingVfs&) = delete;
  ~FailingVfs();

  [[nodiscard]] std::string name() const { return "qmasq-failing"; }
  // Lets `writes` more writes and syncs through; all later ones fail until heal().
  void fail_after(int writes, Fault fault);
  void heal();
  // Writes and syncs refused since fail_after: zero says that the fault was never reached.
  [[nodiscard]] int refused() const { return refused_.load(); }
  // Files opened from now on can only be read.
  void set_read_only_files(bool on) { read_only_ = on; }
  [[nodiscard]] bool read_only_files() const { return read_only_; }
  // For the shim: what the next write gives, SQLITE_OK or an error.
  int next();

 private:
  std::atomic<int> left_{-1};  // below zero: healthy
  std::atomic<int> refused_{0};
  std::atomic<bool> read_only_{false};
  std::atomic<Fault> fault_{Fault::kFull};
};

}  // namespace qmasq::testing
