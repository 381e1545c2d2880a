// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "common/unique_fd.h"
#include "vbond/netlink/netlink.h"

namespace qmasq::vbond::netlink {

// The kernel's network namespaces, by rtnetlink(7) and nsfs. Needs CAP_SYS_ADMIN and CAP_NET_ADMIN.
// A namespace is entered only by a thread made for that and gone right after, never by the caller.
class KernelNamespaces final : public Namespaces {
 public:
  struct Options {
    std::string directory = "/run/netns";  // where `ip netns` looks
    // The agent's own namespace; invalid: that of the calling thread. Tests set it.
    UniqueFd own;
  };
  explicit KernelNamespaces(Options options);

  [[nodiscard]] Result<std::vector<std::string>> names() override;
  [[nodiscard]] std::string path(const std::string& name) const override;
  [[nodiscard]] Result<UniqueFd> open(const std::string& name) override;
  [[nodiscard]] Result<UniqueFd> create(const std::string& name, const std::string& mark) override;
  [[nodiscard]] Status remove(const std::string& name) override;
  [[nodiscard]] Result<std::unique_ptr<Netlink>> connect(int netns) override;
  [[nodiscard]] Result<std::unique_ptr<Monitor>> monitor(int netns) override;

 private:
  [[nodiscard]] Status prepare_directory();
  Options options_;
};

}  // namespace qmasq::vbond::netlink
