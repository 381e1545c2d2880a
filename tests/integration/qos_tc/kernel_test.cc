// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <string>

#include "common/unique_fd.h"
#include "qos/backends/tc/backend.h"
#include "qos/backends/tc/limits.h"
#include "qos/backends/tc/scan.h"
#include "tests/fake_netlink/sandbox.h"
#include "tests/support/qos_contract.h"

namespace qmasq::test {
namespace {

using namespace qos::tc;  // NOLINT(google-build-using-namespace): the tests are all about it
using qos::Backend;
using qos::Counters;
using qos::Node;
using qos::NodeId;
using qos::Plan;
using qos::Step;
using ::testing::HasSubstr;

constexpr const char* kDevice = "qmtc0";

void sh(const std::string& command) {
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
}

std::unique_ptr<TcKernel> open();
Qdisc root_of(TcKernel& kernel);
Status run(TcKernel& kernel, const Operation& operation);

// A pair of devices with addresses at one end; the other swallows what comes. Made once: the
// namespace goes with the process, and programs start slowly in the lab.
void make_pair() {
  static const bool made = [] {
    sh("ip -batch - <<'END'\n"
       "link add qmtc0 type veth peer name qmtc1\n"
       "addr add 10.99.0.1/24 dev qmtc0\n"
       "addr add fd99::1/64 dev qmtc0 nodad\n"
       "link set qmtc1 up\n"
       "link set qmtc0 up\n"
       "neigh replace 10.99.0.2 lladdr 02:00:00:00:00:02 dev qmtc0 nud permanent\n"
       "neigh replace fd99::2 lladdr 02:00:00:00:00:02 dev qmtc0 nud permanent\n"
       "END");
    return true;
  }();
  (void)made;
}

// That pair, without a queueing discipline of anybody.
class Pair {
 public:
  Pair() { make_pair(); }
  ~Pair() {
    auto kernel = open();
    Qdisc root = root_of(*kernel);
    if (root.handle != 0) {
      EXPECT_TRUE(run(*kernel, DeleteQdisc{root.handle}));
    }
  }
};

std::unique_ptr<TcKernel> open() {
  auto kernel = open_kernel(kDevice);
  EXPECT_TRUE(kernel) << kernel.error().message;
  return std::move(*kernel);
}

Qdisc root_of(TcKernel& kernel) {
  auto qdiscs = kernel.qdiscs();
  EXPECT_TRUE(qdiscs) << qdiscs.error().message;
  for (const Qdisc& one : *qdiscs) {
    if (one.parent == kRoot) return one;
  }
  return {};
}

Status run(TcKernel& kernel, const Operation& operation) {
  return kernel.apply(std::span(&operation, 1)).front();
}

Class a_class(std::uint16_t minor, std::uint16_t parent, BitsPerSecond rate) {
  Node node;
  node.guaranteed = node.maximum = rate;
  node.burst = 65536;
  node.weight = 10;
  return to_class(node, with_minor(minor), parent == 0 ? kRoot : with_minor(parent), 10);
}

// Empty: the kernel has what the backend needs.
std::string missing_flower() {
  static const std::string why = [] {
    Pair pair;
    auto kernel = open();
    EXPECT_TRUE(run(*kernel, AddQdisc{kOurs}));
    Node other;
    other.id = NodeId::other();
    Status added = run(*kernel, AddFilter{filters_of(other, with_minor(kOtherMinor)).front()});
    if (added) return std::string();
    return "this kernel has no cls_flower (" + added.error().message + "); the lab's has";
  }();
  return why;
}

class KernelWorld final : public QosWorld {
 public:
  std::unique_ptr<Backend> backend() override {
    auto made = make_tc_backend({kDevice});
    EXPECT_TRUE(made) << made.error().message;
    return std::move(*made);
  }
  bool is_clean() override {
    Qdisc root = root_of(*open());
    return root.handle == 0;
  }
  std::string missing() override { return missing_flower(); }
  Node rounded(const Node& node) override { return as_programmed(node); }

