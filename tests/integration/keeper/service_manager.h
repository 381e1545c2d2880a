// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/unique_fd.h"
#include "tests/support/temp_dir.h"

namespace qmasq::test {

// What systemd is to a service of Type=notify with a descriptor store: sd_notify(3),
// FileDescriptorStoreMax= in systemd.service(5). No thread: pump() reads what has come.
class FakeServiceManager {
 public:
  FakeServiceManager();

  void pump();
  // For KeeperProcess::start(): passes all that is stored, as at a restart. The last one first, as
  // systemd 252 does.
  [[nodiscard]] std::function<void()> passes();
  void forget(const std::string& name);

  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] const std::string& status() const { return status_; }
  [[nodiscard]] int descriptor(const std::string& name) const;

 private:
  struct One {
    std::string name;
    UniqueFd descriptor;
  };

  qmasq::testing::TempDir dir_;
  UniqueFd socket_;
  std::vector<One> store_;
  bool ready_ = false;
  std::string status_;
};

}  // namespace qmasq::test
