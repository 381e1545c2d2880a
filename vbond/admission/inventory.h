// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "vbond/admission/admission_control.h"
#include "vbond/kernel/errno_or.h"

// The objects of one context that quotas count, and what its tenancy is charged for them.
//
// What the agent executes it knows: made(), gone(). What must run in the tenant (it pins the
// caller's memory) is reserved when the call is checked, and nobody tells the agent how it ended.
// So such a call leaves an expectation, charged in full, and the truth is fetched when it matters:
//
//   in flight   its thread has not been seen since: it may be in the kernel still, pinning. The
//               charge stays.
//   landed      its thread has made another trapped call, or is gone: the kernel has decided.
//               settle() asks the kernel for all objects there are. An object that nobody knew yet
//               and that is as large, at the same place, as was expected is the one; an expectation
//               without an object failed, and its charge is returned.
//
// An object that appears while its expectation is in flight (the thread succeeded and computes) is
// matched as well, so nothing is charged twice. Where several threads expect the same (the same
// range of memory at the same time), the agent cannot tell whose the object is: the charge for
// those that are left stays until all of these threads have landed. It never counts too little.
//
// An object that nobody expected (the arguments were changed after the check, so that another verb
// ran) is charged when it is found, whatever the limit says; an object that went the same way is
// returned. So a program that lies is beyond its limit for as long as nobody looks, and no longer:
// see docs/adr/0016.
//
// A region that is being changed (REREG_MR) is charged for the larger of what it has and what it is
// to have, until its thread has landed; then for what the kernel says.
//
// Pure but for the tenancy; not thread-safe (Context::mutex).
namespace qmasq::vbond {

// Where a memory region lies, as the kernel tells. All zero for other objects.
struct Region {
  std::uint64_t length = 0;  // bytes
  std::uint64_t iova = 0;
  friend bool operator==(const Region&, const Region&) = default;
};

// What the region counts against pinned_bytes: the whole pages it touches, which is what the kernel
// pins and counts against RLIMIT_MEMLOCK. (Its iova has the offset in the page that the memory has;
// the kernel sees to that.) 0 where nothing can be pinned: no address space is that large, so the
// kernel refuses it, or it is an implicit region of on-demand paging.
[[nodiscard]] std::uint64_t pinned_bytes(const Region& region, std::uint64_t page_size);
// All of the address space, by on-demand paging.
inline constexpr std::uint64_t kImplicitLength = UINT64_MAX;

// The call of a thread that was let run.
struct Flight {
  pid_t tid = 0;
  pid_t pid = 0;
  std::uint64_t number = 0;  // never given twice
  friend bool operator==(const Flight&, const Flight&) = default;
};

// The kernel's word on the objects of the context's file.
class KernelObjects {
 public:
  virtual ~KernelObjects() = default;
  struct Listing {
    std::vector<std::uint32_t> handles;
    bool complete = true;  // false: these are the newest of more
  };
  [[nodiscard]] virtual ErrnoOr<Listing> list(qos::Resource kind) = 0;
  // EBUSY: it is being changed or destroyed right now.
  [[nodiscard]] virtual ErrnoOr<Region> region(std::uint32_t handle) = 0;
};

class Inventory {
 public:
  using InFlight = std::function<bool(const Flight&)>;

  Inventory(std::shared_ptr<Tenancy> tenancy, std::uint64_t page_size)
      : tenancy_(std::move(tenancy)), page_size_(page_size) {}
  ~Inventory() { clear(); }
  Inventory(const Inventory&) = delete;
  Inventory& operator=(const Inventory&) = delete;

  [[nodiscard]] const std::shared_ptr<Tenancy>& tenancy() const { return tenancy_; }
  [[nodiscard]] qos::Amounts amounts(qos::Resource kind, const Region& region) const;

  // --- executed by the agent ---
  // It has come to be; its charge was reserved and is this object's from now on.
  void made(qos::Resource kind, std::uint32_t handle);
  // It is no more. `region`: what the kernel said of it before, if it was asked.
  void gone(qos::Resource kind, std::uint32_t handle, const std::optional<Region>& region = {});

  // --- run by the tenant ---
  // The charge was reserved and is the expectation's from now on.
  void expect(qos::Resource kind, const Region& region, const Flight& flight);
  // The region is to become `region`; `extra` bytes were reserved beyond what it has.
  void expect_change(std::uint32_t handle, std::uint64_t extra, const Flight& flight);
  // The call will not run after all.
  void withdraw(const Flight& flight);

  [[nodiscard]] std::optional<Region> find(qos::Resource kind, std::uint32_t handle) const;
  [[nodiscard]] std::vector<std::uint32_t> handles(qos::Resource kind) const;
  // So many objects there are at most.
  [[nodiscard]] std::size_t count(qos::Resource kind) const {
    return known(kind).size() + expected_.size();
  }
  [[nodiscard]] std::size_t expectations() const { return expected_.size() + changes_.size(); }
  // Something is expected whose end is not known.
  [[nodiscard]] bool in_doubt() const { return !expected_.empty() || !changes_.empty(); }
  // Of that, something has landed.
  [[nodiscard]] bool can_settle(const InFlight& in_flight) const;
  // Of one kind. False: the kernel would not tell; all stays as it is.
  bool settle(qos::Resource kind, KernelObjects& kernel, const InFlight& in_flight);

  // All is gone.
  void clear();

 private:
  static constexpr std::size_t kKinds = 4;  // of Resource: those before kPinnedBytes
  using Known = std::unordered_map<std::uint32_t, Region>;

  struct Expected {
    qos::Resource kind = qos::Resource::kMemoryRegions;
    Region region;
    std::vector<Flight> flights;  // landed when none of them is in flight
    bool landed = false;          // found while settling
  };
  struct Change {
    std::uint32_t handle = 0;
    std::uint64_t extra = 0;
    Flight flight;
    bool landed = false;
  };

  [[nodiscard]] Known& known(qos::Resource kind) { return known_[static_cast<std::size_t>(kind)]; }
  [[nodiscard]] const Known& known(qos::Resource kind) const {
    return known_[static_cast<std::size_t>(kind)];
  }
  // Takes an expectation of such an object out, a landed one if there is one. False: none.
  bool take_expected(qos::Resource kind, const Region& region);
  void drop_absent(qos::Resource kind, const KernelObjects::Listing& listing);
  // False: of some object the kernel could not say what it is.
  bool take_in_new(qos::Resource kind, const KernelObjects::Listing& listing,
                   KernelObjects& kernel);
  void settle_changes(KernelObjects& kernel);

  const std::shared_ptr<Tenancy> tenancy_;
  const std::uint64_t page_size_;
  std::array<Known, kKinds> known_;
  std::vector<Expected> expected_;
  std::vector<Change> changes_;
};

}  // namespace qmasq::vbond
