// SPDX-License-Identifier: Apache-2.0
#include "vbond/sync/query_desk.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace qmasq::vbond {
namespace {

// Answers when it is let.
class GatedHandler final : public QueryHandler {
 public:
  v1::Answer answer(const v1::Query& query) override {
    std::unique_lock lock(mutex_);
    ++begun_;
    wake_.notify_all();
    wake_.wait(lock, [this] { return open_; });
    v1::Answer out;
    out.mutable_trace()->set_reason("of " + std::to_string(query.id()));
    return out;
  }
  void open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    wake_.notify_all();
  }
  [[nodiscard]] bool wait_begun(int count) {
    std::unique_lock lock(mutex_);
    return wake_.wait_for(lock, std::chrono::seconds(10), [&] { return begun_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  int begun_ = 0;
  bool open_ = false;
};

class QueryDeskTest : public ::testing::Test {
 protected:
  QueryDesk::Reply reply() {
    return [this](v1::Answer answer) {
      std::lock_guard lock(mutex_);
      answers_.push_back(std::move(answer));
      wake_.notify_all();
    };
  }
  [[nodiscard]] std::vector<v1::Answer> wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, std::chrono::seconds(10), [&] { return answers_.size() >= count; });
    return answers_;
  }
  static v1::Query query(std::uint64_t id) {
    v1::Query out;
    out.set_id(id);
    out.mutable_trace();
    return out;
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<v1::Answer> answers_;
  SyncState state_;
};

TEST_F(QueryDeskTest, AnswersWithTheIdAndWhatIsHeld) {
  state_.set_held(Revision{7});
  GatedHandler handler;
  handler.open();
  QueryDesk desk(&handler, state_, reply());
  desk.start();
  desk.ask(query(3));
  auto answers = wait_for(1);
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0].query_id(), 3U);
  EXPECT_EQ(answers[0].held_revision(), 7U);
  EXPECT_EQ(answers[0].error(), "");
  EXPECT_EQ(answers[0].trace().reason(), "of 3");
}

TEST_F(QueryDeskTest, SaysWhatItCannotAnswer) {
  GatedHandler handler;
  QueryDesk desk(&handler, state_, reply());
  v1::Query unknown;
  unknown.set_id(5);
  desk.ask(unknown);
  QueryDesk nobody(nullptr, state_, reply());
  nobody.start();
  nobody.ask(unknown);
  nobody.ask(query(6));
  auto answers = wait_for(3);
  ASSERT_EQ(answers.size(), 3U);
  EXPECT_EQ(answers[0].query_id(), 5U);
  EXPECT_EQ(answers[0].error(), "this agent does not know the question");
  EXPECT_EQ(answers[1].error(), "this agent does not know the question");
  EXPECT_EQ(answers[2].query_id(), 6U);
  EXPECT_EQ(answers[2].error(), "not offered");
}

TEST_F(QueryDeskTest, IsBounded) {
  GatedHandler handler;
  QueryDesk desk(&handler, state_, reply());
  desk.start();
  desk.ask(query(1));
  ASSERT_TRUE(handler.wait_begun(1));
  for (std::uint64_t id = 2; id < 2 + QueryDesk::kMostWaiting; ++id)
    desk.ask(query(id));
  EXPECT_TRUE(wait_for(0).empty());
  desk.ask(query(99));
  auto answers = wait_for(1);
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0].query_id(), 99U);
  EXPECT_NE(answers[0].error(), "");
  handler.open();
  answers = wait_for(2 + QueryDesk::kMostWaiting);
  ASSERT_EQ(answers.size(), 2 + QueryDesk::kMostWaiting);
  EXPECT_EQ(answers.back().query_id(), 1 + QueryDesk::kMostWaiting);
}

TEST_F(QueryDeskTest, AnAnswerDoesNotReachALaterStream) {
  GatedHandler handler;
  QueryDesk desk(&handler, state_, reply());
  desk.start();
  desk.ask(query(1));
  ASSERT_TRUE(handler.wait_begun(1));
  desk.ask(query(2));
  desk.forget();
  desk.ask(query(3));
  handler.open();
  auto answers = wait_for(1);
  desk.stop();
  answers = wait_for(0);
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0].query_id(), 3U);
}

}  // namespace
}  // namespace qmasq::vbond
