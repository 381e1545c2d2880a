// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "common/result.h"
#include "qos/backend.h"
#include "qos/backends/tc/tc_kernel.h"

// Limits the egress of RDMA on a network device by traffic control: HTB at the root, a class for
// each node, flower filters that know an endpoint by its block of UDP source ports. Why, and what
// it cannot do: docs/adr/0014-tc-by-htb-and-flower.md.
//
// The mark is the root qdisc's handle, 716d:. A root qdisc that the kernel put there itself (handle
// 0) is replaced and comes back when ours goes; any other is the site's. What a site adds below
// ours is left alone, and goes with it. What is not RDMA (UDP to port 4791) is neither limited nor
// counted.
//
// An addition of what is there already, with the same parent and ports, is a change; a removal of
// what is not there is done.
namespace qmasq::qos::tc {

struct Options {
  std::string device;  // "eth0", in the network namespace of the calling thread
};

// Needs CAP_NET_ADMIN, sch_htb and cls_flower; the device need not be there yet. Changes nothing.
[[nodiscard]] Result<std::unique_ptr<Backend>> make_tc_backend(Options options);
// On any kernel.
[[nodiscard]] std::unique_ptr<Backend> make_tc_backend(Options options,
                                                       std::unique_ptr<TcKernel> kernel);

}  // namespace qmasq::qos::tc
