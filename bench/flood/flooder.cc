// SPDX-License-Identifier: Apache-2.0
#include "bench/flood/flooder.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <thread>
#include <utility>
#include <vector>

#include "vbond/filter/filter.h"
#include "vbond/kernel/task_inspector.h"
#include "vbond/uverbs/call_builder.h"

namespace qmasq::bench {

using namespace vbond;  // NOLINT

struct Flooder::Shared {
  std::atomic<int> listener{-1};  // number in the tenant; -2: failed
  std::atomic<bool> go{false};
  std::atomic<std::uint64_t> calls{0};
  std::atomic<std::uint64_t> refused{0};
};

namespace {

constexpr auto kRxe = static_cast<std::uint32_t>(uverbs::DriverId::kRxe);

int call(int fd, uverbs::CallBuilder& builder) {
  auto sealed = builder.seal();
  if (!sealed) return sealed.error();
  return ::ioctl(fd, uverbs::kVerbsIoctl, sealed->data()) < 0 ? errno : 0;
}

// A verb that the agent answers, one that it lets run, one that it executes and undoes.
int one_of(int fd, std::uint64_t turn) {
  switch (turn % 3) {
    case 0: {
      uverbs::CallBuilder query(static_cast<std::uint16_t>(uverbs::Object::kDevice),
                                uverbs::kMethodQueryGidEntry, kRxe);
      (void)query.add_const(uverbs::attr::kGidEntryPort, 1);
      (void)query.add_const(uverbs::attr::kGidEntryIndex, 1);
      const std::array<std::byte, 4> flags{};
      (void)query.add_in(uverbs::attr::kGidEntryFlags, flags);
      (void)query.add_out(uverbs::attr::kGidEntryResp, 32);
      return call(fd, query);
    }
    case 1: {
      auto alloc = uverbs::CallBuilder::invoke_write(
          static_cast<std::uint32_t>(uverbs::WriteCommand::kAllocPd), kRxe);
      const std::array<std::byte, 8> request{};
      (void)alloc.add_in(uverbs::attr::kCoreIn, request);
      (void)alloc.add_out(uverbs::attr::kCoreOut, 8);
      return call(fd, alloc);
    }
    default: {
      uverbs::CallBuilder create(static_cast<std::uint16_t>(uverbs::Object::kCq), 0, kRxe);
      const std::array<std::byte, 4> small{};
      const std::array<std::byte, 8> large{};
      (void)create.add_idr_new(uverbs::attr::kCreateCqHandle);
      (void)create.add_in(uverbs::attr::kCreateCqCqe, small);
      (void)create.add_in(uverbs::attr::kCreateCqUserHandle, large);
      (void)create.add_in(uverbs::attr::kCreateCqCompVector, small);
      (void)create.add_out(uverbs::attr::kCreateCqRespCqe, 4);
      if (int err = call(fd, create); err != 0) return err;
      uverbs::CallBuilder destroy(static_cast<std::uint16_t>(uverbs::Object::kCq),
                                  uverbs::kMethodDestroy, kRxe);
      (void)destroy.add_idr(uverbs::attr::kDestroyHandle,
                            create.handle(uverbs::attr::kCreateCqHandle).value_or(0));
      (void)destroy.add_out(uverbs::attr::kDestroyCqResp, 8);
      return call(fd, destroy);
    }
  }
}

}  // namespace

Result<Flooder> Flooder::start(std::size_t threads,
                               const std::function<Status(UniqueFd listener, pid_t pid)>& attach) {
  void* memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail_errno(errno, "memory shared with the tenant");
  auto* shared = new (memory) Shared;
  const pid_t pid = ::fork();
  if (pid < 0) {
    const int err = errno;
    ::munmap(memory, sizeof(Shared));
    return fail_errno(err, "fork");
  }
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    auto listener = install_filter(FilterOptions{});
    if (!listener) {
      shared->listener = -2;
      ::_exit(1);
    }
    shared->listener = listener->get();
    while (!shared->go)
      std::this_thread::yield();
    listener->reset();
    const int fd = ::open("/dev/infiniband/uverbs0", O_RDWR | O_CLOEXEC);
    if (fd < 0) ::_exit(1);
    std::vector<std::thread> all;
    for (std::size_t i = 0; i < threads; ++i) {
      all.emplace_back([shared, fd, i] {
        for (std::uint64_t turn = i;; ++turn) {
          if (one_of(fd, turn) == EAGAIN) shared->refused.fetch_add(1);
          shared->calls.fetch_add(1);
        }
      });
    }
    for (auto& each : all)
      each.join();
    ::_exit(0);
  }
  Flooder out(pid, shared);
  while (shared->listener == -1)
    std::this_thread::yield();
  if (shared->listener == -2) return fail(Code::kUnsupported, "no filter in the tenant");
  ProcTasks tasks;
  auto listener = tasks.take(pid, shared->listener);
  if (!listener) return fail_errno(listener.error(), "listener of the tenant");
  QMASQ_TRY(attach(std::move(*listener), pid));
  shared->go = true;
  while (shared->calls < 10) {
    if (::waitpid(pid, nullptr, WNOHANG) == pid) {
      out.pid_ = -1;
      return fail(Code::kUnavailable, "the flooding tenant ended");
    }
    std::this_thread::yield();
  }
  return out;
}

Flooder::Flooder(Flooder&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), shared_(std::exchange(other.shared_, nullptr)) {}

Flooder::~Flooder() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  if (shared_ != nullptr) ::munmap(shared_, sizeof(Shared));
}

std::uint64_t Flooder::calls() const {
  return shared_->calls;
}
std::uint64_t Flooder::refused() const {
  return shared_->refused;
}

}  // namespace qmasq::bench
