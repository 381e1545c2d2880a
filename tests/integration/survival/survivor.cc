// SPDX-License-Identifier: Apache-2.0
// A tenant that must not notice that its agent dies.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/intercept/tenant_scenarios.h"
#include "tests/support/scenario.h"
#include "vbond/uverbs/call_builder.h"
#include "vbond/uverbs/doorbell.h"
#include "vbond/uverbs/objects.h"
#include "vbond/uverbs/qp.h"

namespace qmasq::test {
namespace {

using namespace vbond::uverbs;  // NOLINT: the tenant speaks verbs
using std::chrono::steady_clock;

constexpr auto kRxe = static_cast<std::uint32_t>(DriverId::kRxe);

steady_clock::duration longest{};

// Times what takes a trap.
template <typename Call>
auto timed(Call call) {
  const auto start = steady_clock::now();
  auto out = call();
  longest = std::max(longest, steady_clock::now() - start);
  return out;
}

int call(int fd, CallBuilder& builder) {
  auto sealed = builder.seal();
  if (!sealed) return errno = sealed.error(), -1;
  return timed([&] { return ioctl(fd, kVerbsIoctl, sealed->data()); });
}

int open_device() {
  return timed([] { return open("/dev/infiniband/uverbs0", O_RDWR | O_CLOEXEC); });
}

int create_qp(int fd) {
  CallBuilder builder(static_cast<std::uint16_t>(Object::kQp), 0, kRxe);
  std::array<std::byte, kQpCapSize> cap{};
  (void)builder.add_idr_new(attr::kCreateQpHandle);
  (void)builder.add_idr(attr::kCreateQpPd, 1);
  (void)builder.add_idr(attr::kCreateQpSendCq, 1);
  (void)builder.add_idr(attr::kCreateQpRecvCq, 1);
  (void)builder.add_const(attr::kCreateQpUserHandle, 1);
  (void)builder.add_in(attr::kCreateQpCap, cap);
  (void)builder.add_const(attr::kCreateQpType, static_cast<std::uint64_t>(QpType::kRc));
  (void)builder.add_out(attr::kCreateQpRespCap, kQpCapSize);
  (void)builder.add_out(attr::kCreateQpRespQpn, 4);
  if (call(fd, builder) != 0) return -1;
  std::uint32_t qpn = 0;
  std::memcpy(&qpn, builder.out(attr::kCreateQpRespQpn).data(), sizeof(qpn));
  return qpn == 0 ? -1 : static_cast<int>(*builder.handle(attr::kCreateQpHandle));
}

int destroy_qp(int fd, int handle) {
  CallBuilder builder(static_cast<std::uint16_t>(Object::kQp), 1, kRxe);
  (void)builder.add_idr(attr::kDestroyQpHandle, static_cast<std::uint32_t>(handle));
  (void)builder.add_out(attr::kDestroyQpResp, 4);
  return call(fd, builder);
}

int modify(int fd, const ModifyQp& command) {
  std::array<std::byte, kModifyQpSize> core_in{};
  (void)encode_modify_qp(command, Form::kWrite, core_in);
  auto builder =
      CallBuilder::invoke_write(static_cast<std::uint32_t>(WriteCommand::kModifyQp), kRxe);
  (void)builder.add_in(attr::kCoreIn, core_in);
  return call(fd, builder);
}

int connect_qp(int fd, int handle, const char* peer) {
  ModifyQp command;
  command.qp_handle = static_cast<std::uint32_t>(handle);
  command.attr_mask = qp_mask::kState;
  command.state = QpState::kInit;
  if (const int result = modify(fd, command); result != 0) return result;
  command.attr_mask = qp_mask::kState | qp_mask::kAv | qp_mask::kDestQpn | qp_mask::kPathMtu;
  command.state = QpState::kRtr;
  command.dest.dgid = Gid::from_ip(parse_ip(peer).value());
  command.dest.is_global = true;
  command.dest.sgid_index = 1;
  command.dest.port_num = 1;
  command.dest_qpn = Qpn{99};
  command.path_mtu = 3;
  return modify(fd, command);
}

int start_sending(int fd, int handle) {
  ModifyQp command;
  command.qp_handle = static_cast<std::uint32_t>(handle);
  command.attr_mask = qp_mask::kState;
  command.state = QpState::kRts;
  return modify(fd, command);
}

// Whether it is in this state with the peer, as the tenant named it.
bool leads_to(int fd, int handle, const char* peer, QpState state) {
  auto builder =
      CallBuilder::invoke_write(static_cast<std::uint32_t>(WriteCommand::kQueryQp), kRxe);
  std::array<std::byte, kQueryQpSize> core_in{};
  (void)encode_query_qp({static_cast<std::uint32_t>(handle), 0}, core_in);
  (void)builder.add_in(attr::kCoreIn, core_in);
  (void)builder.add_out(attr::kCoreOut, kQueryQpRespSize);
  if (call(fd, builder) != 0) return false;
  auto answer = decode_query_qp_resp(builder.out(attr::kCoreOut));
  return answer && answer->state == state &&
         answer->dest.dgid == Gid::from_ip(parse_ip(peer).value());
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

ssize_t ring(int fd, int handle) {
  std::uint32_t response = 0xffffffff;
  std::array<std::byte, kDoorbellSize> bell{};
  (void)encode_doorbell(
      {static_cast<std::uint32_t>(handle), reinterpret_cast<std::uint64_t>(&response)}, bell);
  return timed([&] { return write(fd, bell.data(), bell.size()); });
}

// Runs in the tenant, on a device that knows no verbs: ENOTTY.
int register_memory(int fd) {
  RegMr command;
  command.start = command.iova = 0x100000;
  command.length = 4096;
  command.pd_handle = 1;
  std::array<std::byte, kRegMrSize> core_in{};
  (void)encode_reg_mr(command, core_in);
  auto builder = CallBuilder::invoke_write(static_cast<std::uint32_t>(WriteCommand::kRegMr), kRxe);
  (void)builder.add_in(attr::kCoreIn, core_in);
  (void)builder.add_out(attr::kCoreOut, 12);
  return call(fd, builder);
}

int one_round(int fd, int established, int round) {
  const int pd = alloc_pd(fd);
  EXPECT(pd >= 0);
  const int qp = create_qp(fd);
  EXPECT(qp >= 0 && qp != pd);
  EXPECT(connect_qp(fd, qp, "10.0.0.2") == 0);
  EXPECT(start_sending(fd, qp) == 0);
  EXPECT(leads_to(fd, qp, "10.0.0.2", QpState::kRts));
  EXPECT(leads_to(fd, established, "10.0.0.2", QpState::kRts));
  EXPECT(ring(fd, established) == static_cast<ssize_t>(kDoorbellSize));
  EXPECT(register_memory(fd) == -1 && errno == ENOTTY);
  const int cq = create_cq(fd);
  EXPECT(cq >= 0);
  const int other = create_qp(fd);
  EXPECT(other >= 0);
  EXPECT(connect_qp(fd, other, "10.0.0.9") == -1 && errno == EHOSTUNREACH);
  EXPECT(destroy_cq(fd, cq) == 0);
  EXPECT(destroy_cq(fd, cq) == -1);
  EXPECT(destroy_qp(fd, other) == 0);
  EXPECT(destroy_qp(fd, qp) == 0);
  EXPECT(dealloc_pd(fd, pd) == 0);
  if (round % 4 == 0) {
    const int second = open_device();
    EXPECT(second >= 960 && second != fd);
    EXPECT(create_qp(second) >= 0);
    EXPECT(close(second) == 0);
  }
  return 0;
}

// Rounds until nobody reads what it prints any more; each prints the longest call of the round, µs.
int rounds() {
  const int fd = open_device();
  EXPECT(fd >= 0);
  const int established = create_qp(fd);
  EXPECT(established >= 0 && connect_qp(fd, established, "10.0.0.2") == 0 &&
         start_sending(fd, established) == 0);
  for (int round = 0;; ++round) {
    longest = {};
    if (one_round(fd, established, round) != 0) {
      std::printf("failed in round %d\n", round);
      std::fflush(stdout);
      return 1;
    }
    std::printf("%lld\n",
                static_cast<long long>(
                    std::chrono::duration_cast<std::chrono::microseconds>(longest).count()));
    std::fflush(stdout);
  }
}

}  // namespace

int run_scenario(const std::string& name) {
  return name == "rounds" ? rounds() : 2;
}

}  // namespace qmasq::test
