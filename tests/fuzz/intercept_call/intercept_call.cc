// SPDX-License-Identifier: Apache-2.0
#include <spdlog/spdlog.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "tests/unit/intercept/tenant.h"

// A hostile tenant: the input is both its memory and its calls. Byte 0 says which call: an ioctl, a
// write or an open; the next two where in its memory the argument points; the rest is the memory,
// mapped at kMemory, where inputs can point back into it. What the agent does must stay within
// its own memory, answer every call, and leave nothing of a physical address with the tenant.
namespace {

using namespace qmasq;  // NOLINT
using qmasq::test::AgentWorld;
using qmasq::test::Bench;

constexpr std::uint64_t kMemory = 0x10000;
constexpr std::size_t kMostMemory = 3UL * 4096;

bool contains(std::span<const std::byte> memory, const Gid& gid) {
  for (std::size_t i = 0; i + gid.raw.size() <= memory.size(); ++i) {
    if (std::memcmp(memory.data() + i, gid.raw.data(), gid.raw.size()) == 0) return true;
  }
  return false;
}

// An agent with one connected QP. Making it takes far longer than a call, so many inputs share one;
// it is made anew now and then, so that what a call left behind cannot pile up.
struct Target {
  Target() {
    fd = bench.open_device(bench.process);
    const std::uint32_t qp = bench.make_qp(bench.process, fd);
    (void)bench.verb(bench.process, fd,
                     Bench::modify_call(test::to_rtr(qp, AgentWorld::peer_virtual_gid())));
  }
  Bench bench;
  int fd = -1;
  unsigned calls = 0;
};

void attack(Target& target, std::span<const std::byte> input) {
  Bench& bench = target.bench;
  const auto kind = static_cast<std::uint8_t>(input[0]);
  std::uint16_t offset = 0;
  std::memcpy(&offset, input.data() + 1, sizeof(offset));
  auto memory = input.subspan(3).first(std::min(input.size() - 3, kMostMemory));
  const bool knows = contains(memory, AgentWorld::physical_gid()) ||
                     contains(memory, AgentWorld::peer_physical_gid());
  // At a fixed place: a process of its own with the device passed on.
  pid_t tenant = bench.kernel.add_process("tenant");
  bench.kernel.pass_fd(bench.process, target.fd, tenant, target.fd);
  bench.kernel.map_at(tenant, kMemory, memory);

  const auto descriptor = static_cast<std::uint64_t>(target.fd);
  test::CallResult result;
  switch (kind % 4) {
    case 0:
    case 1:
      result =
          bench.trap(tenant, SYS_ioctl, {descriptor, vbond::uverbs::kVerbsIoctl, kMemory + offset});
      break;
    case 2:
      result = bench.trap(tenant, SYS_write, {descriptor, kMemory + offset, memory.size()});
      break;
    default:
      result = bench.trap(tenant, kind < 128 ? SYS_openat : SYS_openat2,
                          {descriptor, kMemory + offset, kMemory, 24});
      break;
  }
  if (result.how == test::CallResult::How::kGone) __builtin_trap();  // nobody was killed
  auto after = bench.kernel.peek(tenant, kMemory, memory.size());
  if (!knows && (contains(after, AgentWorld::physical_gid()) ||
                 contains(after, AgentWorld::peer_physical_gid()))) {
    __builtin_trap();
  }
  bench.kernel.exit(tenant);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr unsigned kCallsOfOne = 1000;
  static std::unique_ptr<Target> target;
  if (target == nullptr || target->calls++ == kCallsOfOne) {
    spdlog::set_level(spdlog::level::off);
    target = std::make_unique<Target>();
  }
  if (size >= 4) attack(*target, std::as_bytes(std::span(data, size)));
  return 0;
}
