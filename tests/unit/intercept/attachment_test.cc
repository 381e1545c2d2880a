// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/attachment.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <array>
#include <mutex>
#include <vector>

#include "tests/unit/intercept/tenant.h"
#include "vbond/survival/ledger.h"

namespace qmasq::test {
namespace {

// Where the arguments of a call lay that was answered already are those of another one by now.
TEST(Attachment, OfCallsThatWereLeftThoseThatWaitAreServed) {
  Bench bench;
  const pid_t pid = bench.kernel.add_process("left");
  auto port = bench.kernel.listen(pid);
  const auto waits = bench.kernel.make_trap(pid, SYS_ioctl, {});
  const auto answered = bench.kernel.make_trap(pid, SYS_ioctl, {});
  ASSERT_EQ(port->answer(answered.id, 0, 0), 0);
  std::array<vbond::CallSlot, 2> left;
  left[0].notification.write(answered);
  left[1].notification.write(waits);
  std::mutex mutex;
  std::vector<std::uint64_t> served;
  {
    vbond::Attachment attachment(
        bench.services, std::move(port),
        vbond::Attachment::Identity{
            AgentWorld::kEndpoint, "vpcs/blue/endpoints/a", pid, "left", 0, {}, true},
        [&](vbond::Attachment&, const vbond::Notification& call, vbond::CallSlot*) {
          std::lock_guard lock(mutex);
          served.push_back(call.id);
        },
        [] {});
    attachment.start({&left[0], &left[1]});
  }
  EXPECT_EQ(served, std::vector<std::uint64_t>{waits.id});
}

}  // namespace
}  // namespace qmasq::test
