// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "tests/support/stub_nic.h"
#include "vbond/kernel/notification_port.h"
#include "vbond/kernel/task_inspector.h"
#include "vbond/kernel/tenant_memory.h"
#include "vbond/kernel/verbs_device.h"

namespace qmasq::test {

// What a trapped call came to, as the tenant sees it.
struct CallResult {
  enum class How { kReturned, kRan, kGone };
  How how = How::kGone;
  std::int64_t value = 0;
  int err = 0;
  friend bool operator==(const CallResult&, const CallResult&) = default;
};

// One kernel in memory behind all the seams of vbond/kernel: tasks with descriptor tables and
// memory, open files, listeners, a verbs device ("uverbs0", RDMA device "rxe0"), with true errnos.
// Thread-safe. It plays the tenant as well (add_process, map, trap ...).
class FakeKernel final : public vbond::TenantMemory,
                         public vbond::VerbsDevices,
                         public vbond::TaskInspector {
 public:
  static constexpr dev_t kVerbsDevice = 0xe7c0;
  static constexpr pid_t kAgent = 1;

  FakeKernel();
  ~FakeKernel() override;

  StubNic nic;

  // --- tenants ---
  pid_t add_process(const std::string& command, std::size_t open_files_limit = 1024);
  pid_t add_thread(pid_t process);
  pid_t fork(pid_t process);
  void exit(pid_t process);
  // A file of the process's own; `device` as in struct stat, 0 for no character device.
  int open_file(pid_t process, int fd, dev_t device = 0);
  int dup_to(pid_t process, int fd, int to);
  int close_fd(pid_t process, int fd);
  // The same open file in another process, as a socket would carry it.
  void pass_fd(pid_t from, int fd, pid_t to, int as);
  // Memory of a process; every piece ends right before an unmapped page.
  std::uint64_t map(pid_t process, std::span<const std::byte> bytes);
  std::uint64_t map(pid_t process, std::size_t size);
  void map_at(pid_t process, std::uint64_t address, std::span<const std::byte> bytes);
  std::vector<std::byte> peek(pid_t process, std::uint64_t address, std::size_t size);
  void poke(pid_t process, std::uint64_t address, std::span<const std::byte> bytes);
  // Takes back the piece that has this address, if there is one.
  void unmap(pid_t process, std::uint64_t address);

  // --- traps ---
  class Port;
  // A new listener for a filter that `process` put on itself.
  std::unique_ptr<vbond::NotificationPort> listen(pid_t process);
  // A call of this task waits; take the Notification to serve by hand, or let a receiver have it.
  vbond::Notification make_trap(pid_t tid, int nr, std::span<const std::uint64_t> args);
  // Puts it in the queue of the listener that the task is under.
  void post(const vbond::Notification& call);
  [[nodiscard]] std::optional<CallResult> result(std::uint64_t id);
  // Blocks until it is answered.
  CallResult wait(std::uint64_t id);
  // Nobody is under the listener any more.
  void hang_up(pid_t process);

  // --- the agent's side of files ---
  [[nodiscard]] std::size_t open_verbs_files() const;
  // Id of the file behind a tenant's descriptor, for StubNic; 0: none.
  [[nodiscard]] std::uint64_t file_of(pid_t process, int fd) const;
  [[nodiscard]] unsigned holder_searches() const;
  // Verbs files that the agent has open, and the file behind one of its descriptors; 0: none.
  [[nodiscard]] std::size_t agent_descriptors() const;
  [[nodiscard]] std::uint64_t file_behind(int own) const;
  // Times that a call was answered which had been answered before.
  [[nodiscard]] unsigned double_answers() const;

  // --- switches ---
  void fail_next_open(int err);
  void fail_next_inject(int err);
  void fail_next_read(int err);
  // The task dies after the next successful read of its memory, before anything is answered.
  void die_after_next_read();
  // Called before each access of the agent to a tenant's memory, without a lock: may play the
  // tenant, or anybody else. Not 0: the access fails with it. Set before there are threads.
  std::function<int(pid_t tid)> before_read;
  std::function<int(pid_t tid, std::span<const Out> pieces)> before_write;

  // --- TenantMemory ---
  int read(pid_t tid, std::span<const In> pieces) override;
  int write(pid_t tid, std::span<const Out> pieces) override;
  vbond::ErrnoOr<std::size_t> read_some(pid_t tid, std::uint64_t address,
                                        std::span<std::byte> bytes) override;
  // --- VerbsDevices ---
  vbond::ErrnoOr<std::unique_ptr<vbond::VerbsFile>> open(std::string_view node, int flags) override;
  vbond::ErrnoOr<std::unique_ptr<vbond::VerbsFile>> adopt(UniqueFd file) override;
  std::string node_of(dev_t device) override;
  std::string rdma_device_of(std::string_view node) override;
  // --- TaskInspector ---
  vbond::ErrnoOr<pid_t> process_of(pid_t tid) override;
  std::string command_of(pid_t pid) override;
  vbond::ErrnoOr<int> free_descriptor(pid_t tid, int first, int count) override;
  vbond::ErrnoOr<int> compare(int own, pid_t tid, int fd) override;
  vbond::ErrnoOr<int> compare(int own, int other) override;
  vbond::ErrnoOr<UniqueFd> take(pid_t tid, int fd) override;
  vbond::ErrnoOr<dev_t> device_of(pid_t tid, int fd) override;
  std::vector<std::optional<Holder>> find_holders(std::span<const int> own) override;
  vbond::ErrnoOr<std::uint64_t> started(pid_t pid) override;
  std::vector<pid_t> descendants(pid_t pid) override;
  int end(pid_t pid, const std::function<bool()>& still) override;

 private:
  class File;
  struct OpenFile {
    dev_t device = 0;
    unsigned references = 0;
  };
  struct Process {
    std::string command;
    std::size_t open_files_limit = 0;
    std::map<int, std::uint64_t> table;
    std::map<std::uint64_t, std::vector<std::byte>> memory;
    std::uint64_t next_address = 0x400000;
    pid_t listener = 0;  // process that it inherited its filter from
    pid_t parent = 0;    // 0: none
  };
  struct Listener {
    std::deque<vbond::Notification> queue;
    std::condition_variable arrived;
    std::set<pthread_t> kicked;
    UniqueFd read_end;
    UniqueFd write_end;
    bool hung_up = false;
  };

  // REQUIRES: mutex_ for all of these.
  Process* process_of_task(pid_t tid);
  void drop(std::uint64_t file);
  void die(pid_t process);
  std::byte* locate(Process& process, std::uint64_t address, std::size_t size, std::size_t& have);
  UniqueFd own_descriptor(std::uint64_t file);

  mutable std::mutex mutex_;
  std::condition_variable answered_;
  std::map<pid_t, Process> processes_;
  std::map<pid_t, pid_t> tasks_;  // tid -> process
  std::map<std::uint64_t, OpenFile> files_;
  std::map<int, std::uint64_t> own_;  // the agent's descriptors
  std::map<pid_t, std::shared_ptr<Listener>> listeners_;
  std::map<std::uint64_t, pid_t> calls_;  // notifications that stand, and their task
  std::map<std::uint64_t, CallResult> results_;
  pid_t next_pid_ = 100;
  std::uint64_t next_file_ = 1;
  std::uint64_t next_call_ = 1;
  unsigned holder_searches_ = 0;
  unsigned double_answers_ = 0;
  std::size_t agent_files_ = 0;
  int fail_open_ = 0;
  int fail_inject_ = 0;
  int fail_read_ = 0;
  bool die_after_read_ = false;
};

}  // namespace qmasq::test
