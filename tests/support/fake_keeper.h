// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "common/result.h"
#include "common/unique_fd.h"
#include "vbond/keeper/keeper.h"

namespace qmasq::test {

// qmasq-keeper in memory: what vbond::Keeper promises (tests/support/keeper_contract.h holds it to
// that), and failures to order. It outlives the sessions that it gives, as the process would; they
// may outlive it, too. Thread-safe.
class FakeKeeper {
 public:
  explicit FakeKeeper(std::size_t most = 16000);

  // As vbond::connect_keeper(). All sessions are this process's, and the errors name it.
  [[nodiscard]] Result<std::unique_ptr<vbond::Keeper>> connect(
      std::chrono::milliseconds patience = std::chrono::milliseconds(0));

  // kill -9: what is held is closed, sessions are lost, connect() finds nobody.
  void die();
  // Another process of the same name, which has nothing.
  void start();
  // The next `count` calls of a session fail so, and do nothing. An error with kUnavailable loses
  // the session, as it does in reality.
  void fail_next(Error error, int count = 1);

  [[nodiscard]] std::size_t size() const;
  // By id; "" for none.
  [[nodiscard]] std::map<vbond::Keeper::Id, std::string> tags() const;

 private:
  class Session;
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace qmasq::test
