// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "vbond/intercept/context.h"
#include "vbond/kernel/errno_or.h"
#include "vbond/kernel/task_inspector.h"

namespace qmasq::vbond {

// The contexts of one attachment, found by a tenant's descriptor.
//
// A descriptor number says nothing: the tenant may have moved it by dup(), closed it and put
// another file there, or share it over threads, forks and sockets. So every answer is proved by
// comparing the open files (kcmp), one system call when the same task asks again by the same
// number; otherwise a binary search in the kernel's order of files.
//
// Thread-safe.
class ContextTable {
 public:
  explicit ContextTable(TaskInspector& tasks) : tasks_(tasks) {}

  // False: closed.
  [[nodiscard]] bool add(std::shared_ptr<Context> context);
  // The context with the same file if there is one, else this one, now in. ENODEV: closed.
  [[nodiscard]] ErrnoOr<std::shared_ptr<Context>> add_or_find(std::shared_ptr<Context> context);
  // False: it was not there (any more).
  bool remove(const Context& context);
  // Takes all out and lets nothing in any more.
  [[nodiscard]] std::vector<std::shared_ptr<Context>> close();

  // The context behind the task's descriptor. EBADF: no such descriptor, ENOENT: a file that is no
  // context of this table, ESRCH: no such task.
  [[nodiscard]] ErrnoOr<std::shared_ptr<Context>> find(pid_t tid, int fd);
  // Has this file of the agent's.
  [[nodiscard]] bool has_file(int own);

  [[nodiscard]] std::vector<std::shared_ptr<Context>> all() const;
  [[nodiscard]] std::size_t size() const;

 private:
  void insert(std::shared_ptr<Context> context);  // REQUIRES: mutex_
  // compare(own descriptor) says how a context's file stands to the wanted one. REQUIRES: mutex_.
  template <typename Compare>
  [[nodiscard]] ErrnoOr<std::shared_ptr<Context>> search(Compare compare) const;

  TaskInspector& tasks_;
  mutable std::mutex mutex_;
  bool closed_ = false;
  std::vector<std::shared_ptr<Context>> contexts_;  // in the kernel's order of files
  // Where a descriptor of a task led last. Never trusted, only tried first.
  std::unordered_map<std::uint64_t, std::weak_ptr<Context>> hints_;
};

}  // namespace qmasq::vbond