 private:
  Pair pair_;
};

}  // namespace

INSTANTIATE_TEST_SUITE_P(Kernel, QosContract, ::testing::Values(QosWorldFactory([] {
                           return std::make_unique<KernelWorld>();
                         })));

namespace {

class TcOnKernel : public ::testing::Test {
 protected:
  Pair pair_;
  std::unique_ptr<TcKernel> kernel_ = open();
};

TEST_F(TcOnKernel, TheRootThatWasThereComesBack) {
  Qdisc before = root_of(*kernel_);
  EXPECT_EQ(before.handle, 0U);
  ASSERT_TRUE(run(*kernel_, AddQdisc{kOurs}));
  EXPECT_EQ(root_of(*kernel_), (Qdisc{kOurs, kRoot, "htb"}));
  EXPECT_EQ(run(*kernel_, AddQdisc{kOurs}).error().err, EEXIST);
  EXPECT_FALSE(run(*kernel_, DeleteQdisc{0x00010000}));
  ASSERT_TRUE(run(*kernel_, DeleteQdisc{kOurs}));
  EXPECT_EQ(root_of(*kernel_), before);
  EXPECT_FALSE(run(*kernel_, DeleteQdisc{kOurs}));
}

TEST_F(TcOnKernel, ClassesAreReadBackAsTheyWereWritten) {
  ASSERT_TRUE(run(*kernel_, AddQdisc{kOurs}));
  // 400 Gbit/s is more than 32 bits of bytes per second hold.
  for (std::uint64_t rate :
       {8'000ULL, 20'000'000ULL, 34'359'738'360ULL, 34'359'738'368ULL, 400'000'000'000ULL}) {
    SCOPED_TRACE(rate);
    Class spec = a_class(1, 0, BitsPerSecond{rate});
    ASSERT_TRUE(run(*kernel_, AddClass{spec}));
    auto found = kernel_->classes(kOurs);
    ASSERT_TRUE(found) << found.error().message;
    ASSERT_EQ(found->size(), 1U);
    EXPECT_EQ(found->front(), spec);
    ASSERT_TRUE(run(*kernel_, DeleteClass{spec.id}));
  }
}

TEST_F(TcOnKernel, ErrnosAreThoseOfTheFake) {
  EXPECT_EQ(run(*kernel_, AddClass{a_class(1, 0, BitsPerSecond{1'000'000})}).error().err, ENOENT);
  ASSERT_TRUE(run(*kernel_, AddQdisc{kOurs}));
  Class top = a_class(1, 0, BitsPerSecond{1'000'000});
  ASSERT_TRUE(run(*kernel_, AddClass{top}));
  EXPECT_EQ(run(*kernel_, AddClass{top}).error().err, EEXIST);
  Class none = a_class(2, 0, BitsPerSecond{1'000'000});
  EXPECT_EQ(run(*kernel_, ChangeClass{none}).error().err, ENOENT);
  EXPECT_EQ(run(*kernel_, DeleteClass{none.id}).error().err, ENOENT);
  Class empty = none;
  empty.rate = 0;
  EXPECT_EQ(run(*kernel_, AddClass{empty}).error().err, EINVAL);
  ASSERT_TRUE(run(*kernel_, AddClass{a_class(2, 1, BitsPerSecond{1'000'000})}));
  EXPECT_EQ(run(*kernel_, DeleteClass{top.id}).error().err, EBUSY);
  // A parent that does not exist is no error to HTB: the class is at the top then.
  ASSERT_TRUE(run(*kernel_, AddClass{a_class(3, 9, BitsPerSecond{1'000'000})}));
  auto classes = kernel_->classes(kOurs);
  ASSERT_TRUE(classes);
  for (const Class& one : *classes) {
    if (one.id == with_minor(3)) {
      EXPECT_EQ(one.parent, kRoot);
    }
  }
  // The quantum of a class with children stays.
  Class heavier = top;
  heavier.quantum = 2 * top.quantum;
  ASSERT_TRUE(run(*kernel_, ChangeClass{heavier}));
  classes = kernel_->classes(kOurs);
  for (const Class& one : *classes) {
    if (one.id == top.id) {
      EXPECT_EQ(one.quantum, top.quantum);
    }
  }
}

TEST_F(TcOnKernel, ManyOperationsInOneCall) {
  std::vector<Operation> operations{AddQdisc{kOurs},
                                    AddClass{a_class(1, 0, BitsPerSecond{8'000'000})}};
  for (std::uint16_t minor = 0x10; minor < 0x10 + 1000; ++minor)
    operations.emplace_back(AddClass{a_class(minor, 1, BitsPerSecond{8000})});
  operations.emplace_back(AddClass{a_class(0x10, 1, BitsPerSecond{8000})});
  auto results = kernel_->apply(operations);
  ASSERT_EQ(results.size(), operations.size());
  for (std::size_t i = 0; i + 1 < results.size(); ++i)
    ASSERT_TRUE(results[i]) << i << results[i].error().message;
  EXPECT_EQ(results.back().error().err, EEXIST);
  auto classes = kernel_->classes(kOurs);
  ASSERT_TRUE(classes);
  EXPECT_EQ(classes->size(), 1001U);
}

TEST_F(TcOnKernel, TheSitesRootIsRefusedAndStays) {
  sh("tc qdisc add dev qmtc0 root handle 1: htb");
  auto backend = make_tc_backend({kDevice});
  ASSERT_TRUE(backend);
  auto found = (*backend)->readback([](EndpointUid) { return std::nullopt; });
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_TRUE(found->nodes.empty());
  Node nic;
  nic.parent = nic.id;
  nic.guaranteed = nic.maximum = BitsPerSecond{1'000'000'000};
  nic.weight = 10;
  std::vector<Step> steps{{Step::Kind::kAdd, nic}};
  Status done = (*backend)->program(steps).front();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::kFailedPrecondition);
  EXPECT_THAT(done.error().message, HasSubstr("htb 1:"));
  EXPECT_THAT(done.error().message, HasSubstr("tc qdisc del dev qmtc0 root"));
  steps.front().kind = Step::Kind::kRemove;
  EXPECT_TRUE((*backend)->program(steps).front());
  EXPECT_EQ(root_of(*kernel_), (Qdisc{0x00010000, kRoot, "htb"}));
}

TEST_F(TcOnKernel, ADeviceMayComeAndGo) {
  auto backend = make_tc_backend({"qmtc8"});
  ASSERT_TRUE(backend);
  auto none = [](EndpointUid) -> std::optional<VpcUid> { return std::nullopt; };
  EXPECT_FALSE((*backend)->readback(none));
  sh("ip link add qmtc8 type veth peer name qmtc9");
  ASSERT_TRUE((*backend)->readback(none));
  sh("ip link del qmtc8");
  auto found = (*backend)->readback(none);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().err, ENODEV);
  EXPECT_THAT(found.error().message, HasSubstr("qmtc8"));
  EXPECT_EQ(make_tc_backend({"a name that is too long"}).error().code, Code::kInvalidArgument);
}

// Packets find their classes.
class TcPackets : public TcOnKernel {
 protected:
  void SetUp() override {
    if (std::string why = missing_flower(); !why.empty()) GTEST_SKIP() << why;
    backend_ = std::move(*make_tc_backend({kDevice}));
    auto there = backend_->readback([](EndpointUid) { return std::nullopt; });
    ASSERT_TRUE(there) << there.error().message;
    put(NodeId::nic(), NodeId::nic(), {});
    put(NodeId::other(), NodeId::nic(), {});
    put(NodeId::vpc(VpcUid{1}), NodeId::nic(), {});
    put(NodeId::endpoint(EndpointUid{7}), NodeId::vpc(VpcUid{1}), {0xc000, 16});
    put(NodeId::endpoint(EndpointUid{8}), NodeId::vpc(VpcUid{1}), {0xc010, 1});
    for (const Status& done : backend_->program(qos::diff({}, plan_)))
      ASSERT_TRUE(done) << done.error().message;
  }

