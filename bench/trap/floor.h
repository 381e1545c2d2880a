// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <thread>

#include "common/result.h"
#include "common/unique_fd.h"

namespace qmasq::bench {

// Answers every trapped call at once and does nothing else: what a trap costs at the least. Same
// listener code as the agent's, one thread, until the tenant is gone.
class Floor {
 public:
  [[nodiscard]] Status serve(UniqueFd listener);
  ~Floor();

 private:
  std::thread thread_;
};

}  // namespace qmasq::bench
