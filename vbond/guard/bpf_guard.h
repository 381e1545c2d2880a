// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "common/result.h"
#include "vbond/guard/guard.h"

namespace qmasq::vbond {

// The guard in the kernel: guard.bpf.c.
//
// Programs and maps are pinned in a BPF file system and stay when the agent ends: the files of
// tenants stay managed, nobody may call on them, until an agent takes over. The pinned programs are
// used if they are this agent's own; others are replaced, the new ones attached before the old are
// detached, with the same maps. Maps of another layout cannot be taken over: then contexts that
// were open before cannot be managed any more, and manage() says ENOENT for them.
//
// Needs CAP_SYS_ADMIN (or CAP_BPF and CAP_PERFMON, and CAP_SYS_ADMIN to mount a BPF file system).
class BpfGuard final : public Guard {
 public:
  struct Options {
    // Directory for the pins; its parent is a BPF file system or becomes one.
    std::string pins = "/sys/fs/bpf/qmasq";
    // Also watch write(): for devices that tenants open themselves.
    bool writes = false;
  };

  // The kernel's modules may be absent as long as there is no NIC: then the programs are attached
  // by the first ready() that finds them. Errors: kUnsupported the kernel cannot do it (no BTF, no
  // trampolines), kFailedPrecondition not in the initial pid namespace, kPermissionDenied,
  // kAlreadyExists another agent runs on this host.
  [[nodiscard]] static Result<std::unique_ptr<BpfGuard>> start(const Options& options);
  // What an agent before has left in the kernel goes: for --guard off. kAlreadyExists as above.
  [[nodiscard]] static Status remove(const Options& options);
  // Stays attached.
  ~BpfGuard() override;

  [[nodiscard]] std::string describe() const override;
  [[nodiscard]] Status ready() override;
  [[nodiscard]] ErrnoOr<Slot> manage(int descriptor, std::uint64_t context) override;
  [[nodiscard]] Status open_by_tenants(dev_t device) override;
  [[nodiscard]] State state(Slot slot) const override;
  void permit(Slot slot, const Call& call) override;
  bool withdraw(Slot slot) override;
  void release(Slot slot) override;
  void listen(Listener listener) override;
  void stop() override;

 private:
  class Impl;
  explicit BpfGuard(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace qmasq::vbond