  void put(NodeId id, NodeId parent, qos::PortBlock ports) {
    Node node{id, parent, BitsPerSecond{8'000'000}, BitsPerSecond{1'000'000'000}, 65536, 10, ports};
    if (id == NodeId::nic()) node.guaranteed = node.maximum;
    plan_.nodes[id] = node;
  }

  // A datagram of 1000 bytes over IPv4 and one over IPv6.
  static void send(std::uint16_t source, std::uint16_t destination) {
    std::array<char, 1000> data{};
    for (int family : {AF_INET, AF_INET6}) {
      UniqueFd fd(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      int one = 1;
      ASSERT_EQ(::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), 0);
      sockaddr_storage from{};
      sockaddr_storage to{};
      socklen_t size = 0;
      if (family == AF_INET) {
        auto* v4 = reinterpret_cast<sockaddr_in*>(&from);
        *v4 = {AF_INET, htons(source), {}, {}};
        auto* there = reinterpret_cast<sockaddr_in*>(&to);
        *there = {AF_INET, htons(destination), {}, {}};
        ::inet_pton(AF_INET, "10.99.0.2", &there->sin_addr);
        size = sizeof *v4;
      } else {
        auto* v6 = reinterpret_cast<sockaddr_in6*>(&from);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(source);
        auto* there = reinterpret_cast<sockaddr_in6*>(&to);
        there->sin6_family = AF_INET6;
        there->sin6_port = htons(destination);
        ::inet_pton(AF_INET6, "fd99::2", &there->sin6_addr);
        size = sizeof *v6;
      }
      ASSERT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&from), size), 0) << errno;
      ASSERT_EQ(
          ::sendto(fd.get(), data.data(), data.size(), 0, reinterpret_cast<sockaddr*>(&to), size),
          static_cast<ssize_t>(data.size()))
          << errno;
    }
  }

