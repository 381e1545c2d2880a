// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <cstring>
#include <memory>
#include <optional>

#include "vbond/nic/nic_source.h"

namespace qmasq::vbond {
namespace {

struct FreeAddresses {
  void operator()(ifaddrs* list) const { freeifaddrs(list); }
};

Result<std::unique_ptr<ifaddrs, FreeAddresses>> list_addresses() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return fail_errno(errno, "list this host's addresses");
  return std::unique_ptr<ifaddrs, FreeAddresses>(list);
}

std::optional<IpAddress> address_of(const ifaddrs& entry) {
  if (entry.ifa_addr == nullptr) return std::nullopt;
  if (entry.ifa_addr->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, entry.ifa_addr, sizeof v4);
    return IpAddress::from_v4(ntohl(v4.sin_addr.s_addr));
  }
  if (entry.ifa_addr->sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, entry.ifa_addr, sizeof v6);
    IpAddress out;
    std::memcpy(out.bytes.data(), &v6.sin6_addr, out.bytes.size());
    return out;
  }
  return std::nullopt;
}

class FixedUnderlay final : public UnderlaySource {
 public:
  explicit FixedUnderlay(const IpAddress& address) : address_(address) {}
  Result<IpAddress> address() override {
    QMASQ_ASSIGN(auto list, list_addresses());
    for (const ifaddrs* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
      if (address_of(*entry) == address_) return address_;
    }
    return fail(Code::kNotFound,
                fmt::format("no interface of this host has the underlay address {}: give it to "
                            "one, or name the interface with --underlay-device",
                            to_string(address_)));
  }

 private:
  const IpAddress address_;
};

class DeviceUnderlay final : public UnderlaySource {
 public:
  explicit DeviceUnderlay(std::string device) : device_(std::move(device)) {}
  Result<IpAddress> address() override {
    QMASQ_ASSIGN(auto list, list_addresses());
    std::optional<IpAddress> v6;
    for (const ifaddrs* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
      if (device_ != entry->ifa_name) continue;
      auto address = address_of(*entry);
      if (!address || address->is_link_local()) continue;
      if (address->is_v4()) return *address;
      if (!v6) v6 = address;
    }
    if (v6) return *v6;
    if (if_nametoindex(device_.c_str()) == 0) {
      return fail(Code::kNotFound,
                  fmt::format("no interface named {}: `ip link` lists those there are", device_));
    }
    return fail(
        Code::kNotFound,
        fmt::format("interface {} has no address yet: give it one with `ip address add`", device_));
  }

 private:
  const std::string device_;
};

}  // namespace

std::unique_ptr<UnderlaySource> make_fixed_underlay(const IpAddress& address) {
  return std::make_unique<FixedUnderlay>(address);
}

std::unique_ptr<UnderlaySource> make_device_underlay(std::string device) {
  return std::make_unique<DeviceUnderlay>(std::move(device));
}

}  // namespace qmasq::vbond
