// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"

namespace qmasq::bench {

enum class Verb {
  kFloor,    // the ioctl on any descriptor: for a listener that answers at once
  kNeutral,  // REG_MR: let through to the kernel
  kRtr,      // MODIFY_QP to RTR, each time at another peer of the map
};

struct Samples {
  std::vector<double> micros;  // one for each call
  std::string error;           // not empty: the tenant could not do it
};

// A tenant process under the real filter. start() returns once it waits with the filter installed;
// measure() lets it go and waits for its end.
class Tenant {
 public:
  // `entries`: addresses of the map, for kRtr.
  [[nodiscard]] static Result<Tenant> start(Verb verb, std::size_t count, std::size_t entries);
  Tenant(Tenant&&) noexcept;
  Tenant& operator=(Tenant&&) = delete;
  ~Tenant();

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] UniqueFd take_listener() { return std::move(listener_); }
  [[nodiscard]] Samples measure();

 private:
  struct Shared;
  Tenant(pid_t pid, Shared* shared, std::size_t bytes)
      : pid_(pid), shared_(shared), bytes_(bytes) {}

  pid_t pid_ = -1;
  Shared* shared_ = nullptr;  // with the tenant
  std::size_t bytes_ = 0;
  UniqueFd listener_;
  UniqueFd go_;
};

}  // namespace qmasq::bench
