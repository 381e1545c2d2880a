// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"
#include "vbond/netlink/types.h"

// The seam between the agent and the kernel's network configuration. Implementations: the kernel
// (kernel.h) and an in-memory fake (tests/fake_netlink); one contract suite runs on both. Errors
// carry the errno, and the kernel's own words (extended ack) where it gives any.
namespace qmasq::vbond::netlink {

// One network namespace. For one thread at a time. Stays with its namespace whatever thread uses it
// and keeps the namespace alive.
class Netlink {
 public:
  virtual ~Netlink() = default;
  [[nodiscard]] virtual Result<std::vector<Link>> links() = 0;
  [[nodiscard]] virtual Result<std::vector<Address>> addresses() = 0;
  [[nodiscard]] virtual Result<std::vector<Neighbour>> neighbours() = 0;
  // Tables of all bridges and VXLAN devices.
  [[nodiscard]] virtual Result<std::vector<FdbEntry>> fdb() = 0;
  // In order, each on its own: one that fails does not stop those after it. Result i is of
  // operation i. Deleting what is not there is an error (ENOENT, ENODEV, EADDRNOTAVAIL).
  [[nodiscard]] virtual std::vector<Status> apply(std::span<const Operation> operations) = 0;
};

// Says when links or addresses of a namespace change.
class Monitor {
 public:
  virtual ~Monitor() = default;
  // Readable when there is something to drain. Owned by the monitor.
  [[nodiscard]] virtual int fd() const = 0;
  // Reads all there is without waiting. True: links or addresses changed, or the kernel could not
  // queue everything (ENOBUFS): look again. An error: the monitor is of no use any more.
  [[nodiscard]] virtual Result<bool> drain() = 0;
};

// Network namespaces that have a name, as `ip netns` knows them.
class Namespaces {
 public:
  virtual ~Namespaces() = default;
  [[nodiscard]] virtual Result<std::vector<std::string>> names() = 0;
  [[nodiscard]] virtual std::string path(const std::string& name) const = 0;
  // kNotFound when there is none of that name.
  [[nodiscard]] virtual Result<UniqueFd> open(const std::string& name) = 0;
  // A new namespace; its loopback interface is up and has `mark` as alias before the name appears.
  // kAlreadyExists when the name is taken.
  [[nodiscard]] virtual Result<UniqueFd> create(const std::string& name,
                                                const std::string& mark) = 0;
  // Takes the name away. The namespace goes with its last process, socket and descriptor.
  [[nodiscard]] virtual Status remove(const std::string& name) = 0;
  // -1: the namespace that the agent itself lives in.
  [[nodiscard]] virtual Result<std::unique_ptr<Netlink>> connect(int netns) = 0;
  [[nodiscard]] virtual Result<std::unique_ptr<Monitor>> monitor(int netns) = 0;
};

}  // namespace qmasq::vbond::netlink
