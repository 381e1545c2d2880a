// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <infiniband/verbs.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/rdma_user_ioctl_cmds.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "tests/lab/probe/probe.h"

// What hostile programs build their attacks from: a queue pair with what it needs, and verbs
// written by hand, byte for byte, without a library that would check them.
namespace qmasq::attack {

using probe::errno_name;

constexpr std::uint8_t kPort = 1;

// Whose memory is to be changed: a queue pair of another tenant, and where it is for the NIC.
struct Target {
  ibv_gid gid{};               // as the NIC knows it
  std::uint8_t gid_index = 1;  // of the own GID that leads there, as the NIC counts
  std::uint32_t qpn = 0;
  std::uint32_t psn = 0;
  std::uint32_t rkey = 0;
  std::uint64_t address = 0;
};

// Address or GID text to a GID; nothing when it is neither.
[[nodiscard]] std::optional<ibv_gid> gid_of(const std::string& text);

// A device that is open, with objects that are its own. Threads may share it; nothing is locked.
class Rig {
 public:
  // Opens `device` and makes a PD, a CQ, a memory region and a queue pair. `error()` says what did
  // not work; everything else is to be used only when it is empty.
  explicit Rig(const std::string& device, ibv_qp_type type = IBV_QPT_RC);
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;
  ~Rig();

  [[nodiscard]] const std::string& error() const { return error_; }
  [[nodiscard]] int fd() const { return context_->cmd_fd; }
  [[nodiscard]] ibv_context* context() const { return context_.get(); }
  [[nodiscard]] ibv_pd* pd() const { return pd_; }
  [[nodiscard]] ibv_cq* cq() const { return cq_; }
  [[nodiscard]] ibv_qp* qp() const { return qp_; }
  [[nodiscard]] ibv_mr* mr() const { return mr_; }
  [[nodiscard]] std::array<std::uint64_t, 512>& memory() { return *memory_; }

  // Destroys the queue pair and makes another one, in INIT. 0 or an errno.
  int new_qp();

 private:
  probe::Context context_;
  std::unique_ptr<std::array<std::uint64_t, 512>> memory_;
  ibv_pd* pd_ = nullptr;
  ibv_cq* cq_ = nullptr;
  ibv_mr* mr_ = nullptr;
  ibv_qp* qp_ = nullptr;
  ibv_qp_type type_;
  std::string error_;
};

// The steps of a connection by the library: 0 or an errno.
int to_init(ibv_qp* qp);
int to_rtr(ibv_qp* qp, const Target& target);
int to_rts(ibv_qp* qp);
// Posts an RDMA WRITE of 8 bytes into the target's memory and waits up to `milliseconds` for what
// becomes of it. True when the NIC says that it was done.
bool write_into(Rig& rig, const Target& target, int milliseconds = 300);

// MODIFY_QP to RTR as the kernel takes it.
[[nodiscard]] ib_uverbs_modify_qp rtr_command(std::uint32_t qp_handle, const Target& target);
// And to RTS.
[[nodiscard]] ib_uverbs_modify_qp rts_command(std::uint32_t qp_handle);

// One INVOKE_WRITE ioctl as it lies in memory: header and four attributes. Two of them can be
// copied over each other at any time.
struct Invoke {
  alignas(8) std::array<std::byte, sizeof(ib_uverbs_ioctl_hdr) + 4 * sizeof(ib_uverbs_attr)> bytes;

  // Lays it out anew: command number, arguments, room for the answer and for the driver's (64).
  void set(std::uint32_t command, const void* core_in, std::size_t core_in_size, void* core_out,
           std::size_t core_out_size, void* driver_out);
};

// ioctl(RDMA_VERBS_IOCTL) of a request, with bits of the command above the lower 32 if wanted: 0 or
// an errno.
int submit(int fd, const void* request, std::uint64_t high_bits = 0);

// An ioctl method with attributes; for methods that are to be refused it does not matter which.
class Method {
 public:
  Method(std::uint16_t object, std::uint16_t method, std::uint32_t driver = RDMA_DRIVER_RXE);
  Method& in(std::uint16_t id, const void* data, std::uint16_t size);
  Method& out(std::uint16_t id, void* data, std::uint16_t size);
  Method& value(std::uint16_t id, std::uint64_t value);  // 8 bytes inline
  // Header and attributes, as an Invoke would have them in its place. REQUIRES: at most four.
  [[nodiscard]] Invoke as_invoke() const;
  int run(int fd, std::uint64_t high_bits = 0) { return submit(fd, bytes_.data(), high_bits); }

 private:
  ib_uverbs_ioctl_hdr* header() { return reinterpret_cast<ib_uverbs_ioctl_hdr*>(bytes_.data()); }
  void add(std::uint16_t id, std::uint16_t size, std::uint64_t data);
  alignas(8) std::array<std::byte, 512> bytes_{};
};

// One legacy write() command: 8 bytes of header and its arguments.
template <typename Command>
struct Legacy {
  ib_uverbs_cmd_hdr header;
  Command command;
  Legacy(std::uint32_t number, const Command& arguments, std::size_t answer = 0)
      : header{number, static_cast<__u16>(sizeof(Legacy) / 4), static_cast<__u16>(answer / 4)},
        command(arguments) {}
};

}  // namespace qmasq::attack
