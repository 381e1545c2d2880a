// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>

#include <tl/expected.hpp>

#include "common/net_types.h"

namespace qmasq::vbond {

// Why a verb does not happen: errno for the tenant, reason for people (events, `qmasq events`).
// A reason may name virtual addresses and endpoints of the tenant's own VPC, and the host that a
// peer is on; it goes to operators, never to the tenant.
struct Refusal {
  int err = 0;
  std::string reason;
};

template <typename T>
using Verdict = tl::expected<T, Refusal>;

[[nodiscard]] inline tl::unexpected<Refusal> refuse(int err, std::string reason) {
  return tl::unexpected<Refusal>(Refusal{err, std::move(reason)});
}

// Who asks: one open verbs device of one tenant process. Kept by intercept/ with the context and
// passed by reference; `id` is never used twice while the agent runs.
struct ContextInfo {
  std::uint64_t id = 0;
  EndpointUid endpoint;
  std::string nic;  // RDMA device, "rxe0"
  pid_t pid = 0;    // in the agent's pid namespace
  std::string command;
};

}  // namespace qmasq::vbond
