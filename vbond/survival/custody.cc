// SPDX-License-Identifier: Apache-2.0
#include "vbond/survival/custody.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace qmasq::vbond {

Custody::Custody(std::unique_ptr<Keeper> keeper, Options options)
    : options_(std::move(options)), keeper_(std::move(keeper)) {
  options_.found(keeper_->pid());
  watcher_ = std::thread([this] { watch_loop(); });
}

Custody::~Custody() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  watcher_.join();
}

Custody::Ticket Custody::put(const Tag& tag, int descriptor) {
  auto kept = std::make_shared<Kept>(encode(tag), descriptor);
  std::lock_guard lock(mutex_);
  kept_.push_back(kept);
  give(*kept);
  return kept;
}

Custody::Ticket Custody::adopt(Keeper::Id id, const Tag& tag, int descriptor) {
  auto kept = std::make_shared<Kept>(encode(tag), descriptor);
  kept->id_ = id;
  std::lock_guard lock(mutex_);
  kept_.push_back(kept);
  return kept;
}

void Custody::drop(const Ticket& ticket) {
  if (ticket == nullptr) return;
  std::lock_guard lock(mutex_);
  kept_.remove(ticket);
  if (keeper_ == nullptr || ticket->id_ == 0) return;
  auto dropped = keeper_->drop(ticket->id_);
  ticket->id_ = 0;
  if (!dropped && dropped.error().code != Code::kNotFound) lose(dropped.error());
}

void Custody::drop(Keeper::Id id) {
  std::lock_guard lock(mutex_);
  if (keeper_ == nullptr) return;
  auto dropped = keeper_->drop(id);
  if (!dropped && dropped.error().code != Code::kNotFound) lose(dropped.error());
}

void Custody::give(Kept& kept) {
  if (keeper_ == nullptr) return;
  auto id = keeper_->put(kept.tag_, kept.descriptor_);
  if (id) {
    kept.id_ = *id;
  } else if (id.error().code == Code::kResourceExhausted ||
             id.error().code == Code::kInvalidArgument) {
    set_state("full: " + id.error().message);
  } else {
    lose(id.error());
  }
}

void Custody::lose(const Error& error) {
  keeper_.reset();
  for (const Ticket& each : kept_)
    each->id_ = 0;
  set_state("lost: " + error.message);
}

void Custody::set_state(std::string state) {
  if (state == state_) return;
  state_ = std::move(state);
  if (state_ == "on") {
    spdlog::info("keeper: everything is in custody again");
  } else {
    spdlog::error("keeper {}: what tenants have open is lost if the agent ends now", state_);
  }
  options_.changed(state_);
}

// Whether it is still there, and else whether there is one again.
void Custody::look() {
  if (keeper_ != nullptr) {
    auto held =
        std::find_if(kept_.begin(), kept_.end(), [](const auto& each) { return each->id_ != 0; });
    if (held != kept_.end()) {
      auto there = keeper_->retag((*held)->id_, (*held)->tag_);
      if (!there) lose(there.error());
    }
    // It was full; room may have come.
    if (keeper_ == nullptr || state_ == "on") return;
  } else {
    auto again = options_.connect();
    if (!again) return;
    keeper_ = std::move(*again);
    options_.found(keeper_->pid());
  }
  // What it holds of a session before is a second time in custody until it is dropped: the agent
  // may die here, too.
  auto before = keeper_->list();
  if (!before) return lose(before.error());
  std::vector<Keeper::Id> known;
  for (const Ticket& each : kept_) {
    if (each->id_ != 0) known.push_back(each->id_);
  }
  std::string last = std::exchange(state_, "on");
  for (const Ticket& each : kept_) {
    if (each->id_ == 0) give(*each);
    if (keeper_ == nullptr) return;
  }
  for (const Keeper::Held& held : *before) {
    if (std::count(known.begin(), known.end(), held.id) != 0) continue;
    if (auto dropped = keeper_->drop(held.id); !dropped) return lose(dropped.error());
  }
  if (state_ == "on" && last != "on") {
    state_ = std::move(last);
    set_state("on");
  }
}

void Custody::watch_loop() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    wake_.wait_for(lock, options_.retry);
    if (!stopping_) look();
  }
}

pid_t Custody::keeper() const {
  std::lock_guard lock(mutex_);
  return keeper_ == nullptr ? 0 : keeper_->pid();
}

std::string Custody::state() const {
  std::lock_guard lock(mutex_);
  return state_;
}

Custody::Count Custody::count() const {
  std::lock_guard lock(mutex_);
  return {kept_.size(),
          static_cast<std::size_t>(std::count_if(kept_.begin(), kept_.end(),
                                                 [](const auto& each) { return each->id_ != 0; }))};
}

}  // namespace qmasq::vbond
