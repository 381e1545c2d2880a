// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/agent/site_network.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

namespace qmasq::test {
namespace {

namespace nl = vbond::netlink;

constexpr int kInterface = 2;

class SiteNetlink final : public nl::Netlink {
 public:
  SiteNetlink(const Mac& mac, std::vector<nl::Address> addresses)
      : mac_(mac), addresses_(std::move(addresses)) {}
  Result<std::vector<nl::Link>> links() override {
    nl::Link loopback;
    loopback.index = 1;
    loopback.name = "lo";
    loopback.kind = nl::LinkKind::kLoopback;
    loopback.up = true;
    nl::Link interface;
    interface.index = kInterface;
    interface.name = "eth0";
    interface.mac = mac_;
    interface.mtu = 1400;
    interface.up = true;
    return std::vector{loopback, interface};
  }
  Result<std::vector<nl::Address>> addresses() override { return addresses_; }
  Result<std::vector<nl::Neighbour>> neighbours() override { return std::vector<nl::Neighbour>{}; }
  Result<std::vector<nl::FdbEntry>> fdb() override { return std::vector<nl::FdbEntry>{}; }
  std::vector<Status> apply(std::span<const nl::Operation> operations) override {
    std::vector<Status> out;
    for (std::size_t i = 0; i < operations.size(); ++i) {
      out.emplace_back(fail_errno(EPERM, "the site's network"));
    }
    return out;
  }

 private:
  const Mac mac_;
  const std::vector<nl::Address> addresses_;
};

// Nothing ever changes.
class QuietMonitor final : public nl::Monitor {
 public:
  int fd() const override { return fd_.get(); }
  Result<bool> drain() override { return false; }

 private:
  UniqueFd fd_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
};

}  // namespace

void SiteNetwork::add(const std::string& name, const std::string& mac,
                      const std::vector<std::string>& addresses) {
  UniqueFd file(::open(path(name).c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0600));
  std::lock_guard lock(mutex_);
  Interface& interface = interfaces_[name];
  interface.mac = *parse_mac(mac);
  for (const auto& text : addresses) {
    nl::Address address;
    address.link = kInterface;
    address.ip = *parse_ip(text);
    address.prefix = 24;
    interface.addresses.push_back(address);
  }
}

Result<std::vector<std::string>> SiteNetwork::names() {
  std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [name, interface] : interfaces_)
    out.push_back(name);
  return out;
}

Result<UniqueFd> SiteNetwork::open(const std::string& name) {
  UniqueFd fd(::open(path(name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return fail(Code::kNotFound, "no network namespace " + name);
  return fd;
}

Result<UniqueFd> SiteNetwork::create(const std::string& name, const std::string& /*mark*/) {
  return fail(Code::kPermissionDenied, "the site makes its namespaces itself, not " + name);
}

Status SiteNetwork::remove(const std::string& name) {
  return fail(Code::kPermissionDenied, "the site removes its namespaces itself, not " + name);
}

Result<std::unique_ptr<nl::Netlink>> SiteNetwork::connect(int netns) {
  struct stat wanted {};
  if (netns < 0 || ::fstat(netns, &wanted) != 0) return fail_errno(EBADF, "connect");
  std::lock_guard lock(mutex_);
  for (const auto& [name, interface] : interfaces_) {
    struct stat info {};
    if (::stat(path(name).c_str(), &info) == 0 && info.st_ino == wanted.st_ino) {
      return std::make_unique<SiteNetlink>(interface.mac, interface.addresses);
    }
  }
  return fail(Code::kNotFound, "no such network namespace");
}

Result<std::unique_ptr<nl::Monitor>> SiteNetwork::monitor(int /*netns*/) {
  return std::make_unique<QuietMonitor>();
}

}  // namespace qmasq::test
