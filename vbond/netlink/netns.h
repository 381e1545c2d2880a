// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sched.h>

#include <optional>
#include <thread>

#include "common/result.h"

namespace qmasq::vbond::netlink {

// Runs `work` on a thread of its own inside the namespace and waits for it. The caller's thread
// never changes its namespace: a thread that cannot get back would be lost for everything else.
// `netns` -1: right here.
template <typename T, typename Work>
[[nodiscard]] Result<T> in_namespace(int netns, Work work) {
  if (netns < 0) return work();
  std::optional<Result<T>> result;
  std::thread([&] {
    if (::setns(netns, CLONE_NEWNET) != 0) {
      result = fail_errno(errno, "enter the network namespace");
    } else {
      result = work();
    }
  }).join();
  return std::move(*result);
}

}  // namespace qmasq::vbond::netlink
