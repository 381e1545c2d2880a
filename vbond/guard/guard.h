// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>

#include "common/result.h"
#include "vbond/kernel/errno_or.h"

namespace qmasq::vbond {

// What a tenant did on a file of its own that the agent had not let it do. The caller is dead.
struct Violation {
  std::uint64_t context = 0;  // ContextInfo::id; 0: of no context that the agent knows
  pid_t pid = 0;              // process that did it, and its task
  pid_t tid = 0;
  std::string command;    // name of the task, printable
  const char* what = "";  // short, for metrics: "method", "command", "write", "modify_qp", ...
  std::string reason;     // in words
};

// Closes what checks on a copy of a verb's arguments leave open: that the kernel runs something
// else in the tenant (docs/adr/0018-the-guard.md).
//
// Every verbs file that the agent opens is managed from its opening to its last close, wherever
// descriptors of it go; so is every file that a tenant opens on a device given to
// open_by_tenants(). On a managed file nobody but the agent makes any call, except the one that
// permit() has just admitted: ioctl() of that task with exactly that argument. Any other is refused
// (EPERM) before the kernel reads anything of it, and nothing else happens. Whoever has the kernel
// find another call at that argument is killed before it is back in user mode, its file is
// condemned for good, and the listener is told. That call cannot be stopped; it is held, for a
// moment, until the agent has left it nothing to work on.
//
// What an agent does, a restarted one as well:
//   1. makes its BpfGuard (one agent per host at a time): from then on it is the agent, the one
//      before is not any more, and calls that one had permitted may still land;
//   2. manage(descriptor, context id) for each context, new or taken over, before a tenant has it,
//      or before its listener is served. A file that was taken over keeps its state: a call that is
//      still in flight stays so, and a condemned one stays condemned (look at state()!);
//   3. listen(), when violations can be dealt with and all contexts have been managed. Those that
//      happened while there was no agent come then, with the ids that manage() was given;
//   4. release() a condemned file as soon as its context has no queue pair left.
//
// Thread-safe. On one slot, permit() and withdraw() by one thread at a time.
class Guard {
 public:
  // A managed file's place; 0: none (there is no guard).
  using Slot = std::uint32_t;

  enum class Flight {
    kNone,
    kPermitted,  // has not reached the kernel's verbs yet
    kRunning,    // in the kernel
  };
  struct State {
    Flight flight = Flight::kNone;
    pid_t tid = 0;  // whose
    bool condemned = false;
  };
  // A call as the agent read it.
  struct Call {
    pid_t tid = 0;  // of the task, in the agent's pid namespace
    std::uint16_t object = 0;
    std::uint16_t method = 0;
    std::uint32_t command = 0;   // WRITE_CMD of an INVOKE_WRITE, else 0
    std::uint32_t qp_type = 0;   // of the QP that it makes (enum ib_qp_type); 0: none
    std::uint64_t argument = 0;  // of ioctl(): where the call lies in the task's memory
  };
  using Listener = std::function<void(const Violation&)>;

  virtual ~Guard() = default;

  // "on", "off" or "broken: " and why: HostStatus.guard.
  [[nodiscard]] virtual std::string describe() const = 0;
  // Whether devices can be opened for tenants; the error says why not.
  [[nodiscard]] virtual Status ready() = 0;

  // Ties the file behind the agent's descriptor to a context. ENOENT: not a managed file (opened by
  // another process or before the guard was there). ENOSPC: too many.
  [[nodiscard]] virtual ErrnoOr<Slot> manage(int descriptor, std::uint64_t context) = 0;
  // Tenants open this device themselves from now on. `device` as in struct stat.
  [[nodiscard]] virtual Status open_by_tenants(dev_t device) = 0;

  // Two loads from memory that is shared with the kernel.
  [[nodiscard]] virtual State state(Slot slot) const = 0;
  // The call may be made, once. REQUIRES: no call is in flight, not condemned.
  virtual void permit(Slot slot, const Call& call) = 0;
  // Takes a permit back that was not used. False: the call is running, or it is over.
  virtual bool withdraw(Slot slot) = 0;

  // A caller that is held in a call on this file, which is condemned, goes on, and those to come.
  virtual void release(Slot slot) = 0;

  // From its own thread, one after the other, until stop().
  virtual void listen(Listener listener) = 0;
  virtual void stop() = 0;
};

// What --guard off is.
class NoGuard final : public Guard {
 public:
  [[nodiscard]] std::string describe() const override { return "off"; }
  [[nodiscard]] Status ready() override { return {}; }
  [[nodiscard]] ErrnoOr<Slot> manage(int /*descriptor*/, std::uint64_t /*context*/) override {
    return 0;
  }
  [[nodiscard]] Status open_by_tenants(dev_t /*device*/) override { return {}; }
  [[nodiscard]] State state(Slot /*slot*/) const override { return {}; }
  void permit(Slot /*slot*/, const Call& /*call*/) override {}
  bool withdraw(Slot /*slot*/) override { return true; }
  void release(Slot /*slot*/) override {}
  void listen(Listener /*listener*/) override {}
  void stop() override {}
};

// The kernel's key of an ioctl method (uapi_key_obj, uapi_key_ioctl_method in
// include/rdma/uverbs_ioctl.h): what the guard compares. 0: there is no such method.
[[nodiscard]] std::uint32_t method_key(std::uint16_t object, std::uint16_t method);

}  // namespace qmasq::vbond
