// SPDX-License-Identifier: Apache-2.0
#include "tests/support/fake_keeper.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace qmasq::test {

using std::chrono::milliseconds;
using vbond::Keeper;

struct FakeKeeper::Shared {
  struct One {
    std::string tag;
    UniqueFd descriptor;
  };

  std::mutex mutex;
  std::condition_variable changed;
  std::size_t most = 0;
  bool alive = true;
  std::uint64_t life = 1;         // number of the process
  const void* session = nullptr;  // who has it
  Keeper::Id last = 0;
  std::map<Keeper::Id, One> held;
  Error error;
  int failures = 0;
};

class FakeKeeper::Session final : public Keeper {
 public:
  Session(std::shared_ptr<Shared> shared, std::uint64_t life)
      : shared_(std::move(shared)), life_(life) {}
  ~Session() override {
    std::lock_guard lock(shared_->mutex);
    if (shared_->session == this) shared_->session = nullptr;
    shared_->changed.notify_all();
  }

  Result<std::vector<Held>> list() override {
    std::lock_guard lock(shared_->mutex);
    QMASQ_TRY(check());
    std::vector<Held> out;
    for (const auto& [id, one] : shared_->held) {
      UniqueFd copy(::fcntl(one.descriptor.get(), F_DUPFD_CLOEXEC, 0));
      if (!copy.valid()) return fail_errno(errno, "dup");
      out.push_back({id, one.tag, std::move(copy)});
    }
    return out;
  }

  Result<Id> put(std::string_view tag, int descriptor) override {
    std::lock_guard lock(shared_->mutex);
    QMASQ_TRY(check());
    QMASQ_TRY(check_tag(tag));
    UniqueFd copy(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
    if (!copy.valid()) return fail(Code::kInvalidArgument, "the descriptor is not open");
    if (shared_->held.size() >= shared_->most) {
      return fail(Code::kResourceExhausted, "the keeper holds as many as it may");
    }
    const Id id = ++shared_->last;
    shared_->held.emplace(id, Shared::One{std::string(tag), std::move(copy)});
    return id;
  }

  Status retag(Id id, std::string_view tag) override {
    std::lock_guard lock(shared_->mutex);
    QMASQ_TRY(check());
    QMASQ_TRY(check_tag(tag));
    auto found = shared_->held.find(id);
    if (found == shared_->held.end()) return unknown();
    found->second.tag = tag;
    return {};
  }

  Status drop(Id id) override {
    std::lock_guard lock(shared_->mutex);
    QMASQ_TRY(check());
    return shared_->held.erase(id) == 0 ? Status(unknown()) : Status();
  }

 private:
  static tl::unexpected<Error> unknown() {
    return fail(Code::kNotFound, "nothing is held as that");
  }
  static Status check_tag(std::string_view tag) {
    if (tag.size() <= kMaxTag) return {};
    return fail(Code::kInvalidArgument, "the tag is too long");
  }
  // Ours to use, and no failure is due.
  Status check() {
    if (lost_ || !shared_->alive || shared_->life != life_) {
      return fail(Code::kUnavailable, "the keeper is lost");
    }
    if (shared_->failures == 0) return {};
    --shared_->failures;
    if (shared_->error.code == Code::kUnavailable) {
      lost_ = true;
      shared_->session = nullptr;
      shared_->changed.notify_all();
    }
    return tl::unexpected(shared_->error);
  }

  std::shared_ptr<Shared> shared_;
  std::uint64_t life_;
  bool lost_ = false;
};

FakeKeeper::FakeKeeper(std::size_t most) : shared_(std::make_shared<Shared>()) {
  shared_->most = most;
}

Result<std::unique_ptr<Keeper>> FakeKeeper::connect(milliseconds patience) {
  std::unique_lock lock(shared_->mutex);
  if (!shared_->alive) return fail(Code::kUnavailable, "no keeper: Connection refused");
  shared_->changed.wait_for(lock, patience,
                            [this] { return !shared_->alive || shared_->session == nullptr; });
  if (!shared_->alive) return fail(Code::kUnavailable, "the keeper hung up");
  if (shared_->session != nullptr) {
    return fail(Code::kFailedPrecondition,
                "agent " + std::to_string(::getpid()) + " has what is kept, and runs");
  }
  auto session = std::make_unique<Session>(shared_, shared_->life);
  shared_->session = session.get();
  return session;
}

void FakeKeeper::die() {
  std::lock_guard lock(shared_->mutex);
  shared_->alive = false;
  shared_->session = nullptr;
  shared_->held.clear();
  shared_->changed.notify_all();
}

void FakeKeeper::start() {
  std::lock_guard lock(shared_->mutex);
  shared_->alive = true;
  ++shared_->life;
  shared_->last = 0;
}

void FakeKeeper::fail_next(Error error, int count) {
  std::lock_guard lock(shared_->mutex);
  shared_->error = std::move(error);
  shared_->failures = count;
}

std::size_t FakeKeeper::size() const {
  std::lock_guard lock(shared_->mutex);
  return shared_->held.size();
}

std::map<Keeper::Id, std::string> FakeKeeper::tags() const {
  std::lock_guard lock(shared_->mutex);
  std::map<Keeper::Id, std::string> out;
  for (const auto& [id, one] : shared_->held)
    out.emplace(id, one.tag);
  return out;
}

}  // namespace qmasq::test
