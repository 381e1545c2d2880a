// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "vbond/intercept/trap.h"
#include "vbond/kernel/errno_or.h"

namespace qmasq::vbond {

class HolderWatch;

// What happens to a trapped call.
//
//   open of /dev/infiniband/uverbsN   the agent opens the device and injects the descriptor
//   any other open                    runs
//   ioctl(RDMA_VERBS_IOCTL)           on a context: by its row of the verb table (executor.h);
//                                     on a verbs device of nobody here: EOPNOTSUPP; else ENOTTY
//   write() on a reserved descriptor  on a context: the doorbell of a software NIC is rung, all
//                                     else is EOPNOTSUPP; on a verbs device of nobody here: EACCES;
//                                     else it runs
//
// Stateless; called from all receivers at once.
class Dispatcher {
 public:
  // Whether another attachment has this file: tenants must not share contexts. `own` is a
  // descriptor of the agent's.
  using OwnedElsewhere = std::function<bool(const Attachment&, int own)>;

  Dispatcher(Services& services, HolderWatch& watch, OwnedElsewhere owned_elsewhere)
      : services_(services), watch_(watch), owned_elsewhere_(std::move(owned_elsewhere)) {}

  // Serves and answers one call, counts and times it.
  // `slot`: where it is noted, or null; with a call that an agent before this one was busy with, it
  // is finished.
  void handle(Attachment& attachment, const Notification& received, CallSlot* slot);

 private:
  struct OpenCall {
    std::uint64_t path = 0;
    std::uint64_t flags = 0;
  };
  using Found = ErrnoOr<std::shared_ptr<Context>>;

  // The workload is to end, and this process of it is still there.
  void end_caller(Attachment& attachment, const Notification& call);
  // Puts the context under the guard, before a tenant can use it. 0 or an errno, reported.
  [[nodiscard]] int put_under_guard(Trap& trap, Context& context);
  [[nodiscard]] Answer serve(Trap& trap);
  // A call that its thread was sent to make.
  [[nodiscard]] Answer serve_sent(Trap& trap, unsigned slot);
  [[nodiscard]] Answer serve_open(Trap& trap);
  [[nodiscard]] Answer open_device(Trap& trap, const std::string& node, std::uint64_t flags);
  // Puts the context's file into custody, where there is one.
  void keep(Trap& trap, Context& context, int number);
  [[nodiscard]] Answer hand_over(Trap& trap, const std::shared_ptr<Context>& context,
                                 bool close_on_exec);
  [[nodiscard]] Answer serve_ioctl(Trap& trap);
  [[nodiscard]] Answer serve_write(Trap& trap);
  [[nodiscard]] Answer ring(Trap& trap, Context& context);
  // The context behind the task's descriptor; takes in what a tenant opened itself, where it may.
  // ENOENT: a verbs device, but none of this attachment's. ENOTTY: no verbs device.
  [[nodiscard]] Found context_of(Trap& trap, int fd);
  [[nodiscard]] Found adopt(Trap& trap, int fd, const std::string& node);
  [[nodiscard]] bool tenant_opens(const std::string& device) const;

  Services& services_;
  HolderWatch& watch_;
  const OwnedElsewhere owned_elsewhere_;
};

}  // namespace qmasq::vbond
