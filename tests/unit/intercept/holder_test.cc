// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/unit/intercept/tenant.h"

namespace qmasq::test {
namespace {

class Holders : public ::testing::Test {
 protected:
  void SetUp() override {
    fd_ = bench_.open_device(bench_.process);
    ASSERT_GE(fd_, 0);
    ASSERT_NE(bench_.make_qp(bench_.process, fd_), UINT32_MAX);
  }
  Bench bench_;
  int fd_ = -1;
};

TEST_F(Holders, AContextInUseCostsNoSearch) {
  bench_.watch_twice();
  EXPECT_EQ(bench_.kernel.holder_searches(), 0U);
  EXPECT_EQ(bench_.attachment->contexts().size(), 1U);
}

TEST_F(Holders, AClosedDescriptorTakesTheQpsWithIt) {
  bench_.kernel.close_fd(bench_.process, fd_);
  EXPECT_EQ(bench_.kernel.nic.queue_pairs(), 1U);  // the agent's own descriptor keeps the file
  bench_.watch_twice();
  EXPECT_EQ(bench_.kernel.nic.queue_pairs(), 0U);
  EXPECT_EQ(bench_.kernel.open_verbs_files(), 0U);
  EXPECT_EQ(bench_.world.connections.counts().total, 0U);
  EXPECT_EQ(bench_.attachment->contexts().size(), 0U);
  EXPECT_EQ(bench_.world.metric("qmasq_vbond_contexts_abandoned_total"), 1);
  EXPECT_EQ(bench_.world.metric("qmasq_vbond_queue_pairs"), 0);
}

TEST_F(Holders, AnExitOfOneProcessOfSeveral) {
  pid_t other = bench_.kernel.fork(bench_.process);
  bench_.kernel.close_fd(other, fd_);
  bench_.kernel.exit(bench_.process);
  bench_.watch_twice();
  EXPECT_EQ(bench_.kernel.open_verbs_files(), 0U);
}

TEST_F(Holders, AForkedChildKeepsIt) {
  pid_t child = bench_.kernel.fork(bench_.process);
  bench_.kernel.exit(bench_.process);
  bench_.watch_twice();
  EXPECT_EQ(bench_.attachment->contexts().size(), 1U);
  EXPECT_EQ(bench_.kernel.holder_searches(), 1U);  // from then on the child is known
  EXPECT_NE(bench_.make_qp(child, fd_), UINT32_MAX);
  bench_.kernel.exit(child);
  bench_.watch_twice();
  EXPECT_EQ(bench_.kernel.open_verbs_files(), 0U);
}

TEST_F(Holders, ADuplicateKeepsIt) {
  bench_.kernel.dup_to(bench_.process, fd_, 4);
  bench_.kernel.close_fd(bench_.process, fd_);
  bench_.watch_twice();
  EXPECT_EQ(bench_.attachment->contexts().size(), 1U);
}

TEST_F(Holders, OneSearchThatMissesIsNotEnough) {
  bench_.kernel.close_fd(bench_.process, fd_);
  bench_.watch.round({bench_.attachment});
  EXPECT_EQ(bench_.kernel.holder_searches(), 1U);
  EXPECT_EQ(bench_.attachment->contexts().size(), 1U);
}

TEST(HolderLoop, TenThousandOpensLeaveNothing) {
  vbond::InterceptOptions options;
  options.max_contexts = 100;
  Bench bench(options);
  for (int i = 0; i < 10'000; ++i) {
    int fd = bench.open_device(bench.process);
    ASSERT_GE(fd, 0) << i;
    ASSERT_LE(bench.attachment->contexts().size(), 100U);
    bench.kernel.close_fd(bench.process, fd);
  }
  bench.watch_twice();
  EXPECT_EQ(bench.kernel.open_verbs_files(), 0U);
}

TEST(HolderLoop, WhenOurDescriptorsRunOutThoseOfClosedDevicesAreGivenBackFirst) {
  Bench bench{vbond::InterceptOptions{}};
  const int closed = bench.open_device(bench.process);
  ASSERT_GE(closed, 0);
  bench.kernel.close_fd(bench.process, closed);
  bench.kernel.fail_next_open(EMFILE);
  EXPECT_GE(bench.open_device(bench.process), 0);
  EXPECT_EQ(bench.kernel.open_verbs_files(), 1U);
  // Nothing to give back: said as it is.
  bench.kernel.fail_next_open(EMFILE);
  EXPECT_EQ(bench.open_at(bench.process, "/dev/infiniband/uverbs0", O_RDWR).err, EMFILE);
}

TEST(HolderLoop, ARealExcessIsRefused) {
  vbond::InterceptOptions options;
  options.max_contexts = 2;
  Bench bench(options);
  EXPECT_GE(bench.open_device(bench.process), 0);
  EXPECT_GE(bench.open_device(bench.process), 0);
  EXPECT_EQ(bench.open_at(bench.process, "/dev/infiniband/uverbs0", O_RDWR).err, EMFILE);
}

}  // namespace
}  // namespace qmasq::test
