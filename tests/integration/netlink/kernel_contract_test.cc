// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>

#include <chrono>
#include <cstdio>

#include "tests/fake_netlink/contract.h"
#include "tests/fake_netlink/sandbox.h"
#include "vbond/netlink/kernel.h"
#include "vbond/overlay/overlay.h"

namespace qmasq::test {

using vbond::netlink::KernelNamespaces;

INSTANTIATE_TEST_SUITE_P(Kernel, NetlinkContract, ::testing::Values(NamespacesFactory([] {
                           return std::make_unique<KernelNamespaces>(KernelNamespaces::Options{});
                         })));

namespace {

TEST(KernelNamespaces, OnlyNetworkNamespacesOpen) {
  KernelNamespaces namespaces({});
  ASSERT_TRUE(namespaces.create("qmtest-three", "m"));
  UniqueFd file(::open("/run/netns/plain", O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  ASSERT_TRUE(file.valid());
  auto opened = namespaces.open("plain");
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::kFailedPrecondition);
  EXPECT_EQ(namespaces.open("../netns/plain").error().code, Code::kInvalidArgument);
  EXPECT_EQ(namespaces.create("plain", "m").error().code, Code::kAlreadyExists);
  EXPECT_TRUE(namespaces.remove("plain"));
  EXPECT_TRUE(namespaces.remove("qmtest-three"));
}

TEST(KernelNamespaces, TheKernelsOwnWordsAreInTheError) {
  KernelNamespaces namespaces({});
  auto net = namespaces.connect(-1);
  ASSERT_TRUE(net) << net.error().message;
  vbond::netlink::AddLink add;
  add.link.name = "toobig";
  add.link.kind = vbond::netlink::LinkKind::kVxlan;
  add.link.vxlan = vbond::netlink::VxlanOptions{Vni{kMaxVni + 1}, {}, 4789, false};
  vbond::netlink::Operation operation = add;
  Status done = (*net)->apply(std::span(&operation, 1)).front();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().err, ERANGE);
  EXPECT_NE(done.error().message.find("VXLAN ID must be lower"), std::string::npos)
      << done.error().message;
}

TEST(KernelNamespaces, TenThousandEntriesTakeLittleTime) {
  KernelNamespaces namespaces({});
  auto net = std::move(*namespaces.connect(-1));
  vbond::netlink::AddLink add;
  add.link.name = "qmx9";
  add.link.kind = vbond::netlink::LinkKind::kVxlan;
  add.link.vxlan = vbond::netlink::VxlanOptions{Vni{9}, *parse_ip("127.0.0.1"), 4789, false};
  vbond::netlink::Operation make = add;
  ASSERT_TRUE(net->apply(std::span(&make, 1)).front());
  std::vector<vbond::netlink::Operation> operations;
  for (unsigned i = 0; i < 10000; ++i) {
    Mac mac{{0x02, 0x71, 0, 0, static_cast<std::uint8_t>(i >> 8U), static_cast<std::uint8_t>(i)}};
    operations.emplace_back(vbond::netlink::PutFdb{"qmx9", vbond::netlink::FdbEntry::Table::kDevice,
                                                   mac, IpAddress::from_v4(0xc0000200 + i % 200)});
  }
  auto started = std::chrono::steady_clock::now();
  for (const Status& done : net->apply(operations))
    ASSERT_TRUE(done) << done.error().message;
  auto filled = std::chrono::steady_clock::now();
  auto entries = net->fdb();
  auto read = std::chrono::steady_clock::now();
  ASSERT_TRUE(entries);
  EXPECT_GE(entries->size(), 10000U);
  using Ms = std::chrono::duration<double, std::milli>;
  std::printf("10000 entries: set in %.1f ms, read in %.1f ms\n", Ms(filled - started).count(),
              Ms(read - filled).count());
  EXPECT_LT(filled - started, std::chrono::seconds(5));
}

TEST(Precheck, ThisMachineHasItAll) {
  auto items = vbond::precheck_overlay();
  ASSERT_EQ(items.size(), 4U);
  for (const vbond::PrecheckItem& item : items)
    EXPECT_TRUE(item.ok) << item.what << item.advice;
}

}  // namespace
}  // namespace qmasq::test

int main(int argc, char** argv) {
  return qmasq::test::run_tests_in_sandbox(argc, argv);
}
