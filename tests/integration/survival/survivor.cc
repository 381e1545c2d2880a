// SPDX-License-Identifier: Apache-2.0
// A tenant that must not notice that its agent dies.
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <string>

#include "tests/integration/intercept/tenant_scenarios.h"
#include "tests/support/scenario.h"
#include "tests/support/tenant_verbs.h"
#include "vbond/uverbs/call_builder.h"
#include "vbond/uverbs/doorbell.h"
#include "vbond/uverbs/objects.h"
#include "vbond/uverbs/qp.h"

namespace qmasq::test {
namespace {

using namespace vbond::uverbs;  // NOLINT: the tenant speaks verbs

constexpr const char* kPeer = "10.0.0.2";

// Through all states, with a peer that there is.
int establish(int fd, int handle) {
  if (modify_qp(fd, handle, QpState::kInit) != 0 || connect_qp(fd, handle, kPeer) != 0) return -1;
  return modify_qp(fd, handle, QpState::kRts);
}

// Whether it is, and to the peer as the tenant named it.
bool is_sending(int fd, int handle) {
  auto builder =
      CallBuilder::invoke_write(static_cast<std::uint32_t>(WriteCommand::kQueryQp), kRxe);
  std::array<std::byte, kQueryQpSize> core_in{};
  (void)encode_query_qp({static_cast<std::uint32_t>(handle), 0}, core_in);
  (void)builder.add_in(attr::kCoreIn, core_in);
  (void)builder.add_out(attr::kCoreOut, kQueryQpRespSize);
  if (call(fd, builder) != 0) return false;
  auto answer = decode_query_qp_resp(builder.out(attr::kCoreOut));
  return answer && answer->state == QpState::kRts &&
         answer->dest.dgid == Gid::from_ip(parse_ip(kPeer).value());
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
  EXPECT(establish(fd, qp) == 0);
  EXPECT(is_sending(fd, qp));
  EXPECT(is_sending(fd, established));
  EXPECT(ring(fd, established) == static_cast<ssize_t>(kDoorbellSize));
  EXPECT(register_memory(fd) == -1 && errno == ENOTTY);
  const int cq = create_cq(fd);
  EXPECT(cq >= 0);
  const int other = create_qp(fd);
  EXPECT(other >= 0);
  EXPECT(modify_qp(fd, other, QpState::kInit) == 0);
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
  EXPECT(established >= 0 && establish(fd, established) == 0);
  for (int round = 0;; ++round) {
    (void)take_longest();
    if (one_round(fd, established, round) != 0) {
      std::printf("failed in round %d\n", round);
      std::fflush(stdout);
      return 1;
    }
    std::printf("%lld\n",
                static_cast<long long>(
                    std::chrono::duration_cast<std::chrono::microseconds>(take_longest()).count()));
    std::fflush(stdout);
  }
}

}  // namespace

int run_scenario(const std::string& name) {
  return name == "rounds" ? rounds() : 2;
}

}  // namespace qmasq::test
