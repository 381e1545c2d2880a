// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>

#include "vbond/uverbs/call_builder.h"
#include "vbond/uverbs/qp.h"

namespace qmasq::test {

// What a tenant asks of a verbs device, by the kernel's own interface and without libibverbs: for
// programs that run inside the filter. Descriptors are the caller's. Where nothing else is said,
// -1 with errno when the call fails. Thread-safe.

inline constexpr const char* kVerbsNode = "/dev/infiniband/uverbs0";
inline constexpr auto kRxe = static_cast<std::uint32_t>(vbond::uverbs::DriverId::kRxe);

[[nodiscard]] int open_device();
[[nodiscard]] int call(int fd, vbond::uverbs::CallBuilder& builder);

// A protection domain's handle.
[[nodiscard]] int alloc_pd(int fd);
[[nodiscard]] int dealloc_pd(int fd, int handle);

// A completion queue's handle.
[[nodiscard]] int create_cq(int fd);
[[nodiscard]] int destroy_cq(int fd, int handle);

// A queue pair's handle, on protection domain and completion queue 1.
[[nodiscard]] int create_qp(int fd, vbond::uverbs::QpType type = vbond::uverbs::QpType::kRc);
[[nodiscard]] int destroy_qp(int fd, int handle);
[[nodiscard]] int modify_qp(int fd, const vbond::uverbs::ModifyQp& command);
// To a state that asks for nothing more.
[[nodiscard]] int modify_qp(int fd, int handle, vbond::uverbs::QpState state);
// To RTR, with queue pair 99 of a peer.
[[nodiscard]] int connect_qp(int fd, int handle, const char* peer);
// Rings the doorbell, by write(): kDoorbellSize when all went well.
[[nodiscard]] ssize_t ring(int fd, int handle);

// The longest that one of these took since the last look, in whichever thread.
[[nodiscard]] std::chrono::steady_clock::duration take_longest();

}  // namespace qmasq::test
