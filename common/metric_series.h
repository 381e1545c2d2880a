// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <prometheus/family.h>

#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace qmasq {

using MetricLabels = std::map<std::string, std::string>;

// Series that come and go with what they are about, of one family of prometheus-cpp.
//
// prometheus::Family::Add() gives everybody who asks for the same labels the same object, and
// Remove() destroys it under all of them. Names come back: an endpoint is deleted and another made
// under its name before the first one's series have gone. So who shows a series holds a Handle; who
// holds one of the same labels shares it, and the last one to let go removes it.
//
// T is prometheus::Counter or Gauge. Thread-safe. Must outlive its handles; the family
// must outlive both.
template <typename T>
class MetricSeries {
  struct Entry {
    T* series = nullptr;
    std::size_t handles = 0;
  };
  using Entries = std::map<MetricLabels, Entry>;

 public:
  // One series, or none. Not thread-safe itself; the series is.
  class Handle {
   public:
    Handle() = default;
    ~Handle() { reset(); }
    Handle(Handle&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)), shared_(other.shared_) {}
    Handle& operator=(Handle&& other) noexcept {
      if (this == &other) return *this;
      reset();
      owner_ = std::exchange(other.owner_, nullptr);
      shared_ = other.shared_;
      return *this;
    }

    void reset() {
      if (owner_ != nullptr) std::exchange(owner_, nullptr)->drop(shared_);
    }
    explicit operator bool() const { return owner_ != nullptr; }
    // REQUIRES of these: there is one.
    T& operator*() const { return *shared_->second.series; }
    T* operator->() const { return shared_->second.series; }
    [[nodiscard]] const MetricLabels& labels() const { return shared_->first; }

   private:
    friend class MetricSeries;
    Handle(MetricSeries* owner, typename Entries::iterator shared)
        : owner_(owner), shared_(shared) {}

    MetricSeries* owner_ = nullptr;
    typename Entries::iterator shared_{};
  };

  explicit MetricSeries(prometheus::Family<T>& family) : family_(family) {}
  MetricSeries(const MetricSeries&) = delete;
  MetricSeries& operator=(const MetricSeries&) = delete;

  [[nodiscard]] Handle get(const MetricLabels& labels) {
    std::lock_guard lock(mutex_);
    auto [at, fresh] = shared_.try_emplace(labels);
    if (fresh) at->second.series = &family_.Add(labels);
    ++at->second.handles;
    return Handle(this, at);
  }

 private:
  void drop(typename Entries::iterator shared) {
    std::lock_guard lock(mutex_);
    if (--shared->second.handles != 0) return;
    family_.Remove(shared->second.series);
    shared_.erase(shared);
  }

  prometheus::Family<T>& family_;
  std::mutex mutex_;
  Entries shared_;  // guarded by mutex_
};

}  // namespace qmasq
