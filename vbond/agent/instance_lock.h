// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "common/result.h"
#include "common/unique_fd.h"

namespace qmasq::vbond {

// Makes `directory` (mode 0755) and holds DIRECTORY/vbond.lock for as long as the value lives: two
// agents on one set of sockets would take each other's tenants. kAlreadyExists names the pid of
// the other one. The file stays; the lock goes with the process, however that ends.
class InstanceLock {
 public:
  [[nodiscard]] static Result<InstanceLock> take(const std::string& directory);

 private:
  explicit InstanceLock(UniqueFd file) : file_(std::move(file)) {}
  UniqueFd file_;
};

}  // namespace qmasq::vbond
