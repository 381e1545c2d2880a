// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <vector>

#include "vbond/intercept/context.h"

namespace qmasq::vbond {

class Attachment;
struct Services;

// Finds contexts that no process has open any more.
//
// The agent keeps a descriptor of every verbs file that it opened, because it executes verbs on it
// and must be able to cut a connection whatever the tenant does. The price: the kernel no longer
// sees the last close, so QPs and memory would stay for as long as the agent lives. There is no
// event for "all but one descriptor of this file are closed" (fanotify, leases and epoll all speak
// of the last), so it is looked for:
//
// 1. Each context remembers where its descriptor was seen last, at first the number in the process
//    that opened it. One kcmp() tells whether it is still there; that is done for all contexts
//    every few hundred milliseconds. In a program that runs, or that exits with its devices closed
//    or not, this is all that ever happens, and no process id can deceive it by being used again:
//    it is the file that is compared.
// 2. Where it is not, all descriptor tables of the host are searched for the file (dup(), fork(),
//    a socket carried it elsewhere), for all suspects at once. A hit is remembered as in 1.
// 3. Twice no hit, in searches one after the other (a fork can slip through one): nobody has it.
// The
//    QPs are destroyed, the agent's descriptor is closed, the kernel cleans up.
//
// What 2 cannot see: a descriptor that waits in a socket's queue, a file held by a mapping or by an
// io_uring alone. Such a context loses its QPs too, which no honest program notices: it has no
// descriptor to use them with.
//
// Searches cost the agent at most a tenth of one CPU, however many tenants provoke them: after one
// that took t, the next may start 10 t later. An attachment that opens and closes devices in a fast
// loop runs into max_contexts, and then searches in its own thread (collect), at its own cost.
class HolderWatch {
 public:
  explicit HolderWatch(Services& services) : services_(services) {}

  // One round over all; contexts found abandoned are taken out of their table and given to their
  // attachment to close. Called from one thread every options.holder_check.
  void round(const std::vector<std::shared_ptr<Attachment>>& attachments);
  // Steps 1 to 3 at once for one attachment. True when a context went.
  bool collect(Attachment& attachment);

 private:
  using Contexts = std::vector<std::shared_ptr<Context>>;
  // Those that are not where they were.
  [[nodiscard]] Contexts suspects(const Contexts& contexts);
  // Searches; returns those that were missed for the `limit`th time.
  [[nodiscard]] Contexts search(const Contexts& suspects, unsigned limit);

  Services& services_;
  std::mutex mutex_;  // one search at a time; guards next_search_
  std::chrono::steady_clock::time_point next_search_{};
};

}  // namespace qmasq::vbond
