// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <vector>

#include "tests/support/fake_kernel.h"
#include "vbond/kernel/redirector.h"
#include "vbond/sealed/layout.h"
#include "vbond/sealed/sealed_memory.h"

namespace qmasq::test {

// Redirection in memory: answers what is sent or mapped as the kernel would, and the test plays the
// thread that comes back.
class FakeRedirector final : public vbond::Redirector {
 public:
  // --- switches
  bool traced = false;
  bool mapped = true;
  int running = 0;  // so many looks find a task that has a position on its way there
  std::function<void(Mapped&)> change_mapping = [](Mapped&) {};
  std::uint64_t heap_at = 0x5555'0000'0000;
  vbond::sealed::SealedMemory::Identity file{};
  std::map<pid_t, Position> positions;  // of who waits; others run
  // --- what was done
  std::uint64_t sent_to = 0;
  std::vector<Mapping> mappings;
  unsigned repeats = 0;

  Outcome send(vbond::NotificationPort& port, const vbond::Notification& call,
               const Trampoline& /*trampoline*/, std::uint64_t header) override {
    if (traced) return {Done::kTraced, 0};
    sent_to = header;
    (void)port.answer(call.id, 0, kRestart);
    return {Done::kSent, 0};
  }
  Outcome map(vbond::NotificationPort& port, const vbond::Notification& call,
              std::span<const Mapping> wanted, int /*descriptor*/) override {
    if (traced) return {Done::kTraced, 0};
    mappings.assign(wanted.begin(), wanted.end());
    mapped = true;
    (void)port.answer(call.id, 0, kRestart);
    return {Done::kRepeats, 0};
  }
  Outcome repeat(vbond::NotificationPort& port, const vbond::Notification& call) override {
    ++repeats;
    (void)port.answer(call.id, 0, kRestart);
    return {Done::kRepeats, 0};
  }
  vbond::ErrnoOr<std::size_t> look(pid_t /*tid*/, std::uint64_t /*end*/,
                                   std::span<Mapped> into) override {
    if (!mapped) return 0;
    std::size_t used = 0;
    for (std::size_t i = 0; i < vbond::sealed::kRanges && used < into.size(); ++i) {
      const auto range = vbond::sealed::range(i);
      Mapped out{range.address,
                 range.address + range.size,
                 true,
                 !range.sealed,
                 range.code,
                 range.sealed,
                 range.address - vbond::sealed::kBase,
                 file.device,
                 file.inode};
      change_mapping(out);
      into[used++] = out;
    }
    return used;
  }
  bool has(pid_t /*tid*/, std::uint64_t /*begin*/, std::uint64_t /*end*/, dev_t /*device*/,
           ino_t /*inode*/) override {
    return mapped;
  }
  vbond::ErrnoOr<std::uint64_t> heap(pid_t /*tid*/) override { return heap_at; }
  vbond::ErrnoOr<Position> position(pid_t tid) override {
    auto at = positions.find(tid);
    if (at == positions.end() || running-- > 0) return tl::unexpected(EAGAIN);
    return at->second;
  }

  static constexpr int kRestart = 513;  // ERESTARTNOINTR
};

}  // namespace qmasq::test
