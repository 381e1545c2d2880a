// SPDX-License-Identifier: Apache-2.0
#include "vbond/netlink/loop.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <vector>

#include "common/unique_fd.h"

namespace qmasq::vbond::netlink {
namespace {

TEST(LoopThread, RunsTasksInOrderOnOneThread) {
  auto loop = std::move(*LoopThread::start());
  std::vector<int> order;
  std::promise<void> done;
  for (int i = 0; i < 100; ++i)
    loop->post([&order, i] { order.push_back(i); });
  loop->post([&] { done.set_value(); });
  done.get_future().get();
  ASSERT_EQ(order.size(), 100U);
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST(LoopThread, TimersAndDescriptors) {
  auto loop = std::move(*LoopThread::start());
  std::promise<void> late;
  auto before = std::chrono::steady_clock::now();
  loop->post_at(before + std::chrono::milliseconds(20), [&] { late.set_value(); });
  late.get_future().get();
  EXPECT_GE(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(20));

  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  std::promise<void> seen;
  int calls = 0;
  loop->post([&] {
    ASSERT_TRUE(loop->watch(reader.get(), [&] {
      ++calls;
      loop->unwatch(reader.get());  // from inside its own task
      seen.set_value();
    }));
  });
  ASSERT_EQ(::write(writer.get(), "x", 1), 1);
  seen.get_future().get();
  std::promise<void> after;
  loop->post([&] { after.set_value(); });
  after.get_future().get();
  EXPECT_EQ(calls, 1);
}

TEST(LoopThread, WhatWaitsIsDroppedAtTheEnd) {
  auto loop = std::move(*LoopThread::start());
  auto promise = std::make_shared<std::promise<void>>();
  auto future = promise->get_future();
  loop->post_at(std::chrono::steady_clock::now() + std::chrono::hours(1), [promise] {});
  promise.reset();
  loop->stop();
  EXPECT_THROW(future.get(), std::future_error);  // the last reference went with the task
  std::atomic<bool> ran = false;
  loop->post([&] { ran = true; });
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace qmasq::vbond::netlink
