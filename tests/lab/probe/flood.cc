// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>

#include "tests/lab/probe/probe.h"

namespace qmasq::probe {

// As many control verbs as it can for so long; prints how many it made.
int flood(const std::string& device, int seconds) {
  Context context = open_device(device);
  if (!context) {
    std::printf("{\"open\":\"%s\"}\n", errno_name(errno).c_str());
    return 1;
  }
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  std::uint64_t verbs = 0;
  while (std::chrono::steady_clock::now() < end) {
    ibv_port_attr port{};
    if (ibv_query_port(context.get(), 1, &port) != 0) return 1;
    ibv_gid gid{};
    if (ibv_query_gid(context.get(), 1, 1, &gid) != 0) return 1;
    ibv_pd* pd = ibv_alloc_pd(context.get());
    if (pd == nullptr || ibv_dealloc_pd(pd) != 0) return 1;
    verbs += 4;
  }
  std::printf("{\"verbs\":%llu}\n", static_cast<unsigned long long>(verbs));
  return 0;
}

}  // namespace qmasq::probe
