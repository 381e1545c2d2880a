// SPDX-License-Identifier: Apache-2.0
#include "bench/trap/tenant.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <thread>
#include <utility>

#include "bench/trap/world.h"
#include "tests/support/await_end.h"
#include "vbond/filter/filter.h"
#include "vbond/uverbs/abi.h"
#include "vbond/uverbs/objects.h"
#include "vbond/uverbs/qp.h"

namespace qmasq::bench {

using namespace vbond;  // NOLINT

// Memory that the tenant shares with the bench. `micros` has room for `count`.
struct Tenant::Shared {
  std::atomic<int> listener;  // number in the tenant, -1 not yet, -2 failed
  char error[256];
  std::size_t done;
  double micros[1];
};

namespace {

constexpr std::size_t kWarmUp = 200;

struct Attribute {
  std::uint16_t id;
  std::uint16_t len;
  std::uint16_t flags;
  std::uint16_t elem;
  std::uint64_t data;
};
static_assert(sizeof(Attribute) == uverbs::kAttrSize);

// A call as libibverbs lays it out on its stack.
struct Call {
  std::uint16_t length;
  std::uint16_t object;
  std::uint16_t method;
  std::uint16_t count;
  std::uint64_t reserved1;
  std::uint32_t driver;
  std::uint32_t reserved2;
  std::array<Attribute, 12> attributes;

  Call(uverbs::Object object_id, std::uint16_t method_id)
      : length(uverbs::kHeaderSize),
        object(static_cast<std::uint16_t>(object_id)),
        method(method_id),
        count(0),
        reserved1(0),
        driver(static_cast<std::uint32_t>(uverbs::DriverId::kRxe)),
        reserved2(0),
        attributes{} {}

