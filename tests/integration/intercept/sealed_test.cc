// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>

#include "tests/integration/intercept/host.h"
#include "vbond/guard/guard.h"
#include "vbond/uverbs/call.h"

// Calls that run in the tenant, with arguments that nobody can change.
namespace qmasq::test {
namespace {

// Looks at what the kernel is going to read, when it is let run, and again a moment later.
class Watcher final : public vbond::Guard {
 public:
  std::string describe() const override { return "off"; }
  Status ready() override { return {}; }
  vbond::ErrnoOr<Slot> manage(int /*descriptor*/, std::uint64_t /*context*/) override { return 1; }
  Status open_by_tenants(dev_t /*device*/) override { return {}; }
  State state(Slot /*slot*/) const override { return {}; }
  bool withdraw(Slot /*slot*/) override { return true; }
  void release(Slot /*slot*/) override {}
  void listen(Listener /*listener*/) override {}
  void stop() override {}
  void permit(Slot /*slot*/, const Call& call) override {
    ++looks;
    for (int i = 0; i < 20; ++i) {
      if (!is_register(call.tid, call.argument)) {
        ++wrong;
        return;
      }
    }
  }

  std::atomic<int> looks{0};
  std::atomic<int> wrong{0};

 private:
  bool is_register(pid_t tid, std::uint64_t pointer) {
    std::array<std::byte, 24 + 16 * 4> bytes{};
    vbond::TenantMemory::In all{pointer, bytes};
    if (memory_.read(tid, std::span(&all, 1)) != 0) return false;
    const auto header = vbond::uverbs::decode_header(bytes);
    if (!header) return false;
    auto call = vbond::uverbs::decode_call(std::span(bytes).first(header->length));
    return call &&
           call->write_cmd() == static_cast<std::uint32_t>(vbond::uverbs::WriteCommand::kRegMr);
  }

  vbond::ProcessMemory memory_;
};

class Sealed : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: ptrace, open_tree";
    if (vbond::make_redirector() == nullptr) GTEST_SKIP() << "not on this architecture";
  }
};

// The tenant makes processes by clone(CLONE_VM), which ThreadSanitizer's runtime does not survive.
class SealedRace : public Sealed {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "not under ThreadSanitizer";
#else
    Sealed::SetUp();
#endif
  }
};

class SealedScenario : public Sealed, public ::testing::WithParamInterface<const char*> {};

TEST_P(SealedScenario, GoesAsItShould) {
  Host host;
  EXPECT_EQ(Tenant(host, GetParam()).wait(), 0);
  EXPECT_TRUE(eventually([&] { return host.world.metric("qmasq_vbond_attachments") == 0; }));
  EXPECT_EQ(host.world.metric("qmasq_vbond_contexts"), 0);
  EXPECT_EQ(host.world.metric("qmasq_vbond_receivers"), 0);
}
INSTANTIATE_TEST_SUITE_P(All, SealedScenario,
                         ::testing::Values("sealed", "sealed-threads", "sealed-children",
                                           "sealed-exec", "sealed-signals", "sealed-handlers",
                                           "sealed-stopped", "sealed-traced", "sealed-tracer-ends",
                                           "sealed-forge"));

TEST_F(SealedRace, WhatRunsIsWhatWasChecked) {
  Watcher watcher;
  Host host(Host::quick(), &watcher);
  EXPECT_EQ(Tenant(host, "sealed-race").wait(), 0);
  EXPECT_GT(watcher.looks, 100);
  EXPECT_EQ(watcher.wrong, 0);
}

// That the test would see it.
TEST_F(SealedRace, WithoutItSomethingElseRuns) {
  Watcher watcher;
  Host host(Host::quick(), &watcher, /*seals=*/false);
  EXPECT_EQ(Tenant(host, "sealed-race").wait(), 1);  // the attacks on what is not there succeed
  EXPECT_GT(watcher.looks, 100);
  EXPECT_GT(watcher.wrong, 0);
}

TEST_F(Sealed, AProgramCanBeKilledAtAnyMoment) {
  Host host;
  for (int i = 0; i < 20; ++i) {
    Tenant tenant(host, "sealed-for-ever");
    EXPECT_EQ(tenant.read_line(), "registering");
    usleep(static_cast<useconds_t>(777 * i));
    tenant.kill(SIGKILL);
    EXPECT_EQ(tenant.wait(), 100 + SIGKILL);
  }
  EXPECT_TRUE(eventually([&] { return host.world.metric("qmasq_vbond_attachments") == 0; }));
}

}  // namespace
}  // namespace qmasq::test
