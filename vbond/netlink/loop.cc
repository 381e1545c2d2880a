// SPDX-License-Identifier: Apache-2.0
#include "vbond/netlink/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "common/unique_fd.h"

namespace qmasq::vbond::netlink {

struct LoopThread::Impl {
  using TimePoint = std::chrono::steady_clock::time_point;

  UniqueFd epoll;
  UniqueFd wake;
  std::atomic<bool> stopping{false};
  std::thread thread;

  std::mutex mutex;
  std::deque<Task> tasks;                // guarded by mutex
  std::multimap<TimePoint, Task> later;  // guarded by mutex

  std::unordered_map<int, Task> watched;  // the loop's thread only

  void signal() {
    std::uint64_t one = 1;
    // Full (EAGAIN) is as good as written: the thread wakes up.
    (void)!::write(wake.get(), &one, sizeof one);
  }

  // Moves what is due to the queue; how long to sleep, as epoll_wait takes it.
  int due() {
    std::lock_guard lock(mutex);
    TimePoint now = std::chrono::steady_clock::now();
    while (!later.empty() && later.begin()->first <= now) {
      tasks.push_back(std::move(later.begin()->second));
      later.erase(later.begin());
    }
    if (!tasks.empty()) return 0;
    if (later.empty()) return -1;
    auto left = std::chrono::ceil<std::chrono::milliseconds>(later.begin()->first - now).count();
    return static_cast<int>(std::min<std::int64_t>(left, std::numeric_limits<int>::max()));
  }

  void run_tasks() {
    // Only what is there now: descriptors get their turn between.
    std::deque<Task> now;
    {
      std::lock_guard lock(mutex);
      now.swap(tasks);
    }
    for (Task& task : now) {
      if (stopping) return;
      task();
    }
  }

  void run() {
    std::array<epoll_event, 16> events{};
    while (!stopping) {
      int count = ::epoll_wait(epoll.get(), events.data(), events.size(), due());
      for (int i = 0; i < count && !stopping; ++i) {
        int fd = events[static_cast<std::size_t>(i)].data.fd;
        if (fd == wake.get()) {
          std::uint64_t value = 0;
          (void)!::read(fd, &value, sizeof value);
          continue;
        }
        // A copy: the task may unwatch its own descriptor. One that an earlier task of this round
        // unwatched is not found.
        if (auto it = watched.find(fd); it != watched.end()) {
          Task task = it->second;
          task();
        }
      }
      if (!stopping) run_tasks();
    }
  }
};

LoopThread::LoopThread(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<LoopThread>> LoopThread::start() {
  auto impl = std::make_unique<Impl>();
  impl->epoll.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!impl->epoll.valid()) return fail_errno(errno, "epoll_create1");
  impl->wake.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!impl->wake.valid()) return fail_errno(errno, "eventfd");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = impl->wake.get();
  if (::epoll_ctl(impl->epoll.get(), EPOLL_CTL_ADD, impl->wake.get(), &event) != 0) {
    return fail_errno(errno, "epoll_ctl");
  }
  Impl* self = impl.get();
  impl->thread = std::thread([self] { self->run(); });
  return std::unique_ptr<LoopThread>(new LoopThread(std::move(impl)));
}

LoopThread::~LoopThread() {
  stop();
}

void LoopThread::stop() {
  if (impl_->stopping.exchange(true)) return;
  impl_->signal();
  impl_->thread.join();
  // Whoever waits for the result of a task learns that it will not run.
  std::deque<Task> tasks;
  std::multimap<Impl::TimePoint, Task> later;
  {
    std::lock_guard lock(impl_->mutex);
    tasks.swap(impl_->tasks);
    later.swap(impl_->later);
  }
  impl_->watched.clear();
}

void LoopThread::post(Task task) {
  {
    std::lock_guard lock(impl_->mutex);
    if (impl_->stopping) return;
    impl_->tasks.push_back(std::move(task));
  }
  impl_->signal();
}

void LoopThread::post_at(std::chrono::steady_clock::time_point when, Task task) {
  {
    std::lock_guard lock(impl_->mutex);
    if (impl_->stopping) return;
    impl_->later.emplace(when, std::move(task));
  }
  impl_->signal();
}

Status LoopThread::watch(int fd, Task task) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  if (::epoll_ctl(impl_->epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return fail_errno(errno, "epoll_ctl");
  }
  impl_->watched[fd] = std::move(task);
  return {};
}

void LoopThread::unwatch(int fd) {
  if (impl_->watched.erase(fd) == 0) return;
  (void)::epoll_ctl(impl_->epoll.get(), EPOLL_CTL_DEL, fd, nullptr);
}

}  // namespace qmasq::vbond::netlink
