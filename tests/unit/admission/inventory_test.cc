// SPDX-License-Identifier: Apache-2.0
#include "vbond/admission/inventory.h"

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <cerrno>
#include <map>
#include <random>
#include <set>

#include "tests/support/manual_clock.h"

namespace qmasq::vbond {
namespace {

using qos::Resource;

constexpr std::uint64_t kPage = 4096;
constexpr auto kMr = Resource::kMemoryRegions;

// What the kernel has, the lowest free handle first.
class Objects final : public KernelObjects {
 public:
  std::map<std::uint32_t, Region> regions;
  std::set<std::uint32_t> busy;
  bool mute = false;

  std::uint32_t add(const Region& region) {
    std::uint32_t handle = 0;
    while (regions.contains(handle))
      ++handle;
    regions[handle] = region;
    return handle;
  }
  ErrnoOr<Listing> list(Resource) override {
    if (mute) return tl::unexpected(EOPNOTSUPP);
    Listing out;
    for (const auto& [handle, region] : regions)
      out.handles.push_back(handle);
    return out;
  }
  ErrnoOr<Region> region(std::uint32_t handle) override {
    if (busy.contains(handle)) return tl::unexpected(EBUSY);
    auto at = regions.find(handle);
    if (at == regions.end()) return tl::unexpected(ENOENT);
    return at->second;
  }
};

class InventoryTest : public ::testing::Test {
 protected:
  // As the verb path does it: reserved, then expected.
  Flight start(const Region& region) {
    const Flight flight{next_tid, 1, next_number++};
    ++next_tid;
    EXPECT_FALSE(tenancy->reserve(inventory.amounts(kMr, region)));
    inventory.expect(kMr, region, flight);
    flying.insert(flight.number);
    return flight;
  }
  void land(const Flight& flight) { flying.erase(flight.number); }
  bool settle() {
    return inventory.settle(kMr, kernel,
                            [&](const Flight& flight) { return flying.contains(flight.number); });
  }
  std::uint64_t regions() { return tenancy->used()[static_cast<std::size_t>(kMr)]; }
  std::uint64_t pinned() {
    return tenancy->used()[static_cast<std::size_t>(Resource::kPinnedBytes)];
  }

