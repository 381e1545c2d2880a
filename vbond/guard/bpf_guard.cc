// SPDX-License-Identifier: Apache-2.0
#include "vbond/guard/bpf_guard.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <pthread.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>
#include <utility>

#include "vbond/guard/abi.h"
#include "vbond/guard/programs.h"
#include "vbond/guard/violation.h"

namespace qmasq::vbond {
namespace {

// PROC_PID_INIT_INO of the kernel.
constexpr ino_t kInitialPidNamespace = 0xEFFFFFFC;
constexpr int kLookMilliseconds = 1000;

Result<ino_t> inode_of(const char* path) {
  struct stat status {};
  if (::stat(path, &status) != 0) return fail_errno(errno, path);
  return status.st_ino;
}

// Field 22 of proc(5)'s stat: what the kernel's side compares, in the same unit.
Result<std::uint64_t> own_start() {
  std::ifstream file("/proc/self/stat");
  std::string text;
  std::getline(file, text);
  const auto at = text.rfind(')');  // the name before may contain anything
  std::istringstream rest(at == std::string::npos ? "" : text.substr(at + 1));
  std::string word;
  for (int field = 3; field <= 22; ++field)
    rest >> word;
  std::uint64_t value = 0;
  std::istringstream number(word);
  if (!(number >> value)) return fail(Code::kInternal, "/proc/self/stat tells no start time");
  return value;
}

// An array map in our memory, for as long as this lives.
template <typename Value>
class Shared {
 public:
  Shared() = default;
  ~Shared() {
    if (values_ != nullptr) ::munmap(values_, size_);
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  Status map(int descriptor, std::size_t count) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    size_ = (count * sizeof(Value) + page - 1) / page * page;
    void* at = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (at == MAP_FAILED) return fail_errno(errno, "map the guard's memory");
    values_ = static_cast<Value*>(at);
    return {};
  }
  Value& operator[](std::size_t index) const { return values_[index]; }

 private:
  Value* values_ = nullptr;
  std::size_t size_ = 0;
};

unsigned load(const unsigned& from) {
  return __atomic_load_n(&from, __ATOMIC_ACQUIRE);
}
void store(unsigned& to, unsigned value) {
  __atomic_store_n(&to, value, __ATOMIC_RELEASE);
}

}  // namespace

class BpfGuard::Impl {
 public:
  explicit Impl(GuardPrograms programs) : programs_(std::move(programs)) {}
  ~Impl() { stop(); }

  Status begin() {
    QMASQ_TRY(state_.map(programs_.state.get(), 1));
    QMASQ_TRY(slots_.map(programs_.slots.get(), QMASQ_GUARD_SLOTS));
    QMASQ_ASSIGN(const ino_t netns, inode_of("/proc/self/ns/net"));
    QMASQ_ASSIGN(const std::uint64_t started, own_start());
    qmasq_guard_state& shared = state_[0];
    store(shared.agent, 0);
    // The numbers of an agent before mean nothing here: manage() gives ours.
    for (unsigned i = 1; i < QMASQ_GUARD_SLOTS; ++i) {
      if (load(slots_[i].used) != QMASQ_SLOT_FREE) slots_[i].context = 0;
    }
    shared.layout = QMASQ_GUARD_LAYOUT;
    shared.host_netns = static_cast<unsigned>(netns);
    // Somebody must be able to run the agent meanwhile.
    shared.hold_limit = std::thread::hardware_concurrency() / 2;
    __atomic_store_n(&shared.started, started, __ATOMIC_RELEASE);
    store(shared.agent, static_cast<unsigned>(::getpid()));
    return {};
  }

  std::string describe() const {
    std::lock_guard lock(mutex_);
    return broken_.empty() ? "on" : "broken: " + broken_;
  }

  Status ready() const {
    std::lock_guard lock(mutex_);
    if (broken_.empty()) return {};
    return fail(Code::kFailedPrecondition, "the guard is broken: " + broken_);
  }

