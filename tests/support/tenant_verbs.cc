// SPDX-License-Identifier: Apache-2.0
#include "tests/support/tenant_verbs.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <span>

#include "vbond/uverbs/doorbell.h"
#include "vbond/uverbs/objects.h"

namespace qmasq::test {
namespace {

using namespace vbond::uverbs;  // NOLINT: the tenant speaks verbs
using std::chrono::steady_clock;

std::atomic<steady_clock::duration> longest{};

// Times what takes a trap.
template <typename Trap>
auto timed(Trap trap) {
  const auto start = steady_clock::now();
  const auto out = trap();
  const int error = errno;
  const auto took = steady_clock::now() - start;
  auto most = longest.load();
  while (most < took && !longest.compare_exchange_weak(most, took)) {
  }
  errno = error;
  return out;
}

}  // namespace

int open_device() {
  return timed([] { return open(kVerbsNode, O_RDWR | O_CLOEXEC); });
}

int call(int fd, CallBuilder& builder) {
  auto sealed = builder.seal();
  if (!sealed) return errno = sealed.error(), -1;
  return timed([&] { return ioctl(fd, kVerbsIoctl, sealed->data()); });
}

int alloc_pd(int fd) {
  auto builder =
      CallBuilder::invoke_write(static_cast<std::uint32_t>(WriteCommand::kAllocPd), kRxe);
  const std::array<std::byte, 8> core_in{};
  (void)builder.add_in(attr::kCoreIn, core_in);
  (void)builder.add_out(attr::kCoreOut, 4);
  if (call(fd, builder) != 0) return -1;
  std::uint32_t handle = 0;
  std::memcpy(&handle, builder.out(attr::kCoreOut).data(), sizeof(handle));
  return static_cast<int>(handle);
}

int dealloc_pd(int fd, int handle) {
  CallBuilder builder(static_cast<std::uint16_t>(Object::kPd), kMethodDestroySole, kRxe);
  (void)builder.add_idr(attr::kDestroyHandle, static_cast<std::uint32_t>(handle));
  return call(fd, builder);
}

int create_cq(int fd) {
  CallBuilder builder(static_cast<std::uint16_t>(Object::kCq), 0, kRxe);
  const std::uint32_t cqe = 16;
  const std::uint32_t vector = 0;
  const std::uint64_t user_handle = 1;
  (void)builder.add_idr_new(attr::kCreateCqHandle);
  (void)builder.add_in(attr::kCreateCqCqe, std::as_bytes(std::span(&cqe, 1)));
  (void)builder.add_in(attr::kCreateCqUserHandle, std::as_bytes(std::span(&user_handle, 1)));
  (void)builder.add_in(attr::kCreateCqCompVector, std::as_bytes(std::span(&vector, 1)));
  (void)builder.add_out(attr::kCreateCqRespCqe, 4);
  if (call(fd, builder) != 0) return -1;
  return static_cast<int>(*builder.handle(attr::kCreateCqHandle));
}

int destroy_cq(int fd, int handle) {
  CallBuilder builder(static_cast<std::uint16_t>(Object::kCq), 1, kRxe);
  (void)builder.add_idr(attr::kDestroyHandle, static_cast<std::uint32_t>(handle));
  (void)builder.add_out(attr::kDestroyCqResp, 8);
  return call(fd, builder);
}

int create_qp(int fd, QpType type) {
  CallBuilder builder(static_cast<std::uint16_t>(Object::kQp), 0, kRxe);
  const std::array<std::byte, kQpCapSize> cap{};
  (void)builder.add_idr_new(attr::kCreateQpHandle);
  (void)builder.add_idr(attr::kCreateQpPd, 1);
  (void)builder.add_idr(attr::kCreateQpSendCq, 1);
  (void)builder.add_idr(attr::kCreateQpRecvCq, 1);
  (void)builder.add_const(attr::kCreateQpUserHandle, 1);
  (void)builder.add_in(attr::kCreateQpCap, cap);
  (void)builder.add_const(attr::kCreateQpType, static_cast<std::uint64_t>(type));
  (void)builder.add_out(attr::kCreateQpRespCap, kQpCapSize);
  (void)builder.add_out(attr::kCreateQpRespQpn, 4);
  if (call(fd, builder) != 0) return -1;
  std::uint32_t qpn = 0;
  std::memcpy(&qpn, builder.out(attr::kCreateQpRespQpn).data(), sizeof(qpn));
  // A call that came back twice, or half, would have none.
  if (qpn == 0) return errno = EPROTO, -1;
  return static_cast<int>(*builder.handle(attr::kCreateQpHandle));
}

int destroy_qp(int fd, int handle) {
  CallBuilder builder(static_cast<std::uint16_t>(Object::kQp), 1, kRxe);
  (void)builder.add_idr(attr::kDestroyQpHandle, static_cast<std::uint32_t>(handle));
  (void)builder.add_out(attr::kDestroyQpResp, 4);
  return call(fd, builder);
}

int modify_qp(int fd, const ModifyQp& command) {
  std::array<std::byte, kModifyQpSize> core_in{};
  (void)encode_modify_qp(command, Form::kWrite, core_in);
  auto builder =
      CallBuilder::invoke_write(static_cast<std::uint32_t>(WriteCommand::kModifyQp), kRxe);
  (void)builder.add_in(attr::kCoreIn, core_in);
  return call(fd, builder);
}

int modify_qp(int fd, int handle, QpState state) {
  ModifyQp command;
  command.qp_handle = static_cast<std::uint32_t>(handle);
  command.attr_mask = qp_mask::kState;
  command.state = state;
  return modify_qp(fd, command);
}

int connect_qp(int fd, int handle, const char* peer) {
  ModifyQp command;
  command.qp_handle = static_cast<std::uint32_t>(handle);
  command.attr_mask = qp_mask::kState | qp_mask::kAv | qp_mask::kDestQpn | qp_mask::kPathMtu;
  command.state = QpState::kRtr;
  command.dest.dgid = Gid::from_ip(parse_ip(peer).value());
  command.dest.is_global = true;
  command.dest.sgid_index = 1;
  command.dest.port_num = 1;
  command.dest_qpn = Qpn{99};
  command.path_mtu = 3;
  return modify_qp(fd, command);
}

ssize_t ring(int fd, int handle) {
  std::uint32_t response = 0xffffffff;
  std::array<std::byte, kDoorbellSize> bell{};
  (void)encode_doorbell(
      {static_cast<std::uint32_t>(handle), reinterpret_cast<std::uint64_t>(&response)}, bell);
  return timed([&] { return write(fd, bell.data(), bell.size()); });
}

steady_clock::duration take_longest() {
  return longest.exchange({});
}

}  // namespace qmasq::test
