// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "vbond/nic/nic_source.h"

namespace qmasq::vbond {

// RDMA devices in memory, for tests. Thread-safe. Like the kernel, it numbers a device anew each
// time it appears.
class FakeNicSource final : public NicSource {
 public:
  Result<std::vector<NicGlance>> glance() override {
    std::lock_guard lock(mutex_);
    if (fail_glance_) return tl::unexpected(*std::exchange(fail_glance_, std::nullopt));
    std::vector<NicGlance> out;
    for (const auto& [name, entry] : devices_) {
      out.push_back({name, entry.index, entry.nic.active ? "up" : "down"});
    }
    return out;
  }

  Result<Nic> describe(const std::string& device) override {
    std::lock_guard lock(mutex_);
    ++describes_;
    if (fail_describe_) return tl::unexpected(*std::exchange(fail_describe_, std::nullopt));
    auto found = devices_.find(device);
    if (found == devices_.end()) return fail(Code::kNotFound, "no RDMA device named " + device);
    return found->second.nic;
  }

  // Adds the device, or changes it in place.
  void put(Nic nic) {
    std::lock_guard lock(mutex_);
    auto [entry, added] = devices_.try_emplace(nic.device);
    if (added) entry->second.index = next_index_++;
    entry->second.nic = std::move(nic);
  }
  void remove(const std::string& device) {
    std::lock_guard lock(mutex_);
    devices_.erase(device);
  }
  void fail_next_glance(Error error) {
    std::lock_guard lock(mutex_);
    fail_glance_ = std::move(error);
  }
  void fail_next_describe(Error error) {
    std::lock_guard lock(mutex_);
    fail_describe_ = std::move(error);
  }
  [[nodiscard]] int describes() const {
    std::lock_guard lock(mutex_);
    return describes_;
  }

  // A Soft-RoCE NIC on eth1 with its link-local GID at 0 and `address` at 1.
  static Nic soft_roce(const std::string& device, const IpAddress& address) {
    Nic nic;
    nic.device = device;
    nic.netdev = "eth1";
    nic.driver = "rxe";
    nic.active = true;
    nic.active_mtu = 1024;
    nic.rate_bps = 2'500'000'000;
    nic.gids = {{0, Gid::link_local(Mac{{2, 0, 0, 0, 0, 1}}), GidType::kRoceV2},
                {1, Gid::from_ip(address), GidType::kRoceV2}};
    return nic;
  }

 private:
  struct Entry {
    int index = 0;
    Nic nic;
  };
  mutable std::mutex mutex_;
  std::map<std::string, Entry> devices_;
  int next_index_ = 0;
  int describes_ = 0;
  std::optional<Error> fail_glance_;
  std::optional<Error> fail_describe_;
};

class FakeUnderlay final : public UnderlaySource {
 public:
  explicit FakeUnderlay(std::optional<IpAddress> address) : address_(address) {}
  Result<IpAddress> address() override {
    std::lock_guard lock(mutex_);
    if (address_) return *address_;
    return fail(Code::kNotFound, "interface eth1 has no address yet");
  }
  void set(std::optional<IpAddress> address) {
    std::lock_guard lock(mutex_);
    address_ = address;
  }

 private:
  std::mutex mutex_;
  std::optional<IpAddress> address_;
};

}  // namespace qmasq::vbond