  ErrnoOr<Slot> manage(int descriptor, std::uint64_t context) {
    std::lock_guard lock(mutex_);
    const unsigned free = find_free();
    if (free == 0) return tl::unexpected(ENOSPC);
    qmasq_guard_slot& fresh = slots_[free];
    std::memset(&fresh, 0, sizeof fresh);
    fresh.context = context;
    fresh.used = QMASQ_SLOT_RESERVED;
    qmasq_guard_state& shared = state_[0];
    shared.bound_slot = 0;
    // Answered with ENOTTY by the kernel: only the guard knows it.
    (void)::ioctl(descriptor, QMASQ_GUARD_BIND, static_cast<unsigned long>(free));
    const unsigned bound = load(shared.bound_slot);
    if (bound != free) fresh.used = QMASQ_SLOT_FREE;
    if (bound == 0) return tl::unexpected(ENOENT);
    slots_[bound].context = context;
    return bound;
  }

  // No context could be tied although the agent has just opened its file: nothing holds any more.
  void set_broken(std::string why) {
    std::lock_guard lock(mutex_);
    if (broken_.empty()) spdlog::error("guard: broken: {}", why);
    broken_ = std::move(why);
  }

  Status open_by_tenants(dev_t device) {
    // The kernel's own form: MINORBITS is 20.
    const unsigned key = (::major(device) << 20U) | ::minor(device);
    const unsigned one = 1;
    if (bpf_map_update_elem(programs_.devices.get(), &key, &one, BPF_ANY) != 0) {
      return fail_errno(errno, "tell the guard of a device that tenants open");
    }
    return {};
  }

  State state(Slot slot) const {
    State out;
    if (slot == 0) return out;
    const qmasq_guard_slot& at = slots_[slot];
    const unsigned flight = load(at.flight);
    out.flight = flight == QMASQ_FLIGHT_NONE        ? Flight::kNone
                 : flight == QMASQ_FLIGHT_PERMITTED ? Flight::kPermitted
                                                    : Flight::kRunning;
    out.tid = static_cast<pid_t>(at.tid);
    out.condemned = load(at.condemned) != QMASQ_DID_NOTHING;
    return out;
  }

  void permit(Slot slot, const Call& call) {
    if (slot == 0) return;
    qmasq_guard_slot& at = slots_[slot];
    at.tid = static_cast<unsigned>(call.tid);
    at.method = method_key(call.object, call.method);
    at.command = call.command;
    at.qp_type = call.qp_type;
    at.argument = call.argument;
    store(at.flight, QMASQ_FLIGHT_PERMITTED);
  }

  bool withdraw(Slot slot) {
    if (slot == 0) return true;
    unsigned expected = QMASQ_FLIGHT_PERMITTED;
    return __atomic_compare_exchange_n(&slots_[slot].flight, &expected, QMASQ_FLIGHT_NONE, false,
                                       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
  }

  void release(Slot slot) {
    if (slot != 0) store(slots_[slot].released, QMASQ_RELEASED);
  }

  void listen(Listener listener) {
    listener_ = std::move(listener);
    wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    thread_ = std::thread([this] { loop(); });
  }

  void stop() {
    if (!thread_.joinable()) return;
    stopping_ = true;
    const std::uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);
    thread_.join();
  }

 private:
  // REQUIRES: mutex_. Slots come back when the kernel closes the file for good.
  unsigned find_free() {
    for (unsigned tried = 1; tried < QMASQ_GUARD_SLOTS; ++tried) {
      cursor_ = cursor_ + 1 < QMASQ_GUARD_SLOTS ? cursor_ + 1 : 1;
      if (load(slots_[cursor_].used) == QMASQ_SLOT_FREE) return cursor_;
    }
    return 0;
  }

  static int on_event(void* self, void* bytes, std::size_t size) {
    qmasq_guard_event event{};
    if (size < sizeof event) return 0;
    std::memcpy(&event, bytes, sizeof event);
    static_cast<Impl*>(self)->tell(event);
    return 0;
  }

  // An event may be from before this agent, and a slot may be another file's by now.
  void tell(qmasq_guard_event event) {
    const qmasq_guard_slot& slot = slots_[event.slot % QMASQ_GUARD_SLOTS];
    const bool same =
        load(slot.used) == QMASQ_SLOT_BOUND && load(slot.condemned) != QMASQ_DID_NOTHING;
    event.context = event.slot != 0 && same ? slot.context : 0;
    listener_(violation_of(event));
  }

