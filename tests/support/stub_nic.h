// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "vbond/kernel/errno_or.h"
#include "vbond/uverbs/call.h"
#include "vbond/uverbs/objects.h"
#include "vbond/uverbs/qp.h"
#include "vbond/uverbs/verb.h"

namespace qmasq::test {

// The kernel's side of a verbs device, in memory: what ioctl(RDMA_VERBS_IOCTL) does on an open file
// of a software NIC, for the verbs that the agent executes. Pointers in a call are the caller's own
// memory, as they are for the kernel. Thread-safe.
class StubNic {
 public:
  struct Qp {
    std::uint64_t file = 0;
    vbond::uverbs::QpType type{};
    std::uint32_t qpn = 0;
    vbond::uverbs::ModifyQp attributes;  // all modifications, merged
    unsigned rings = 0;
  };

  struct Mr {
    std::uint64_t length = 0;
    std::uint64_t iova = 0;
  };

  vbond::ErrnoOr<int> call(std::uint64_t file, void* header);
  // The last descriptor of the file is closed.
  void release(std::uint64_t file);

  // Called with the verb's name before each call, outside of the lock; may block.
  void set_hook(std::function<void(const std::string& verb)> hook);
  // Called with each call before it is served, outside of the lock; not 0: it fails with that. Set
  // before there are threads.
  std::function<int(std::uint64_t file, const vbond::uverbs::Call& call)> before_call;
  // Whose calls are taken, as struct ib_uverbs_ioctl_hdr says it.
  std::uint32_t driver = static_cast<std::uint32_t>(vbond::uverbs::DriverId::kRxe);
  // MODIFY_QP as the kernel takes it: only the steps between states that there are
  // (ib_modify_qp_is_ok), and an address vector only where a step has one. Else all are taken.
  bool strict_states = false;
  // The next call of this verb fails.
  void fail_next(const std::string& verb, int err);

  [[nodiscard]] std::size_t queue_pairs() const;
  [[nodiscard]] std::optional<Qp> find(std::uint64_t file, std::uint32_t handle) const;
  // Where the address handle leads.
  [[nodiscard]] std::optional<vbond::uverbs::QpDest> address(std::uint64_t file,
                                                             std::uint32_t handle) const;
  [[nodiscard]] std::size_t addresses() const;
  [[nodiscard]] std::size_t completion_queues() const;
  [[nodiscard]] std::size_t shared_receive_queues() const;
  [[nodiscard]] std::size_t memory_regions() const;
  // PDs, memory windows, XRC domains, doorbell pages.
  [[nodiscard]] std::size_t count(vbond::uverbs::Object object) const;
  // What a file has, by handle.
  [[nodiscard]] std::map<std::uint32_t, Qp> queue_pairs_of(std::uint64_t file) const;
  [[nodiscard]] std::map<std::uint32_t, vbond::uverbs::QpDest> addresses_of(
      std::uint64_t file) const;
  [[nodiscard]] std::set<std::uint32_t> completion_queues_of(std::uint64_t file) const;
  [[nodiscard]] std::set<std::uint32_t> shared_receive_queues_of(std::uint64_t file) const;
  [[nodiscard]] std::map<std::uint32_t, Mr> memory_regions_of(std::uint64_t file) const;
  // What a tenant's own REG_MR, REREG_MR and DEREG_MR come to, once they are let run.
  std::uint32_t register_mr(std::uint64_t file, const Mr& mr);
  void change_mr(std::uint64_t file, std::uint32_t handle, const Mr& mr);
  void remove_mr(std::uint64_t file, std::uint32_t handle);
  [[nodiscard]] unsigned calls(const std::string& verb) const;

  // What a tenant must never see.
  static constexpr std::array<std::uint8_t, 8> kPhysicalGuid{0x50, 0x54, 0, 0xff, 0xfe, 0, 0, 1};
  static constexpr std::uint32_t kPhysicalGids = 256;
  // Where the queue is that MODIFY_SRQ has made another size (struct mminfo).
  static constexpr std::array<std::uint32_t, 4> kQueuePlace{0x3000, 0, 0x2000, 0};

 private:
  class Caller;
  using Key = std::pair<std::uint64_t, std::uint32_t>;

  vbond::ErrnoOr<int> serve(std::uint64_t file, Caller& caller);
  int create(std::uint64_t file, Caller& caller);
  int destroy(std::uint64_t file, Caller& caller);
  int modify(std::uint64_t file, Caller& caller);
  int query(std::uint64_t file, Caller& caller);
  int create_ah(std::uint64_t file, Caller& caller);
  int destroy_ah(std::uint64_t file, Caller& caller);
  int create_queue(std::uint64_t file, Caller& caller, bool cq);
  int destroy_counted(std::uint64_t file, Caller& caller, vbond::uverbs::Object object);
  int info_handles(std::uint64_t file, Caller& caller);
  int query_mr(std::uint64_t file, Caller& caller);
  int make_other(std::uint64_t file, Caller& caller, vbond::uverbs::Object object);
  int destroy_other(std::uint64_t file, Caller& caller, vbond::uverbs::Object object);
  int modify_srq(Caller& caller) const;
  static int make_fd(Caller& caller);
  int ring(std::uint64_t file, Caller& caller);
  // The lowest that is free, as the kernel gives it. REQUIRES: mutex_ held.
  [[nodiscard]] std::uint32_t free_handle(std::uint64_t file) const;

  mutable std::mutex mutex_;
  std::function<void(const std::string&)> hook_;
  std::map<Key, Qp> qps_;
  std::map<Key, vbond::uverbs::QpDest> addresses_;
  std::set<Key> cqs_;
  std::set<Key> srqs_;
  std::map<Key, Mr> mrs_;
  std::map<Key, vbond::uverbs::Object> others_;
  std::map<std::string, int> failures_;
  std::map<std::string, unsigned> calls_;
  std::uint32_t next_qpn_ = 17;
};

}  // namespace qmasq::test
