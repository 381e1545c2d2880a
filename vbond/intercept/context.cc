// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/context.h"

#include "vbond/events/event_log.h"
#include "vbond/intercept/services.h"
#include "vbond/rename/renamer.h"
#include "vbond/uverbs/call_builder.h"

namespace qmasq::vbond {
namespace {

void destroy_queue_pair(Context& context, std::uint32_t handle) {
  uverbs::CallBuilder call(static_cast<std::uint16_t>(uverbs::Object::kQp), 1,
                           context.driver_id.load(std::memory_order_relaxed));
  constexpr std::size_t kResponse = 4;  // struct ib_uverbs_destroy_qp_resp
  if (call.add_idr(uverbs::attr::kDestroyQpHandle, handle) != 0) return;
  if (call.add_out(uverbs::attr::kDestroyQpResp, kResponse) != 0) return;
  auto sealed = call.seal();
  // A QP that stays (its NIC is gone) goes with the file.
  if (sealed) (void)context.file->call(sealed->data());
}

}  // namespace

void close_context(Services& services, Context& context, const std::string& endpoint_name,
                   bool abandoned) {
  std::size_t queue_pairs = 0;
  {
    std::lock_guard lock(context.mutex);
    if (context.closed) return;
    context.closed = true;
    queue_pairs = context.queue_pairs.size();
    for (const auto& [handle, type] : context.queue_pairs)
      destroy_queue_pair(context, handle);
    context.queue_pairs.clear();
    context.queue_pair_count = 0;
    services.parts.renamer.context_closed(context.info);
  }
  services.metrics.add_queue_pairs(-static_cast<int>(queue_pairs));
  services.metrics.add_contexts(-1);
  if (abandoned) services.metrics.count_abandoned();
  Event event;
  event.type = EventType::kContextClosed;
  event.endpoint = endpoint_name;
  event.pid = context.info.pid;
  event.command = context.info.command;
  event.reason = context.info.nic + ": " +
                 (abandoned ? "no process has it open any more" : "detached") + ", " +
                 std::to_string(queue_pairs) + " QPs destroyed with it";
  services.parts.events.record(std::move(event));
}

}  // namespace qmasq::vbond
