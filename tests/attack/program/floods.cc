// SPDX-License-Identifier: Apache-2.0
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/attack/program/attack.h"

namespace qmasq::attack {

int descriptor_flood(const std::string& device, int count, int hold_seconds) {
  rlimit limit{};
  (void)::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
  std::vector<probe::Context> contexts;
  int err = 0;
  while (contexts.size() < static_cast<std::size_t>(count)) {
    probe::Context context = probe::open_device(device);
    if (!context) {
      err = errno;
      break;
    }
    contexts.push_back(std::move(context));
  }
  std::printf("{\"opened\":%zu,\"failed\":\"%s\"}\n", contexts.size(), errno_name(err).c_str());
  std::fflush(stdout);
  ::sleep(static_cast<unsigned>(hold_seconds));
  return 0;
}

int length_flood(const std::string& device, int threads, int seconds) {
  Rig rig(device);
  if (!rig.error().empty()) {
    std::printf("{\"device\":\"%s\"}\n", rig.error().c_str());
    return 1;
  }
  constexpr std::uint16_t kMost = 0xffff;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  std::atomic<std::uint64_t> calls{0};
  std::atomic<std::uint64_t> taken{0};
  auto work = [&] {
    std::vector<std::byte> large(kMost);
    std::uint64_t entries = 0;
    while (std::chrono::steady_clock::now() < end) {
      Method table(UVERBS_OBJECT_DEVICE, UVERBS_METHOD_QUERY_GID_TABLE);
      table.value(UVERBS_ATTR_QUERY_GID_TABLE_ENTRY_SIZE, sizeof(ib_uverbs_gid_entry))
          .value(UVERBS_ATTR_QUERY_GID_TABLE_FLAGS, 0)
          .out(UVERBS_ATTR_QUERY_GID_TABLE_RESP_ENTRIES, large.data(), kMost - 15)
          .out(UVERBS_ATTR_QUERY_GID_TABLE_RESP_NUM_ENTRIES, &entries, 8);
      if (table.run(rig.fd()) == 0) ++taken;
      // Arguments and answers of every length that an attribute can have.
      Method invoke(UVERBS_OBJECT_DEVICE, UVERBS_METHOD_INVOKE_WRITE);
      invoke.in(UVERBS_ATTR_CORE_IN, large.data(), kMost)
          .out(UVERBS_ATTR_CORE_OUT, large.data(), kMost)
          .in(UVERBS_ATTR_UHW_IN, large.data(), kMost)
          .out(UVERBS_ATTR_UHW_OUT, large.data(), kMost)
          .value(UVERBS_ATTR_WRITE_CMD, IB_USER_VERBS_CMD_QUERY_QP);
      if (invoke.run(rig.fd()) == 0) ++taken;
      calls += 2;
    }
  };
  std::vector<std::thread> pool;
  pool.reserve(static_cast<std::size_t>(threads));
  for (int i = 0; i < threads; ++i)
    pool.emplace_back(work);
  for (std::thread& each : pool)
    each.join();
  std::printf("{\"calls\":%llu,\"taken\":%llu}\n", static_cast<unsigned long long>(calls.load()),
              static_cast<unsigned long long>(taken.load()));
  return 0;
}

}  // namespace qmasq::attack
