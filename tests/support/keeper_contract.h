// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"
#include "vbond/keeper/keeper.h"

// What any Keeper must do, on the fake and on the real program: instantiate KeeperContract with a
// factory of worlds.
namespace qmasq::test {

// One keeper that holds nothing yet and may hold kMost.
class KeeperWorld {
 public:
  static constexpr std::size_t kMost = 300;

  virtual ~KeeperWorld() = default;
  virtual Result<std::unique_ptr<vbond::Keeper>> connect(std::chrono::milliseconds patience) = 0;
  // kill -9.
  virtual void die() = 0;
};
using KeeperWorldFactory = std::function<std::unique_ptr<KeeperWorld>()>;

class KeeperContract : public ::testing::TestWithParam<KeeperWorldFactory> {
 protected:
  void SetUp() override;
  // Fails the test when there is none.
  [[nodiscard]] std::unique_ptr<vbond::Keeper> connect();
  [[nodiscard]] static std::vector<vbond::Keeper::Held> list(vbond::Keeper& keeper);

  std::unique_ptr<KeeperWorld> world_;
};

// A pipe: its read end tells when the last descriptor of the write end is closed.
class Witness {
 public:
  Witness();
  // Of the write end, ours.
  [[nodiscard]] int descriptor() const { return write_.get(); }
  void close() { write_.reset(); }
  // Nobody has the write end, within `limit`.
  [[nodiscard]] bool closed(std::chrono::milliseconds limit) const;
  // `fd` is the same open file as the write end, not another one of the same pipe.
  [[nodiscard]] bool is(int fd) const;

 private:
  UniqueFd read_;
  UniqueFd write_;
};

}  // namespace qmasq::test
