// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/result.h"
#include "qos/backends/tc/types.h"

namespace qmasq::qos::tc {

// The seam to the kernel's traffic control of one network device. For one thread at a time. Errors
// carry the errno and, where the kernel gave any, its own words; ENODEV: no such device now.
class TcKernel {
 public:
  virtual ~TcKernel() = default;
  [[nodiscard]] virtual Result<std::vector<Qdisc>> qdiscs() = 0;
  // Of this root qdisc; none when it is not there.
  [[nodiscard]] virtual Result<std::vector<Class>> classes(Handle qdisc) = 0;
  [[nodiscard]] virtual Result<std::vector<Filter>> filters(Handle qdisc) = 0;
  // Carried out in order, each on its own: result i is of operation i. Where it cannot be told
  // whether one was carried out the error is kDeadlineExceeded or kUnavailable.
  [[nodiscard]] virtual std::vector<Status> apply(std::span<const Operation> operations) = 0;
};

// Over NETLINK_ROUTE, in the network namespace of the calling thread. The device need not be there
// yet. Waits for the kernel at most 10 s.
[[nodiscard]] Result<std::unique_ptr<TcKernel>> open_kernel(const std::string& device);

}  // namespace qmasq::qos::tc
