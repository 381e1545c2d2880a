// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/ending.h"

#include <chrono>
#include <map>
#include <thread>
#include <vector>

#include "vbond/intercept/attachment.h"
#include "vbond/intercept/context.h"
#include "vbond/intercept/services.h"

namespace qmasq::vbond {
namespace {

// A killed process gives its descriptors back when it comes to run; one that forks meanwhile is
// found by the next look.
constexpr int kLooks = 50;
constexpr std::chrono::milliseconds kBetween{20};

std::size_t end_holders(TaskInspector& tasks,
                        const std::vector<std::shared_ptr<Context>>& contexts) {
  std::vector<int> files;
  files.reserve(contexts.size());
  for (const auto& context : contexts)
    files.push_back(context->file->descriptor());
  std::size_t killed = 0;
  for (int look = 0; look < kLooks; ++look) {
    bool any = false;
    const auto holders = tasks.find_holders(files);
    for (std::size_t i = 0; i < holders.size(); ++i) {
      if (!holders[i]) continue;
      any = true;
      auto pid = tasks.process_of(holders[i]->pid);
      if (!pid) continue;
      auto still_has_it = [&] {
        auto order = tasks.compare(files[i], holders[i]->pid, holders[i]->fd);
        return order && *order == 0;
      };
      if (tasks.end(*pid, still_has_it) == 0) ++killed;
    }
    if (!any) break;
    std::this_thread::sleep_for(kBetween);
  }
  return killed;
}

// The program and its children, by process ids that may have been given to others: a process is
// ended if it is the one that was seen in the tree, and the tree is that of the program that
// attached.
std::size_t end_tree(TaskInspector& tasks, const Attachment& attachment) {
  auto is_root = [&] {
    auto now = tasks.started(attachment.pid);
    return attachment.started && now && *now == *attachment.started;
  };
  std::size_t killed = 0;
  for (int look = 0; look < kLooks && is_root(); ++look) {
    std::map<pid_t, std::uint64_t> seen;
    for (pid_t pid : tasks.descendants(attachment.pid)) {
      if (auto started = tasks.started(pid)) seen.emplace(pid, *started);
    }
    std::size_t now = 0;
    for (pid_t pid : tasks.descendants(attachment.pid)) {
      const auto at = seen.find(pid);
      if (at == seen.end()) continue;
      auto same = [&] {
        auto started = tasks.started(pid);
        return is_root() && started && *started == at->second;
      };
      if (tasks.end(pid, same) == 0) ++now;
    }
    killed += now;
    if (now == 0) break;
  }
  if (tasks.end(attachment.pid, is_root) == 0) ++killed;
  return killed;
}

}  // namespace

std::size_t end_workload(Services& services, Attachment& attachment,
                         const std::shared_ptr<Context>& context) {
  attachment.condemn();
  // What it did may have made a queue pair ready to talk: first of all.
  if (attachment.contexts().remove(*context))
    close_context(services, *context, attachment.endpoint_name, /*abandoned=*/false);
  std::vector<std::shared_ptr<Context>> contexts = attachment.contexts().close();
  attachment.bury(contexts, /*abandoned=*/false);
  contexts.push_back(context);
  const std::size_t children = end_tree(services.parts.tasks, attachment);
  return children + end_holders(services.parts.tasks, contexts);
}

}  // namespace qmasq::vbond
