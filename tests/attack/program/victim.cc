// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>

#include "tests/attack/program/attack.h"

namespace qmasq::attack {

int victim(const std::string& device, const std::string& peer_gid, int gid_index, int seconds) {
  constexpr std::uint64_t kOwn = 0x1111111111111111ULL;
  auto gid = gid_of(peer_gid);
  Rig rig(device);
  if (!gid || !rig.error().empty()) {
    std::printf("{\"error\":\"%s\"}\n", rig.error().c_str());
    return 2;
  }
  rig.memory().fill(kOwn);
  Target peer;
  peer.gid = *gid;
  peer.gid_index = static_cast<std::uint8_t>(gid_index);
  peer.qpn = 17;  // nobody: its packets are never sent
  int err = to_rtr(rig.qp(), peer);
  if (err == 0) err = to_rts(rig.qp());
  if (err != 0) {
    std::printf("{\"error\":\"RTR, RTS: %s\"}\n", errno_name(err).c_str());
    return 2;
  }
  std::printf(
      "{\"qpn\":%u,\"rkey\":%u,\"address\":%llu}\n", rig.qp()->qp_num, rig.mr()->rkey,
      static_cast<unsigned long long>(reinterpret_cast<std::uint64_t>(rig.memory().data())));
  std::fflush(stdout);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  bool changed = false;
  while (std::chrono::steady_clock::now() < end) {
    ::usleep(20'000);
    for (std::uint64_t& word : rig.memory()) {
      if (std::atomic_ref(word).load() != kOwn && !changed) {
        changed = true;
        std::printf("{\"changed\":true}\n");
        std::fflush(stdout);
      }
    }
  }
  return 0;
}

}  // namespace qmasq::attack