  std::map<NodeId, Counters> counters() {
    auto found = backend_->counters();
    EXPECT_TRUE(found) << found.error().message;
    return *found;
  }

  Plan plan_;
  std::unique_ptr<Backend> backend_;
};

// Frames of 14 + 20 + 8 + 1000 and 14 + 40 + 8 + 1000 bytes.
constexpr std::uint64_t kBoth = 1042 + 1062;

TEST_F(TcPackets, GoToTheClassOfTheirBlockByBothFamilies) {
  send(0xc000, kRocePort);
  send(0xc00f, kRocePort);
  send(0xc010, kRocePort);
  send(0xc011, kRocePort);  // of nobody
  send(0xbfff, kRocePort);  // of nobody
  send(0xc001, 4792);       // not RDMA
  auto found = counters();
  EXPECT_EQ(found[NodeId::endpoint(EndpointUid{7})].bytes, 2 * kBoth);
  EXPECT_EQ(found[NodeId::endpoint(EndpointUid{7})].packets, 4U);
  EXPECT_EQ(found[NodeId::endpoint(EndpointUid{8})].bytes, kBoth);
  EXPECT_EQ(found[NodeId::vpc(VpcUid{1})].bytes, 3 * kBoth);
  EXPECT_EQ(found[NodeId::other()].bytes, 2 * kBoth);
  EXPECT_EQ(found[NodeId::nic()].bytes, 5 * kBoth);
}

TEST_F(TcPackets, FallToNobodysWhenTheirEndpointGoes) {
  std::vector<Step> steps{{Step::Kind::kRemove, plan_.nodes.at(NodeId::endpoint(EndpointUid{7}))}};
  ASSERT_TRUE(backend_->program(steps).front());
  send(0xc000, kRocePort);
  EXPECT_EQ(counters()[NodeId::other()].bytes, kBoth);
}

TEST_F(TcPackets, AreCountedOnAcrossAChangeOfLimits) {
  send(0xc000, kRocePort);
  Node changed = plan_.nodes.at(NodeId::endpoint(EndpointUid{7}));
  changed.maximum = BitsPerSecond{10'000'000};
  changed.weight = 30;
  std::vector<Step> steps{{Step::Kind::kChange, changed}};
  ASSERT_TRUE(backend_->program(steps).front());
  send(0xc000, kRocePort);
  EXPECT_EQ(counters()[NodeId::endpoint(EndpointUid{7})].bytes, 2 * kBoth);
}

TEST_F(TcPackets, WhatIsSentTooFastWaits) {
  Node slow = plan_.nodes.at(NodeId::endpoint(EndpointUid{7}));
  slow.guaranteed = slow.maximum = BitsPerSecond{1'000'000};
  slow.burst = 4096;
  std::vector<Step> steps{{Step::Kind::kChange, slow}};
  ASSERT_TRUE(backend_->program(steps).front());
  for (int i = 0; i < 20; ++i)
    send(0xc000, kRocePort);
  auto found = counters();
  EXPECT_GT(found[NodeId::endpoint(EndpointUid{7})].overlimits, 0U);
  EXPECT_GT(found[NodeId::endpoint(EndpointUid{7})].backlog, 0U);
  EXPECT_EQ(found[NodeId::nic()].backlog, found[NodeId::endpoint(EndpointUid{7})].backlog);
}

TEST_F(TcPackets, FiltersOfTheSiteAreLeftAlone) {
  sh("tc filter add dev qmtc0 parent 716d: protocol ip prio 5 u32 match ip dport 22 0xffff "
     "flowid 716d:2");
  sh("tc class add dev qmtc0 parent 716d:1 classid 716d:10a htb rate 1mbit");
  auto again = std::move(*make_tc_backend({kDevice}));
  auto found = again->readback([](EndpointUid) { return VpcUid{1}; });
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->nodes.size(), plan_.nodes.size());
  EXPECT_TRUE(again->program({}).empty());
  auto filters = kernel_->filters(kOurs);
  ASSERT_TRUE(filters) << filters.error().message;
  // u32 shows its table besides.
  EXPECT_TRUE(std::any_of(filters->begin(), filters->end(), [](const Filter& one) {
    return one.kind == "u32" && one.priority == 5;
  }));
  auto classes = kernel_->classes(kOurs);
  EXPECT_TRUE(std::any_of(classes->begin(), classes->end(),
                          [](const Class& one) { return one.id == with_minor(0x10a); }));
}

}  // namespace
}  // namespace qmasq::test

int main(int argc, char** argv) {
  return qmasq::test::run_tests_in_sandbox(argc, argv);
}
