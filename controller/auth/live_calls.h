// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <unordered_map>

#include "common/result.h"
#include "controller/store/store.h"

namespace qmasq::controller {

// Calls that last (streams, waits), so that they end when their caller is revoked. Any thread.
class LiveCalls {
 public:
  // Called at most once, by the thread that revokes, under the store's writer lock: be quick, call
  // neither the store nor this. It must do nothing where the call is over.
  using End = std::function<void(Error)>;

  // One caller's calls at a time: each waits for minutes, and holds memory.
  static constexpr std::size_t kMostOfOne = 1024;

  // `caller`: its name; `serial`: of its certificate, or empty. Ask AuthBook::check() after, not
  // before: what is revoked between the two would be missed. kResourceExhausted: it has too many.
  [[nodiscard]] Result<std::uint64_t> add(std::string caller, std::string serial, End end);
  // Of none (0): nothing.
  void remove(std::uint64_t id);
  // Ends those of callers and certificates that the commit revoked.
  void apply(const Commit& commit);

 private:
  struct Call {
    std::string caller;
    std::string serial;
    End end;
  };
  void forget(const std::string& caller);  // mutex_ held

  std::mutex mutex_;
  std::uint64_t last_ = 0;
  std::unordered_map<std::uint64_t, Call> calls_;
  std::unordered_map<std::string, std::size_t> count_;  // by caller
};

}  // namespace qmasq::controller
