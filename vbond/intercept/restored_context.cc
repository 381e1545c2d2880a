// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/restored_context.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unordered_map>

#include "vbond/events/event_log.h"
#include "vbond/intercept/quota.h"
#include "vbond/intercept/services.h"
#include "vbond/rename/renamer.h"
#include "vbond/survival/ledger.h"
#include "vbond/uverbs/objects.h"

namespace qmasq::vbond {
namespace {

using uverbs::CallBuilder;
using uverbs::Handler;
using uverbs::Object;

// In one attribute.
constexpr std::size_t kMostListed = 0xffff / sizeof(std::uint32_t);

// What the slots of calls that were on their way say of objects that were being made.
struct Made {
  std::unordered_map<std::uint32_t, JournaledConnection> queue_pairs;  // by handle
  std::unordered_map<std::uint32_t, std::uint32_t> address_handles;    // handle to agent's number
};

void take_slot(const CallSlot& slot, Made& out) {
  const CallStage stage = slot.stage.load(std::memory_order_acquire);
  if (stage != CallStage::kExecuting && stage != CallStage::kExecuted) return;
  const auto builder = CallBuilder::from_image(slot.call);
  auto header = uverbs::decode_header(slot.call.header);
  if (!builder || !header) return;
  auto call =
      uverbs::decode_call(std::span<const std::byte>(slot.call.header).first(header->length));
  if (!call) return;
  const uverbs::Verb& verb = *uverbs::find_verb(*call);
  if (verb.handler != Handler::kCreateQp && verb.handler != Handler::kCreateAh) return;
  const auto handle = uverbs::decode_made_handle(*builder, verb);
  if (!handle) return;
  if (verb.handler == Handler::kCreateAh) {
    out.address_handles[*handle] = slot.number;
    return;
  }
  JournaledConnection made;
  made.key = {slot.context, *handle};
  made.type = static_cast<uverbs::QpType>(slot.type);
  if (auto response = uverbs::decode_create_qp_resp(*builder, verb)) made.qpn = response->qpn;
  out.queue_pairs[*handle] = made;
}

void restore_queue_pairs(Services& services, Context& context, const std::string& endpoint_name,
                         std::unordered_map<std::uint32_t, JournaledConnection>& known) {
  auto handles = handles_of(context, Object::kQp);
  if (!handles) return;
  // The kernel lists the newest of very many.
  if (handles->size() == kMostListed) {
    for (const auto& [handle, each] : known)
      handles->push_back(handle);
    std::sort(handles->begin(), handles->end());
    handles->erase(std::unique(handles->begin(), handles->end()), handles->end());
  }
  for (std::uint32_t handle : *handles) {
    auto kernel = query_queue_pair(context, handle);
    if (!kernel) continue;  // of a NIC that is gone; or destroyed just now, on hardware
    Renamer::RestoredQp found;
    if (auto at = known.find(handle); at != known.end()) found.known = at->second;
    found.known.key = {context.info.id, handle};
    found.kernel = *kernel;
    services.parts.renamer.restore_qp(context.info, endpoint_name, found);
    context.queue_pairs.add(handle);
  }
}

void restore_address_handles(Services& services, Context& context, const std::string& endpoint_name,
                             std::span<const JournaledConnection> journaled, const Made& made) {
  std::unordered_map<std::uint32_t, JournaledConnection> by_handle;
  for (const JournaledConnection& each : journaled) {
    if (!is_address_handle(each.key)) continue;
    context.address_handles.used(each.key.handle);
    JournaledConnection known = each;
    for (const auto& [handle, number] : made.address_handles) {
      if (number == each.key.handle) known.address_handle = handle;
    }
    // Of one that is still to be made the journal does not have the handle.
    if (known.address_handle != 0) by_handle[known.address_handle] = known;
  }
  if (!context.software) return;
  auto handles = handles_of(context, Object::kAh);
  if (!handles) return;
  for (std::uint32_t handle : *handles) {
    auto known = by_handle.find(handle);
    if (known != by_handle.end()) {
      (void)context.address_handles.add(handle, known->second.key.handle);
      services.parts.renamer.restore_ah(context.info, endpoint_name, known->second);
      continue;
    }
    const int err = destroy_address_handle(context, handle);
    if (err == 0) context.address_handles.cut(handle);
    Event event;
    event.type = EventType::kCut;
    event.endpoint = endpoint_name;
    event.pid = context.info.pid;
    event.command = context.info.command;
    event.err = err;
    event.reason = fmt::format(
        "an address handle made before the agent started again, and the journal does not say to "
        "whom: destroyed on {}",
        context.info.nic);
    services.parts.events.record(std::move(event));
  }
}

}  // namespace

ErrnoOr<std::vector<std::uint32_t>> handles_of(Context& context, Object object) {
  for (std::size_t room = 256;; room = std::min(kMostListed, room * 16)) {
    CallBuilder call(static_cast<std::uint16_t>(Object::kDevice), uverbs::kMethodInfoHandles,
                     context.driver_id.load(std::memory_order_relaxed));
    int err = call.add_const(uverbs::attr::kInfoHandlesObject, static_cast<std::uint64_t>(object));
    if (err == 0) err = call.add_out(uverbs::attr::kInfoHandlesTotal, sizeof(std::uint32_t));
    if (err == 0) err = call.add_out(uverbs::attr::kInfoHandlesList, room * sizeof(std::uint32_t));
    if (err != 0) return tl::unexpected(err);
    auto sealed = call.seal();
    if (!sealed) return tl::unexpected(sealed.error());
    if (auto done = context.file->call(sealed->data()); !done) return tl::unexpected(done.error());
    std::uint32_t total = 0;
    std::memcpy(&total, call.out(uverbs::attr::kInfoHandlesTotal).data(), sizeof(total));
    if (total >= room && room < kMostListed) continue;  // the kernel stops at what fits
    std::vector<std::uint32_t> out(std::min<std::size_t>(total, room));
    const auto list = call.out(uverbs::attr::kInfoHandlesList);
    if (!out.empty()) std::memcpy(out.data(), list.data(), out.size() * sizeof(std::uint32_t));
    return out;
  }
}

std::optional<Object> made_object(const uverbs::Verb& verb) {
  switch (verb.handler) {
    case Handler::kCreateQp:
      return Object::kQp;
    case Handler::kCreateCq:
      return Object::kCq;
    case Handler::kCreateSrq:
    case Handler::kCreateXsrq:
      return Object::kSrq;
    case Handler::kCreateAh:
      return Object::kAh;
    case Handler::kOpenXrcd:
      return Object::kXrcd;
    case Handler::kAllocPd:
      return Object::kPd;
    case Handler::kAllocMw:
      return Object::kMw;
    case Handler::kAllocUar:
      return Object::kMlx5Uar;
    default:
      return std::nullopt;
  }
}

std::optional<Object> destroyed_object(const uverbs::Verb& verb) {
  switch (verb.handler) {
    case Handler::kDestroyQp:
      return Object::kQp;
    case Handler::kDestroyCq:
      return Object::kCq;
    case Handler::kDestroySrq:
      return Object::kSrq;
    case Handler::kDeregMr:
      return Object::kMr;
    case Handler::kDestroyAh:
      return Object::kAh;
    case Handler::kCloseXrcd:
      return Object::kXrcd;
    case Handler::kDeallocPd:
      return Object::kPd;
    case Handler::kDeallocMw:
      return Object::kMw;
    case Handler::kFreeUar:
      return Object::kMlx5Uar;
    default:
      return std::nullopt;
  }
}

void forget_made(Services& services, Context& context, const uverbs::Verb& verb,
                 std::uint32_t handle) {
  if (verb.handler == Handler::kCreateQp) {
    if (destroy_queue_pair(context, handle) != 0) return;
    context.inventory.gone(qos::Resource::kQueuePairs, handle);
    services.parts.renamer.qp_destroyed(context.info, handle);
    context.queue_pairs.remove(handle);
  } else if (verb.handler == Handler::kCreateAh) {
    const auto held = context.address_handles.find(handle);
    if (held && held->in_kernel && destroy_address_handle(context, handle) != 0) return;
    context.address_handles.remove(handle);
    if (held && held->number)
      services.parts.renamer.ah_destroyed(QpKey{context.info.id, *held->number});
  } else if (auto kind = made_by(verb)) {
    if (destroy_counted(context, *kind, handle) == 0) context.inventory.gone(*kind, handle);
  } else if (auto object = made_object(verb)) {
    (void)destroy_uncounted(context, *object, handle);
  }
}

void restore_context(Services& services, Context& context, const std::string& endpoint_name,
                     std::span<const JournaledConnection> journaled,
                     std::span<CallSlot* const> slots) {
  Made made;
  for (const CallSlot* slot : slots) {
    if (slot->context == context.info.id) take_slot(*slot, made);
  }
  std::lock_guard lock(context.mutex);
  auto& known = made.queue_pairs;
  for (const JournaledConnection& each : journaled) {
    if (!is_address_handle(each.key)) known.insert_or_assign(each.key.handle, each);
  }
  restore_queue_pairs(services, context, endpoint_name, known);
  restore_address_handles(services, context, endpoint_name, journaled, made);
  // Everything that is there is found to be new to the books, and charged.
  ContextObjects kernel(context);
  for (auto kind : {qos::Resource::kQueuePairs, qos::Resource::kCompletionQueues,
                    qos::Resource::kSharedReceiveQueues, qos::Resource::kMemoryRegions}) {
    (void)context.inventory.settle(kind, kernel, [](const Flight&) { return false; });
  }
}

}  // namespace qmasq::vbond