  qmasq::testing::ManualClock clock;
  EventLog events{clock, 100};
  prometheus::Registry registry;
  AdmissionControl control{clock, events, registry};
  std::shared_ptr<Tenancy> tenancy = control.tenancy(EndpointUid{1}, "vpcs/blue/endpoints/a");
  Inventory inventory{tenancy, kPage};
  Objects kernel;
  std::set<std::uint64_t> flying;
  pid_t next_tid = 100;
  std::uint64_t next_number = 1;
};

TEST_F(InventoryTest, PinnedBytesAreWholePages) {
  EXPECT_EQ(pinned_bytes({1, 0}, kPage), kPage);
  EXPECT_EQ(pinned_bytes({kPage, 0}, kPage), kPage);
  EXPECT_EQ(pinned_bytes({2, kPage - 1}, kPage), 2 * kPage);
  EXPECT_EQ(pinned_bytes({0, 5}, kPage), 0U);
  EXPECT_EQ(pinned_bytes({kImplicitLength, 0}, kPage), 0U);
}

TEST_F(InventoryTest, WhatIsInFlightStaysCharged) {
  const Flight flight = start({kPage, 0x1000});
  EXPECT_TRUE(settle());
  EXPECT_EQ(regions(), 1U);
  EXPECT_EQ(pinned(), kPage);
  land(flight);
  EXPECT_TRUE(settle());
  EXPECT_EQ(regions(), 0U) << "it failed: there is no such region";
  EXPECT_EQ(pinned(), 0U);
}

TEST_F(InventoryTest, ASuccessIsChargedOnceWhetherItsThreadCameBackOrNot) {
  const Region region{3 * kPage, 0x5000};
  const Flight flight = start(region);
  const auto handle = kernel.add(region);
  EXPECT_TRUE(settle());  // the thread computes, and has made no other call
  EXPECT_EQ(regions(), 1U);
  EXPECT_FALSE(inventory.in_doubt());
  land(flight);
  EXPECT_TRUE(settle());
  EXPECT_EQ(regions(), 1U);
  EXPECT_EQ(pinned(), 3 * kPage);
  kernel.regions.erase(handle);
  inventory.gone(kMr, handle);
  EXPECT_EQ(regions(), 0U);
  EXPECT_EQ(pinned(), 0U);
}

TEST_F(InventoryTest, DeregisteredBeforeAnybodySettled) {
  const Region region{kPage, 0x5000};
  land(start(region));
  const auto handle = kernel.add(region);
  inventory.gone(kMr, handle, kernel.region(handle).value());
  EXPECT_EQ(regions(), 0U);
  EXPECT_FALSE(inventory.in_doubt());
}

// Two threads register the same range; one has succeeded, the other is still pinning. Whichever
// expectation the region was taken for, the one in the kernel stays charged until it has landed.
TEST_F(InventoryTest, ThreadsThatExpectTheSameAreNotTakenForEachOther) {
  const Region region{kPage, 0x5000};
  const Flight done = start(region);
  const Flight pinning = start(region);
  (void)kernel.add(region);
  EXPECT_TRUE(settle());
  EXPECT_EQ(regions(), 2U);
  land(done);
  EXPECT_TRUE(settle());
  EXPECT_EQ(regions(), 2U) << "the other may succeed still";
  (void)kernel.add(region);
  EXPECT_TRUE(settle());
  EXPECT_EQ(regions(), 2U);
  land(pinning);
  EXPECT_TRUE(settle());
  EXPECT_EQ(regions(), 2U);
  EXPECT_FALSE(inventory.in_doubt());
}

TEST_F(InventoryTest, TheSameButThisTimeTheOtherFails) {
  const Region region{kPage, 0x5000};
  const Flight done = start(region);
  const Flight pinning = start(region);
  (void)kernel.add(region);
  land(done);
  EXPECT_TRUE(settle());
  EXPECT_EQ(regions(), 2U);
  land(pinning);
  EXPECT_TRUE(settle());
  EXPECT_EQ(regions(), 1U);
}

TEST_F(InventoryTest, LiesAreFoundOut) {
  // A region that nobody was asked for.
  const auto hidden = kernel.add({5 * kPage, 0x9000});
  EXPECT_TRUE(settle());
  EXPECT_EQ(regions(), 1U);
  EXPECT_EQ(pinned(), 5 * kPage);
  // And one that went without a word.
  kernel.regions.erase(hidden);
  EXPECT_TRUE(settle());
  EXPECT_EQ(regions(), 0U);
  EXPECT_EQ(pinned(), 0U);
  // Announced small, made large.
  const Flight flight = start({kPage, 0x1000});
  (void)kernel.add({100 * kPage, 0x1000});
  land(flight);
  EXPECT_TRUE(settle());
  EXPECT_EQ(regions(), 1U);
  EXPECT_EQ(pinned(), 100 * kPage);
}

TEST_F(InventoryTest, AChangeCountsTheLargerUntilItHasLanded) {
  const Region small{kPage, 0x1000};
  land(start(small));
  const auto handle = kernel.add(small);
  ASSERT_TRUE(settle());
  // To four pages: three more were reserved.
  const Flight grow{7, 1, 1000};
  flying.insert(grow.number);
  ASSERT_FALSE(tenancy->reserve(qos::amounts_of(Resource::kPinnedBytes, 3 * kPage)));
  inventory.expect_change(handle, 3 * kPage, grow);
  EXPECT_EQ(pinned(), 4 * kPage);
  kernel.regions[handle] = {4 * kPage, 0x1000};
  EXPECT_TRUE(settle());
  EXPECT_EQ(pinned(), 4 * kPage);
  land(grow);
  EXPECT_TRUE(settle());
  EXPECT_EQ(pinned(), 4 * kPage);
  // Down again: nothing was reserved.
  const Flight shrink{7, 1, 1001};
  inventory.expect_change(handle, 0, shrink);
  kernel.regions[handle] = small;
  EXPECT_TRUE(settle());
  EXPECT_EQ(pinned(), kPage);
  // One that fails.
  ASSERT_FALSE(tenancy->reserve(qos::amounts_of(Resource::kPinnedBytes, 9 * kPage)));
  inventory.expect_change(handle, 9 * kPage, Flight{7, 1, 1002});
  EXPECT_TRUE(settle());
  EXPECT_EQ(pinned(), kPage);
  EXPECT_EQ(regions(), 1U);
}

TEST_F(InventoryTest, WhatTheKernelCannotSayYetIsNotDecided) {
  const Region region{kPage, 0x1000};
  const Flight flight = start(region);
  const auto handle = kernel.add(region);
  kernel.busy.insert(handle);
  land(flight);
  EXPECT_TRUE(settle());
  EXPECT_EQ(regions(), 1U);
  kernel.busy.clear();
  EXPECT_TRUE(settle());
  EXPECT_EQ(regions(), 1U);
  EXPECT_FALSE(inventory.in_doubt());
  kernel.mute = true;
  EXPECT_FALSE(settle());
  EXPECT_EQ(regions(), 1U);
}

TEST_F(InventoryTest, WithdrawnAndCleared) {
  const Flight flight = start({kPage, 0});
  inventory.withdraw(flight);
  EXPECT_EQ(regions(), 0U);
  (void)start({kPage, 0});
  ASSERT_FALSE(tenancy->reserve(qos::amounts_of(Resource::kQueuePairs)));
  inventory.made(Resource::kQueuePairs, 3);
  inventory.clear();
  EXPECT_EQ(tenancy->used(), qos::Amounts{});
}

// Threads that register and deregister at random, few places to choose from, failures, settling in
// between. Never less than there is; exact once all have landed and it was settled.
TEST_F(InventoryTest, NeverTooLittleAndExactInTheEnd) {
  std::mt19937 random(7);  // NOLINT: the same on every run
  auto below = [&](std::uint64_t bound) { return random() % bound; };
  struct Thread {
    std::optional<Flight> flight;
    Region region;
    bool decided = false;
  };
  std::array<Thread, 6> threads;
  auto truth = [&] {
    std::uint64_t bytes = 0;
    for (const auto& [handle, region] : kernel.regions)
      bytes += pinned_bytes(region, kPage);
    return bytes;
  };
  for (int step = 0; step < 100'000; ++step) {
    Thread& thread = threads[below(threads.size())];
    switch (below(6)) {
      case 0:
      case 1:
        if (thread.flight) land(*thread.flight);
        thread.region = {kPage * (1 + below(2)), kPage * below(2)};
        thread.flight = start(thread.region);
        thread.decided = false;
        break;
      case 2:
        if (!thread.flight || thread.decided) break;
        thread.decided = true;
        if (below(3) != 0) (void)kernel.add(thread.region);
        break;
      case 3: {
        if (kernel.regions.empty()) break;
        if (thread.flight && !thread.decided) break;  // it is in the kernel
        if (thread.flight) land(*thread.flight);
        thread.flight.reset();
        auto at = std::next(kernel.regions.begin(),
                            static_cast<std::ptrdiff_t>(below(kernel.regions.size())));
        const auto handle = at->first;
        std::optional<Region> told;
        if (!inventory.find(kMr, handle)) told = at->second;
        kernel.regions.erase(at);
        inventory.gone(kMr, handle, told);
        break;
      }
      default:
        if (below(4) == 0) {
          ASSERT_TRUE(settle());
        }
    }
    // A thread that begins anew has come out of the kernel: an undecided call is a failed one.
    ASSERT_GE(regions(), kernel.regions.size()) << "step " << step;
    ASSERT_GE(pinned(), truth()) << "step " << step;
  }
  for (Thread& thread : threads) {
    if (thread.flight) land(*thread.flight);
  }
  ASSERT_TRUE(settle());
  EXPECT_EQ(regions(), kernel.regions.size());
  EXPECT_EQ(pinned(), truth());
  EXPECT_FALSE(inventory.in_doubt());
}

}  // namespace
}  // namespace qmasq::vbond