  void loop() {
    (void)::pthread_setname_np(::pthread_self(), "guard");
    ring_buffer* ring = ring_buffer__new(programs_.events.get(), on_event, this, nullptr);
    if (ring == nullptr) {
      set_broken("its events cannot be read: " + std::string(std::strerror(errno)));
      return;
    }
    UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event want{};
    want.events = EPOLLIN;
    (void)::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, ring_buffer__epoll_fd(ring), &want);
    (void)::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake_.get(), &want);
    unsigned lost = 0;
    unsigned held_out = load(state_[0].held_out);
    unsigned refused = load(state_[0].refused);
    (void)ring_buffer__consume(ring);  // what waited for an agent
    while (!stopping_) {
      epoll_event got{};
      (void)::epoll_wait(epoll.get(), &got, 1, kLookMilliseconds);
      (void)ring_buffer__consume(ring);
      if (const unsigned now = load(state_[0].lost); now != lost) {
        lost = now;
        look_for_condemned();
      }
      if (const unsigned now = load(state_[0].held_out); now != held_out) {
        spdlog::error(
            "guard: {} calls that nobody had let run took effect before their queue pairs were "
            "destroyed: this host is too slow, or the agent was away",
            now - held_out);
        held_out = now;
      }
      if (const unsigned now = load(state_[0].refused); now != refused) {
        spdlog::warn("guard: {} verb calls were refused that nobody had let run", now - refused);
        refused = now;
      }
    }
    ring_buffer__free(ring);
  }

  // Events found no room: the slots know all the same.
  void look_for_condemned() {
    for (unsigned i = 1; i < QMASQ_GUARD_SLOTS; ++i) {
      const qmasq_guard_slot& slot = slots_[i];
      if (load(slot.used) != QMASQ_SLOT_BOUND || load(slot.condemned) == QMASQ_DID_NOTHING)
        continue;
      qmasq_guard_event event{};
      event.slot = i;
      event.what = slot.condemned;
      tell(event);
    }
  }

  GuardPrograms programs_;
  Shared<qmasq_guard_state> state_;
  Shared<qmasq_guard_slot> slots_;
  mutable std::mutex mutex_;  // guards the below, and that one file is tied at a time
  std::string broken_;
  unsigned cursor_ = 0;
  Listener listener_;
  UniqueFd wake_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

BpfGuard::BpfGuard(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BpfGuard::~BpfGuard() = default;

Result<std::unique_ptr<BpfGuard>> BpfGuard::start(const Options& options) {
  QMASQ_ASSIGN(const ino_t pids, inode_of("/proc/self/ns/pid"));
  if (pids != kInitialPidNamespace) {
    return fail(Code::kFailedPrecondition,
                "the guard needs the host's own pid namespace (hostPID in a pod, --pid host)");
  }
  QMASQ_ASSIGN(GuardPrograms programs, attach_guard(options.pins, options.writes));
  const bool taken_over = programs.taken_over;
  auto impl = std::make_unique<Impl>(std::move(programs));
  QMASQ_TRY(impl->begin());
  spdlog::info("guard: {} in {}", taken_over ? "took over the programs" : "attached, pinned",
               options.pins);
  return std::unique_ptr<BpfGuard>(new BpfGuard(std::move(impl)));
}

Status BpfGuard::remove(const Options& options) {
  return detach_guard(options.pins);
}

std::string BpfGuard::describe() const {
  return impl_->describe();
}
Status BpfGuard::ready() {
  return impl_->ready();
}
ErrnoOr<Guard::Slot> BpfGuard::manage(int descriptor, std::uint64_t context) {
  return impl_->manage(descriptor, context);
}
Status BpfGuard::open_by_tenants(dev_t device) {
  return impl_->open_by_tenants(device);
}
Guard::State BpfGuard::state(Slot slot) const {
  return impl_->state(slot);
}
void BpfGuard::permit(Slot slot, const Call& call) {
  impl_->permit(slot, call);
}
bool BpfGuard::withdraw(Slot slot) {
  return impl_->withdraw(slot);
}
void BpfGuard::release(Slot slot) {
  impl_->release(slot);
}
void BpfGuard::listen(Listener listener) {
  impl_->listen(std::move(listener));
}
void BpfGuard::stop() {
  impl_->stop();
}

}  // namespace qmasq::vbond
