// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/unit/intercept/tenant.h"
#include "vbond/intercept/device_path.h"

namespace qmasq::test {
namespace {

using How = CallResult::How;

TEST(DevicePath, KnowsTheNodesAsProgramsWriteThem) {
  EXPECT_EQ(vbond::verbs_node_of("/dev/infiniband/uverbs0"), "uverbs0");
  EXPECT_EQ(vbond::verbs_node_of("//dev/./infiniband//uverbs12"), "uverbs12");
  for (const char* path :
       {"", "/", "uverbs0", "dev/infiniband/uverbs0", "/dev/infiniband/uverbs", "/dev/infiniband/",
        "/dev/infiniband/uverbs0/", "/dev/infiniband/uverbs0x", "/dev/infiniband/uverbs-1",
        "/dev/infiniband/../infiniband/uverbs0", "/dev/infiniband/rdma_cm",
        "/dev/infiniband/uverbs000000", "/x/dev/infiniband/uverbs0"}) {
    EXPECT_FALSE(vbond::verbs_node_of(path)) << path;
  }
}

TEST(Open, InjectsTheDeviceIntoTheReservedRange) {
  Bench bench;
  EXPECT_EQ(bench.open_device(bench.process), 960);
  EXPECT_EQ(bench.open_device(bench.process), 961);
  EXPECT_EQ(bench.attachment->contexts().size(), 2U);
  EXPECT_EQ(bench.world.metric("qmasq_vbond_contexts"), 2);
  EXPECT_EQ(
      bench.world.metric("qmasq_vbond_verbs_total", {{"verb", "OPEN"}, {"verdict", "executed"}}),
      2);
  EXPECT_EQ(bench.world.last_event(vbond::EventType::kContextOpened).command, "tenant");
}

TEST(Open, LetsOtherFilesBe) {
  Bench bench;
  EXPECT_EQ(bench.open_at(bench.process, "/tmp/x", O_WRONLY).how, How::kRan);
  EXPECT_EQ(bench.open_at(bench.process, "/proc/self/fd/960", O_RDWR).how, How::kRan);
  EXPECT_EQ(bench.open_at(bench.process, std::string(5000, 'x'), O_WRONLY).how, How::kRan);
  EXPECT_EQ(bench.open_at(bench.process, "/dev/infiniband/uverbs0", O_PATH | O_RDWR).how,
            How::kRan);
  // An address where nothing is: the kernel says EFAULT by itself.
  EXPECT_EQ(bench.trap(bench.process, SYS_openat, {0, 0xdead0000, O_RDWR}).how, How::kRan);
  EXPECT_EQ(bench.trap(bench.process, SYS_openat2, {0, 0xdead0000, 0, 24}).how, How::kRan);
  // Nothing of this is a verb.
  EXPECT_EQ(
      bench.world.metric("qmasq_vbond_verbs_total", {{"verb", "OPEN"}, {"verdict", "passed"}}), 0);
}

TEST(Open, TakesEveryWayToAskForIt) {
  Bench bench;
  auto path = bench.kernel.map(bench.process, bytes_of("/dev/infiniband/uverbs0"));
  std::array<std::uint64_t, 3> how{O_RDWR | O_CLOEXEC, 0, 0};
  auto how_at = bench.kernel.map(bench.process, std::as_bytes(std::span(how)));
  EXPECT_EQ(bench.trap(bench.process, SYS_openat2, {0, path, how_at, 24}).value, 960);
#ifdef SYS_open
  EXPECT_EQ(bench.trap(bench.process, SYS_open, {path, O_RDWR}).value, 961);
  EXPECT_EQ(bench.trap(bench.process, SYS_creat, {path, 0600}).value, 962);
#endif
  EXPECT_EQ(bench.open_at(bench.process, "/dev/infiniband/uverbs0", O_CREAT | O_EXCL | O_RDWR).err,
            EEXIST);
  EXPECT_EQ(bench.open_at(bench.process, "/dev/infiniband/uverbs0", O_DIRECTORY | O_RDWR).err,
            ENOTDIR);
}

TEST(Open, RefusesWithTheReasonInTheEvents) {
  Bench bench;
  EXPECT_EQ(bench.open_at(bench.process, "/dev/infiniband/uverbs7", O_RDWR).err, ENODEV);
  EXPECT_NE(bench.world.last_event(vbond::EventType::kRefused).reason.find("uverbs7"),
            std::string::npos);
  bench.kernel.fail_next_open(EIO);
  EXPECT_EQ(bench.open_at(bench.process, "/dev/infiniband/uverbs0", O_RDWR).err, EIO);
  bench.attachment->revoke();
  EXPECT_EQ(bench.open_at(bench.process, "/dev/infiniband/uverbs0", O_RDWR).err, ENODEV);
  EXPECT_EQ(bench.kernel.open_verbs_files(), 0U);
  EXPECT_EQ(bench.attachment->contexts().size(), 0U);
}

TEST(Open, NeedsTheReservedNumbersBelowTheLimitOfOpenFiles) {
  Bench bench;
  pid_t small = bench.kernel.add_process("small", 256);
  EXPECT_EQ(bench.open_at(small, "/dev/infiniband/uverbs0", O_RDWR).err, EMFILE);
  // Lowered between our look and the injection.
  bench.kernel.fail_next_inject(EBADF);
  EXPECT_EQ(bench.open_at(bench.process, "/dev/infiniband/uverbs0", O_RDWR).err, EMFILE);
  EXPECT_EQ(bench.kernel.open_verbs_files(), 0U);
  for (int i = 0; i < 64; ++i)
    EXPECT_EQ(bench.open_device(bench.process), 960 + i);
  EXPECT_EQ(bench.open_device(bench.process), -1);
}

TEST(Open, LeavesNothingWhenTheTaskDies) {
  Bench bench;
  bench.kernel.fail_next_inject(ENOENT);
  EXPECT_EQ(bench.open_at(bench.process, "/dev/infiniband/uverbs0", O_RDWR).how, How::kGone);
  EXPECT_EQ(bench.kernel.open_verbs_files(), 0U);
  EXPECT_EQ(bench.world.metric("qmasq_vbond_contexts"), 0);
}

TEST(Open, TenantOpensWhereItMay) {
  vbond::InterceptOptions options;
  options.tenant_opens = {"rxe0"};
  Bench bench(options);
  EXPECT_EQ(bench.open_at(bench.process, "/dev/infiniband/uverbs0", O_RDWR).how, How::kRan);
  // What the call then does:
  bench.kernel.open_file(bench.process, 5, FakeKernel::kVerbsDevice);
  EXPECT_NE(bench.make_qp(bench.process, 5), UINT32_MAX);
  EXPECT_EQ(bench.attachment->contexts().size(), 1U);
  EXPECT_EQ(bench.world.connections.counts().total, 1U);
  // The same file by another number is the same context.
  bench.kernel.dup_to(bench.process, 5, 6);
  EXPECT_NE(bench.make_qp(bench.process, 6), UINT32_MAX);
  EXPECT_EQ(bench.attachment->contexts().size(), 1U);
}

TEST(Open, TenantModeTakesNoContextOfAnotherAttachment) {
  vbond::InterceptOptions options;
  options.tenant_opens = {"rxe0"};
  Bench bench(options);
  bench.kernel.open_file(bench.process, 5, FakeKernel::kVerbsDevice);
  ASSERT_NE(bench.make_qp(bench.process, 5), UINT32_MAX);
  pid_t other = bench.kernel.add_process("other");
  bench.kernel.pass_fd(bench.process, 5, other, 7);
  auto first = bench.attachment;
  bench.attachment = std::make_shared<vbond::Attachment>(
      bench.services, bench.kernel.listen(other),
      vbond::Attachment::Identity{
          AgentWorld::kEndpoint, "vpcs/blue/endpoints/a", other, "other", 0, {}, false},
      [](vbond::Attachment&, const vbond::Notification&, vbond::CallSlot*) {}, [] {});
  bench.others = {first};
  EXPECT_EQ(bench.verb(other, 7, Bench::create_qp_call(vbond::uverbs::QpType::kRc)).err,
            EOPNOTSUPP);
}

}  // namespace
}  // namespace qmasq::test
