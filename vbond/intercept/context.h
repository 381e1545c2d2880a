// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "vbond/admission/inventory.h"
#include "vbond/guard/guard.h"
#include "vbond/intercept/address_handles.h"
#include "vbond/intercept/queue_pairs.h"
#include "vbond/kernel/task_inspector.h"
#include "vbond/kernel/verbs_device.h"
#include "vbond/rename/verdict.h"
#include "vbond/survival/custody.h"
#include "vbond/uverbs/abi.h"
#include "vbond/uverbs/qp.h"

namespace qmasq::vbond {

struct Services;

// A verbs device that a tenant has open, and the agent's own descriptor of the same open file, on
// which it executes verbs. Shared by the table, by calls on their way, and by the closer; the file
// closes with the last of them.
struct Context : std::enable_shared_from_this<Context> {
  Context(ContextInfo info_in, std::unique_ptr<VerbsFile> file_in, bool software_in,
          std::uint32_t driver_in, TaskInspector::Holder holder_in,
          std::shared_ptr<Tenancy> tenancy, InterceptMetrics& metrics);

  const ContextInfo info;
  const std::unique_ptr<VerbsFile> file;
  Guard::Slot slot = 0;  // set before anybody else has the context
  const bool software;   // rxe, siw: doorbells by write(), nothing but memory regions is pinned

  // As the tenant's calls carry it once one of them succeeded; until then what the driver's name
  // says, 0 unknown.
  std::atomic<std::uint32_t> driver_id;

  // Held while a verb of this context is decided and executed: Renamer wants the calls of a context
  // one at a time. Never held over an access to the tenant's memory.
  std::mutex mutex;
  bool closed = false;             // guarded by mutex; executes nothing any more
  QueuePairs queue_pairs;          // guarded by mutex
  AddressHandles address_handles;  // guarded by mutex; of software NICs
  Inventory inventory;             // guarded by mutex

  // Of the file, where it is to outlive the agent; set before anybody else has the context.
  Custody::Ticket custody;

  // For HolderWatch alone.
  std::mutex holder_mutex;
  TaskInspector::Holder holder;  // where the descriptor was seen last
  bool handed_over = false;      // false: not in the tenant yet
  unsigned misses = 0;
};

// Verbs of the agent's own; their errno. REQUIRES: context.mutex held, not closed.
[[nodiscard]] int modify_queue_pair(Context& context, const uverbs::ModifyQp& command);
[[nodiscard]] uverbs::ErrnoOr<uverbs::QueryQpResp> query_queue_pair(Context& context,
                                                                    std::uint32_t handle);
[[nodiscard]] int destroy_queue_pair(Context& context, std::uint32_t handle);
[[nodiscard]] int destroy_address_handle(Context& context, std::uint32_t handle);
// A CQ, an SRQ or a memory region.
[[nodiscard]] int destroy_counted(Context& context, qos::Resource kind, std::uint32_t handle);
// A PD, a memory window, an XRC domain or a doorbell page of mlx5. EINVAL: of another kind.
[[nodiscard]] int destroy_uncounted(Context& context, uverbs::Object object, std::uint32_t handle);

// Destroys the QPs, tells the Renamer, then destroys what else quotas count, and leaves the context
// closed for whoever still has it. They go one by one because the file may live on, in a socket's
// queue for instance. From then on nothing of the context is counted.
// `abandoned`: no process had it any more.
void close_context(Services& services, Context& context, const std::string& endpoint_name,
                   bool abandoned);

}  // namespace qmasq::vbond
