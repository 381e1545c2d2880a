// SPDX-License-Identifier: Apache-2.0
#include "vbond/sync/query_desk.h"

#include <utility>

namespace qmasq::vbond {

QueryDesk::QueryDesk(QueryHandler* handler, const SyncState& state, Reply reply)
    : handler_(handler), state_(state), reply_(std::move(reply)) {}

QueryDesk::~QueryDesk() {
  stop();
}

void QueryDesk::start() {
  if (handler_ != nullptr) thread_ = std::thread([this] { run(); });
}

void QueryDesk::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    waiting_.clear();
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void QueryDesk::ask(v1::Query query) {
  std::lock_guard lock(mutex_);
  if (stopping_) return;
  if (query.kind_case() == v1::Query::KIND_NOT_SET) {
    refuse(query, "this agent does not know the question");
  } else if (handler_ == nullptr) {
    refuse(query, "not offered");
  } else if (waiting_.size() >= kMostWaiting) {
    refuse(query, "too many questions at once: ask again");
  } else {
    waiting_.push_back(std::move(query));
    wake_.notify_all();
  }
}

void QueryDesk::forget() {
  std::lock_guard lock(mutex_);
  waiting_.clear();
  ++stream_;
}

void QueryDesk::refuse(const v1::Query& query, const char* why) {
  v1::Answer answer;
  answer.set_query_id(query.id());
  answer.set_held_revision(state_.status().held.value);
  answer.set_error(why);
  reply_(std::move(answer));
}

void QueryDesk::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    v1::Query query = std::move(waiting_.front());
    waiting_.pop_front();
    const std::uint64_t stream = stream_;
    lock.unlock();
    // Taken before: what is applied meanwhile may or may not show in the answer.
    const std::uint64_t held = state_.status().held.value;
    v1::Answer answer = handler_->answer(query);
    answer.set_query_id(query.id());
    if (answer.held_revision() == 0) answer.set_held_revision(held);
    lock.lock();
    if (!stopping_ && stream == stream_) reply_(std::move(answer));
  }
}

}  // namespace qmasq::vbond
