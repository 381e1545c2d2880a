// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>

#include "common/result.h"
#include "common/unique_fd.h"

namespace qmasq::bench {

// A tenant that calls control verbs as fast as it can, from several threads, whatever it is told,
// until it is killed with this.
class Flooder {
 public:
  // `attach` serves its listener. Returns once it floods.
  [[nodiscard]] static Result<Flooder> start(
      std::size_t threads, const std::function<Status(UniqueFd listener, pid_t pid)>& attach);
  Flooder(Flooder&& other) noexcept;
  Flooder& operator=(Flooder&&) = delete;
  ~Flooder();

  // So far: calls that were answered, and of these with EAGAIN.
  [[nodiscard]] std::uint64_t calls() const;
  [[nodiscard]] std::uint64_t refused() const;

 private:
  struct Shared;
  Flooder(pid_t pid, Shared* shared) : pid_(pid), shared_(shared) {}

  pid_t pid_ = -1;
  Shared* shared_ = nullptr;  // with the tenant
};

}  // namespace qmasq::bench
