// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/fuzz/intercept_script/draft.h"
#include "tests/fuzz/intercept_script/oracle.h"
#include "tests/fuzz/intercept_script/script.h"
#include "tests/support/agent_world.h"
#include "tests/support/fake_kernel.h"
#include "vbond/intercept/attachment.h"
#include "vbond/intercept/dispatcher.h"
#include "vbond/intercept/holder_watch.h"
#include "vbond/intercept/services.h"

namespace qmasq::fuzz {

// Ends the process, as a crash does: an invariant does not hold.
[[noreturn]] void violated(const std::string& what);

// Where a call of the agent's into the kernel can be disturbed.
enum class Point : std::uint8_t { kRead, kCall, kWrite };
struct Disturbance {
  Point point = Point::kRead;
  unsigned countdown = 1;    // the how-maniest of the trap
  std::function<int()> act;  // not 0: that access fails with it
};

// A host with the product's interception, renaming, tracking and admission, over the fake kernel,
// and the tenants that attack it. One thread, except for what closes contexts: the same input takes
// the same way. Every call into the kernel is judged as it comes (judge.cc), the tables are
// compared after each step (invariants.cc).
class Arena {
 public:
  explicit Arena(const Mode& mode);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  struct Task {
    pid_t process = 0;
    pid_t thread = 0;  // a second one, or 0
    std::size_t attachment = 0;
  };

  // --- what tenants do ---
  test::CallResult trap(const Task& task, bool second_thread, int nr,
                        std::vector<std::uint64_t> args);
  // Places it and calls ioctl(); what is let run runs then. 0: the header's address is not there.
  test::CallResult verb(const Task& task, bool second_thread, int fd, Draft& draft, bool scattered);
  // Of a call that verb() made: the handle that was written back into attribute 0.
  [[nodiscard]] std::uint32_t made_handle(const Task& task) const;
  [[nodiscard]] bool alive(const Task& task) const;
  void attach(EndpointUid endpoint);
  // Where the last call of verb() lies in its process's memory.
  [[nodiscard]] std::uint64_t last_header() const { return last_header_; }
  void poke(pid_t process, std::uint64_t address, std::span<const std::byte> bytes);
  // What the next call's memory says may not be what it was composed of.
  void unsound() { unsound_ = true; }
  // Something came between in the last trap.
  [[nodiscard]] bool was_disturbed() const { return was_disturbed_; }
  void disturb(Disturbance disturbance) { disturbances_.push_back(std::move(disturbance)); }

  // --- what the controller and the agent do ---
  // The agent hears of it; inside of a trap what follows from it waits for the trap's end, as the
  // enforcement thread waits for the context.
  void change(const vbond::Change& change);
  void set_nic(bool there);
  void look_for_holders();
  // Every thread has made another call: what ran in tenants is known after this.
  void settle_all();

  // --- invariants ---
  void check();
  // After settle_all(): to the last object.
  void check_settled();
  // All tasks are killed: nothing may be left.
  void finish();

  const Mode mode;
  Oracle now;
  test::AgentWorld world;
  test::FakeKernel kernel;
  std::vector<Task> tasks;
  // The destination that the call on its way names, where the input composed it soundly.
  std::optional<Gid> asked;
  // The input's own bytes have a physical address in them.
  bool knows_address = false;
  bool trace = false;

  static constexpr unsigned kReserved = 960;
  static constexpr unsigned kReservedCount = 8;

 private:
  struct Current {
    vbond::Attachment* attachment = nullptr;
    const Task* task = nullptr;
  };

  int disturbed(Point point);
  // judge.cc: not 0, or violated().
  int on_call(std::uint64_t file, const vbond::uverbs::Call& call);
  int on_write(std::span<const vbond::TenantMemory::Out> pieces);
  void judge_destination(EndpointUid own, const vbond::uverbs::QpDest& dest,
                         conntrack::Transport transport);
  void judge_modify(std::uint64_t file, const vbond::Context& owner,
                    const vbond::uverbs::Call& call);
  [[nodiscard]] conntrack::Transport transport(std::uint64_t file, std::uint64_t context,
                                               std::uint32_t handle) const;
  [[nodiscard]] std::shared_ptr<vbond::Context> context_of(std::uint64_t file) const;

  [[nodiscard]] bool may_run(std::string_view verb) const;
  void run_in_tenant(const Task& task, int fd, std::uint64_t header);
  void enforce();
  void check_context(const vbond::Attachment& attachment, vbond::Context& context);
  void check_queue_pairs(const vbond::Context& context, std::uint64_t file);
  void check_addresses(vbond::Context& context, std::uint64_t file);
  void check_counted(vbond::Context& context, std::uint64_t file);

  std::vector<vbond::Nic> nics_;
  vbond::Services services_;
  vbond::HolderWatch watch_;
  vbond::Dispatcher dispatcher_;
  std::vector<std::shared_ptr<vbond::Attachment>> attachments_;
  std::vector<conntrack::Effect> effects_;
  std::vector<EndpointUid> to_detach_;
  bool bars_ = false;  // rules have changed
  std::vector<Disturbance> disturbances_;
  Current current_;
  // What the controller said while the trap was on its way, from its beginning on; the last is
  // `now`.
  std::vector<Oracle> said_;
  bool tenant_executes_ = false;  // the kernel, what was let run
  bool unsound_ = false;
  bool was_disturbed_ = false;
  std::uint64_t last_header_ = 0;
  const std::thread::id main_ = std::this_thread::get_id();
};

}  // namespace qmasq::fuzz
