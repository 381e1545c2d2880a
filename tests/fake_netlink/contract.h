// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "vbond/netlink/netlink.h"

// What any implementation of the netlink seam must do. Run on the fake (unit) and on the kernel
// (integration): instantiate NetlinkContract with a factory.
namespace qmasq::test {

using NamespacesFactory = std::function<std::unique_ptr<vbond::netlink::Namespaces>()>;

class NetlinkContract : public ::testing::TestWithParam<NamespacesFactory> {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Runs one operation in the namespace.
  Status run(vbond::netlink::Netlink& net, const vbond::netlink::Operation& operation);
  vbond::netlink::Link link_named(vbond::netlink::Netlink& net, const std::string& name);
  bool has_link(vbond::netlink::Netlink& net, const std::string& name);

  std::unique_ptr<vbond::netlink::Namespaces> namespaces_;
  UniqueFd one_;
  UniqueFd two_;
  std::unique_ptr<vbond::netlink::Netlink> a_;  // in one_
  std::unique_ptr<vbond::netlink::Netlink> b_;  // in two_
};

}  // namespace qmasq::test
