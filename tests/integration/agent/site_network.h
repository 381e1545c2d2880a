// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "vbond/netlink/netlink.h"

namespace qmasq::test {

// Network namespaces of a site that has its own overlay, in memory: each has an interface eth0 with
// addresses, nothing in it can be changed. Thread-safe. Namespaces are told apart by a file each in
// `directory`, which is what their descriptors stand for.
class SiteNetwork final : public vbond::netlink::Namespaces {
 public:
  explicit SiteNetwork(std::string directory) : directory_(std::move(directory)) {}

  void add(const std::string& name, const std::string& mac,
           const std::vector<std::string>& addresses);

  Result<std::vector<std::string>> names() override;
  std::string path(const std::string& name) const override { return directory_ + "/" + name; }
  Result<UniqueFd> open(const std::string& name) override;
  Result<UniqueFd> create(const std::string& name, const std::string& mark) override;
  Status remove(const std::string& name) override;
  Result<std::unique_ptr<vbond::netlink::Netlink>> connect(int netns) override;
  Result<std::unique_ptr<vbond::netlink::Monitor>> monitor(int netns) override;

 private:
  const std::string directory_;
  std::mutex mutex_;
  struct Interface {
    Mac mac;
    std::vector<vbond::netlink::Address> addresses;
  };
  std::map<std::string, Interface> interfaces_;
};

}  // namespace qmasq::test
