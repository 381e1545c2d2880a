// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/support/eventually.h"
#include "tests/support/fake_guard.h"
#include "tests/unit/intercept/tenant.h"
#include "vbond/intercept/interceptor.h"

namespace qmasq::test {
namespace {

using std::chrono::milliseconds;

class Endings : public ::testing::Test {
 protected:
  vbond::Interceptor::Parts parts() {
    auto out = world_.parts(kernel_);
    out.guard = &guard_;
    return out;
  }
  static vbond::InterceptOptions options() {
    vbond::InterceptOptions out;
    out.holder_check = milliseconds(5);
    return out;
  }
  pid_t attach(const std::string& name) {
    const pid_t pid = kernel_.add_process(name);
    EXPECT_TRUE(interceptor_.attach(kernel_.listen(pid), AgentWorld::kEndpoint, pid, name));
    return pid;
  }
  int open_device(pid_t pid) {
    const auto path = kernel_.map(pid, bytes_of("/dev/infiniband/uverbs0"));
    const std::uint64_t args[] = {0, path, O_RDWR};
    auto call = kernel_.make_trap(pid, SYS_openat, args);
    kernel_.post(call);
    return static_cast<int>(kernel_.wait(call.id).value);
  }
  [[nodiscard]] bool alive(pid_t pid) { return kernel_.started(pid).has_value(); }
  static vbond::Violation violation(std::uint64_t context, pid_t pid) {
    return {context, pid, pid, "cheat", "command", "MODIFY_QP was called"};
  }

  AgentWorld world_;
  FakeKernel kernel_;
  FakeGuard guard_;
  vbond::Interceptor interceptor_{parts(), options()};
};

TEST_F(Endings, TheWholeWorkloadEnds) {
  const pid_t root = attach("root");
  ASSERT_GE(open_device(root), 0);
  const pid_t child = kernel_.fork(root);
  const pid_t grandchild = kernel_.fork(child);
  // Somebody else's: has nothing to do with it.
  const pid_t bystander = attach("bystander");
  ASSERT_GE(open_device(bystander), 0);

  const std::uint64_t context = guard_.entry(1).context;
  guard_.condemn(1);
  interceptor_.punish(violation(context, child));
  for (pid_t pid : {root, child, grandchild})
    EXPECT_FALSE(alive(pid)) << pid;
  EXPECT_TRUE(alive(bystander));
  EXPECT_TRUE(guard_.entry(1).released);
  EXPECT_FALSE(guard_.entry(2).released);
  const auto event = world_.last_event(vbond::EventType::kGuardViolation);
  EXPECT_EQ(event.endpoint, "vpcs/blue/endpoints/a");
  EXPECT_EQ(event.pid, child);
  EXPECT_NE(event.reason.find("MODIFY_QP"), std::string::npos);
  EXPECT_EQ(world_.metric("qmasq_vbond_guard_violations_total", {{"what", "command"}}), 1);
  EXPECT_TRUE(eventually([&] { return interceptor_.stats().contexts == 1; }));
}

TEST_F(Endings, WhoeverWasGivenTheDescriptorEndsToo) {
  const pid_t root = attach("root");
  const int fd = open_device(root);
  ASSERT_GE(fd, 0);
  const pid_t stranger = kernel_.add_process("stranger");
  kernel_.pass_fd(root, fd, stranger, 5);
  interceptor_.punish(violation(guard_.entry(1).context, stranger));
  EXPECT_FALSE(alive(stranger));
  EXPECT_FALSE(alive(root));
}

// In no tree and without a descriptor, but under the filter.
TEST(Condemned, WhoeverOfItMakesATrappedCallDies) {
  Bench bench;
  const pid_t orphan = bench.kernel.fork(bench.process);
  bench.attachment->condemn();
  EXPECT_EQ(bench.open_at(orphan, "/tmp/x", O_RDWR).how, CallResult::How::kGone);
  EXPECT_FALSE(bench.kernel.started(orphan).has_value());
  EXPECT_TRUE(bench.kernel.started(bench.process).has_value());
}

TEST_F(Endings, QueuePairsThatWereSmuggledInGoFirst) {
  const pid_t root = attach("root");
  const int fd = open_device(root);
  ASSERT_GE(fd, 0);
  auto create = Bench::create_qp_call(vbond::uverbs::QpType::kRc);
  const auto header = create.place(kernel_, root);
  const std::uint64_t args[] = {static_cast<std::uint64_t>(fd), vbond::uverbs::kVerbsIoctl, header};
  auto call = kernel_.make_trap(root, SYS_ioctl, args);
  kernel_.post(call);
  ASSERT_EQ(kernel_.wait(call.id).err, 0);
  ASSERT_EQ(kernel_.nic.queue_pairs(), 1U);
  guard_.condemn(1);
  interceptor_.punish(violation(guard_.entry(1).context, root));
  EXPECT_EQ(kernel_.nic.queue_pairs(), 0U);
}

TEST_F(Endings, OfNobodyThatIsKnownIsAnEventAllTheSame) {
  interceptor_.punish(violation(0, 4711));
  const auto event = world_.last_event(vbond::EventType::kGuardViolation);
  EXPECT_EQ(event.pid, 4711);
  EXPECT_EQ(event.endpoint, "");
}

}  // namespace
}  // namespace qmasq::test