  Call& add(std::uint16_t id, std::uint16_t len, std::uint64_t data) {
    attributes[count++] = Attribute{id, len, uverbs::kAttrMandatory, 0, data};
    length = static_cast<std::uint16_t>(length + sizeof(Attribute));
    return *this;
  }
};

std::uint64_t address_of(const void* memory) {
  return reinterpret_cast<std::uint64_t>(memory);
}

int run(int fd, Call& call) {
  return ::ioctl(fd, uverbs::kVerbsIoctl, &call) < 0 ? errno : 0;
}

Call write_form(uverbs::WriteCommand command, std::span<const std::byte> core_in) {
  Call call(uverbs::Object::kDevice, uverbs::kMethodInvokeWrite);
  call.add(uverbs::attr::kCoreIn, static_cast<std::uint16_t>(core_in.size()),
           address_of(core_in.data()));
  call.add(uverbs::attr::kWriteCmd, 8, static_cast<std::uint64_t>(command));
  return call;
}

// The handle of a new RC QP; negative: errno.
std::int64_t create_qp(int fd) {
  std::array<std::byte, uverbs::kQpCapSize> cap{};
  cap[0] = std::byte{16};
  std::array<std::byte, uverbs::kQpCapSize> resp_cap{};
  std::uint32_t qpn = 0;
  Call call(uverbs::Object::kQp, 0);
  call.add(uverbs::attr::kCreateQpHandle, 0, 0)
      .add(uverbs::attr::kCreateQpPd, 0, 1)
      .add(uverbs::attr::kCreateQpSendCq, 0, 1)
      .add(uverbs::attr::kCreateQpRecvCq, 0, 1)
      .add(uverbs::attr::kCreateQpUserHandle, 8, 42)
      .add(uverbs::attr::kCreateQpCap, uverbs::kQpCapSize, address_of(cap.data()))
      .add(uverbs::attr::kCreateQpType, 8, static_cast<std::uint64_t>(uverbs::QpType::kRc))
      .add(uverbs::attr::kCreateQpRespCap, uverbs::kQpCapSize, address_of(resp_cap.data()))
      .add(uverbs::attr::kCreateQpRespQpn, 4, address_of(&qpn));
  int err = run(fd, call);
  return err != 0 ? -err : static_cast<std::int64_t>(call.attributes[0].data);
}

uverbs::ModifyQp to_rtr(std::uint32_t handle, std::uint32_t address) {
  uverbs::ModifyQp out;
  out.qp_handle = handle;
  out.attr_mask = uverbs::qp_mask::kState | uverbs::qp_mask::kAv | uverbs::qp_mask::kDestQpn |
                  uverbs::qp_mask::kPathMtu;
  out.state = uverbs::QpState::kRtr;
  out.dest.dgid = Gid::from_ip(IpAddress::from_v4(address));
  out.dest.is_global = true;
  out.dest.sgid_index = 1;
  out.dest.hop_limit = 64;
  out.dest.port_num = 1;
  out.dest_qpn = Qpn{99};
  out.path_mtu = 3;
  return out;
}

template <typename Make>
void loop(double* micros, std::size_t& done, std::size_t count, char* error, Make call_once) {
  for (std::size_t i = 0; i < count + kWarmUp; ++i) {
    double time = 0;
    int err = call_once(i, time);
    if (err != 0) {
      std::snprintf(error, 256, "call %zu: errno %d (%s)", i, err, std::strerror(err));
      return;
    }
    if (i >= kWarmUp) micros[done++] = time;
  }
}

int timed(int fd, Call& call, double& micros) {
  auto start = std::chrono::steady_clock::now();
  int err = run(fd, call);
  micros =
      std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
  return err;
}

}  // namespace

Result<Tenant> Tenant::start(Verb verb, std::size_t count, std::size_t entries) {
  std::size_t bytes = sizeof(Shared) + count * sizeof(double);
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail_errno(errno, "memory shared with the tenant");
  auto* shared = static_cast<Shared*>(memory);
  shared->listener = -1;
  UniqueFd go(::eventfd(0, EFD_CLOEXEC));
  pid_t pid = ::fork();
  if (pid < 0) {
    int err = errno;
    ::munmap(memory, bytes);
    return fail_errno(err, "fork");
  }
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    auto listener = install_filter(FilterOptions{});
    if (!listener) {
      std::snprintf(shared->error, sizeof shared->error, "%s", listener.error().message.c_str());
      shared->listener = -2;
      ::_exit(1);
    }
    shared->listener = listener->get();
    std::uint64_t token = 0;
    if (::read(go.get(), &token, sizeof token) != sizeof token) ::_exit(1);
    listener->reset();
    int fd = 0;
    if (verb != Verb::kFloor) fd = ::open("/dev/infiniband/uverbs0", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
      std::snprintf(shared->error, sizeof shared->error, "open: %s", std::strerror(errno));
      ::_exit(1);
    }
    // As in libibverbs: the header is in the innermost frame, the command in that of its caller.
    struct {
      Call modify{uverbs::Object::kDevice, uverbs::kMethodInvokeWrite};
      std::array<std::byte, 96> saved{};
      std::array<std::byte, uverbs::kModifyQpSize> command{};
    } stack;
    auto& command = stack.command;
    std::array<std::byte, uverbs::kRegMrSize> request{};
    std::array<std::byte, 12> response{};  // struct ib_uverbs_reg_mr_resp
    Call& modify = stack.modify;
    modify = write_form(uverbs::WriteCommand::kModifyQp, command);
    if (verb == Verb::kRtr) {
      std::int64_t handle = create_qp(fd);
      if (handle < 0) {
        std::snprintf(shared->error, sizeof shared->error, "create QP: errno %d",
                      static_cast<int>(-handle));
        ::_exit(1);
      }
      std::uint64_t random = 88172645463325252ULL;
      loop(shared->micros, shared->done, count, shared->error, [&](std::size_t, double& micros) {
        random ^= random << 13U;
        random ^= random >> 7U;
        random ^= random << 17U;
        // The way of a QP: RTR comes from INIT. Only RTR is timed.
        for (auto state : {uverbs::QpState::kReset, uverbs::QpState::kInit}) {
          uverbs::ModifyQp step;
          step.qp_handle = static_cast<std::uint32_t>(handle);
          step.attr_mask = uverbs::qp_mask::kState;
          step.state = state;
          (void)uverbs::encode_modify_qp(step, uverbs::Form::kWrite, command);
          if (int err = run(fd, modify); err != 0) return err;
        }
        auto rtr = to_rtr(static_cast<std::uint32_t>(handle), World::address(random % entries));
        (void)uverbs::encode_modify_qp(rtr, uverbs::Form::kWrite, command);
        return timed(fd, modify, micros);
      });
    } else {
      uverbs::RegMr region;
      region.length = 4096;
      (void)uverbs::encode_reg_mr(region, request);
      Call neutral = write_form(uverbs::WriteCommand::kRegMr, request);
      neutral.add(uverbs::attr::kCoreOut, response.size(), address_of(response.data()));
      // Let through, REG_MR meets /dev/null: ENOTTY is the kernel's answer, and what counts is how
      // long it took to come.
      loop(shared->micros, shared->done, count, shared->error, [&](std::size_t, double& micros) {
        int err = timed(fd, neutral, micros);
        return verb == Verb::kNeutral && err == ENOTTY ? 0 : err;
      });
    }
    ::_exit(0);
  }
  Tenant out(pid, shared, bytes);
  out.go_ = std::move(go);
  while (shared->listener == -1)
    std::this_thread::yield();
  if (shared->listener == -2) return fail(Code::kUnsupported, shared->error);
  ProcTasks tasks;
  auto listener = tasks.take(pid, shared->listener);
  if (!listener) return fail_errno(listener.error(), "listener of the tenant");
  out.listener_ = std::move(*listener);
  return out;
}

Tenant::Tenant(Tenant&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      shared_(std::exchange(other.shared_, nullptr)),
      bytes_(other.bytes_),
      listener_(std::move(other.listener_)),
      go_(std::move(other.go_)) {}

Tenant::~Tenant() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  if (shared_ != nullptr) ::munmap(shared_, bytes_);
}

Samples Tenant::measure() {
  std::uint64_t token = 1;
  if (::write(go_.get(), &token, sizeof token) != sizeof token) return {{}, "the tenant is gone"};
  test::await_end(pid_);
  ::waitpid(std::exchange(pid_, -1), nullptr, 0);
  return {{shared_->micros, shared_->micros + shared_->done}, shared_->error};
}

}  // namespace qmasq::bench
