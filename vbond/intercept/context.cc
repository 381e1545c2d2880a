// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/context.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

#include "vbond/events/event_log.h"
#include "vbond/intercept/quota.h"
#include "vbond/intercept/services.h"
#include "vbond/rename/renamer.h"
#include "vbond/uverbs/call_builder.h"

namespace qmasq::vbond {
namespace {

int run(Context& context, uverbs::CallBuilder& call) {
  auto sealed = call.seal();
  if (!sealed) return sealed.error();
  auto done = context.file->call(sealed->data());
  return done ? 0 : done.error();
}

}  // namespace

Context::Context(ContextInfo info_in, std::unique_ptr<VerbsFile> file_in, bool software_in,
                 std::uint32_t driver_in, TaskInspector::Holder holder_in,
                 std::shared_ptr<Tenancy> tenancy, InterceptMetrics& metrics)
    : info(std::move(info_in)),
      file(std::move(file_in)),
      software(software_in),
      driver_id(driver_in),
      queue_pairs(metrics),
      inventory(std::move(tenancy), static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE))),
      holder(holder_in) {}

int modify_queue_pair(Context& context, const uverbs::ModifyQp& command) {
  auto call =
      uverbs::CallBuilder::invoke_write(static_cast<std::uint32_t>(uverbs::WriteCommand::kModifyQp),
                                        context.driver_id.load(std::memory_order_relaxed));
  std::array<std::byte, uverbs::kModifyQpSize> core_in{};
  if (!uverbs::encode_modify_qp(command, uverbs::Form::kWrite, core_in)) return EINVAL;
  if (int err = call.add_in(uverbs::attr::kCoreIn, core_in); err != 0) return err;
  return run(context, call);
}

uverbs::ErrnoOr<uverbs::QueryQpResp> query_queue_pair(Context& context, std::uint32_t handle) {
  auto call =
      uverbs::CallBuilder::invoke_write(static_cast<std::uint32_t>(uverbs::WriteCommand::kQueryQp),
                                        context.driver_id.load(std::memory_order_relaxed));
  std::array<std::byte, uverbs::kQueryQpSize> core_in{};
  // The kernel fills in all it has, whatever is asked for; some drivers look at the mask.
  constexpr std::uint32_t kAsked = uverbs::qp_mask::kState | uverbs::qp_mask::kAv |
                                   uverbs::qp_mask::kDestQpn | uverbs::qp_mask::kAccessFlags;
  if (!uverbs::encode_query_qp({handle, kAsked}, core_in)) return tl::unexpected(EINVAL);
  int err = call.add_in(uverbs::attr::kCoreIn, core_in);
  if (err == 0) err = call.add_out(uverbs::attr::kCoreOut, uverbs::kQueryQpRespSize);
  if (err == 0) err = run(context, call);
  if (err != 0) return tl::unexpected(err);
  return uverbs::decode_query_qp_resp(call.out(uverbs::attr::kCoreOut));
}

int destroy_queue_pair(Context& context, std::uint32_t handle) {
  constexpr std::size_t kResponse = 4;  // struct ib_uverbs_destroy_qp_resp
  uverbs::CallBuilder call(static_cast<std::uint16_t>(uverbs::Object::kQp), 1,
                           context.driver_id.load(std::memory_order_relaxed));
  if (int err = call.add_idr(uverbs::attr::kDestroyQpHandle, handle); err != 0) return err;
  if (int err = call.add_out(uverbs::attr::kDestroyQpResp, kResponse); err != 0) return err;
  return run(context, call);
}

int destroy_address_handle(Context& context, std::uint32_t handle) {
  uverbs::CallBuilder call(static_cast<std::uint16_t>(uverbs::Object::kAh), 0,
                           context.driver_id.load(std::memory_order_relaxed));
  if (int err = call.add_idr(uverbs::attr::kDestroyAhHandle, handle); err != 0) return err;
  return run(context, call);
}

int destroy_counted(Context& context, qos::Resource kind, std::uint32_t handle) {
  auto object = uverbs::Object::kMr;
  std::uint16_t response = 0;  // attribute
  std::size_t size = 0;        // of it
  if (kind == qos::Resource::kCompletionQueues) {
    object = uverbs::Object::kCq;
    response = uverbs::attr::kDestroyCqResp;
    size = 8;  // struct ib_uverbs_destroy_cq_resp
  } else if (kind == qos::Resource::kSharedReceiveQueues) {
    object = uverbs::Object::kSrq;
    response = uverbs::attr::kDestroySrqResp;
    size = 4;  // struct ib_uverbs_destroy_srq_resp
  }
  uverbs::CallBuilder call(static_cast<std::uint16_t>(object), uverbs::kMethodDestroy,
                           context.driver_id.load(std::memory_order_relaxed));
  if (int err = call.add_idr(uverbs::attr::kDestroyHandle, handle); err != 0) return err;
  if (size != 0) {
    if (int err = call.add_out(response, size); err != 0) return err;
  }
  return run(context, call);
}

int destroy_uncounted(Context& context, uverbs::Object object, std::uint32_t handle) {
  std::uint16_t method = uverbs::kMethodDestroySole;
  std::uint16_t attribute = uverbs::attr::kDestroyHandle;
  switch (object) {
    case uverbs::Object::kPd:
    case uverbs::Object::kMw:
    case uverbs::Object::kXrcd:
      break;
    case uverbs::Object::kMlx5Uar:
      method = uverbs::kMethodFreeUar;
      attribute = uverbs::attr::kFreeUarHandle;
      break;
    default:
      return EINVAL;
  }
  uverbs::CallBuilder call(static_cast<std::uint16_t>(object), method,
                           context.driver_id.load(std::memory_order_relaxed));
  if (int err = call.add_idr(attribute, handle); err != 0) return err;
  return run(context, call);
}

namespace {

// REQUIRES: context.mutex held.
void destroy_all_counted(Context& context) {
  ContextObjects kernel(context);
  // In this order: an SRQ may have a CQ.
  for (auto kind : {qos::Resource::kMemoryRegions, qos::Resource::kSharedReceiveQueues,
                    qos::Resource::kCompletionQueues}) {
    auto handles = context.inventory.handles(kind);
    // What has run in the tenant and was not settled yet.
    if (context.inventory.in_doubt()) {
      if (auto listing = kernel.list(kind)) handles = std::move(listing->handles);
    }
    for (std::uint32_t handle : handles)
      (void)destroy_counted(context, kind, handle);
  }
  context.inventory.clear();
}

// QPs that were made behind the agent's back. REQUIRES: context.mutex held.
void find_smuggled(Context& context) {
  auto listing = ContextObjects(context).list(qos::Resource::kQueuePairs);
  if (!listing) return;
  for (std::uint32_t handle : listing->handles)
    context.queue_pairs.add(handle);
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
    const bool condemned = services.guard().state(context.slot).condemned;
    if (condemned) find_smuggled(context);
    // A QP that stays (its NIC is gone) goes with the file. So do address handles: without a QP
    // nothing can be sent to them.
    for (std::uint32_t handle : context.queue_pairs.handles())
      (void)destroy_queue_pair(context, handle);
    if (condemned) services.guard().release(context.slot);
    context.queue_pairs.clear();
    services.parts.renamer.context_closed(context.info);
    destroy_all_counted(context);
  }
  if (context.custody != nullptr) services.custody()->drop(context.custody);
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
