// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/quota.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "vbond/intercept/context.h"
#include "vbond/intercept/holder_watch.h"
#include "vbond/uverbs/call_builder.h"

namespace qmasq::vbond {
namespace {

using qos::Resource;
using qos::VerbKind;
using uverbs::Handler;

// All of them, wherever they are made: what the agent executes it knows, but where a tenant may
// open the device itself it can also make objects by write().
constexpr std::array kCounted = {Resource::kQueuePairs, Resource::kCompletionQueues,
                                 Resource::kSharedReceiveQueues, Resource::kMemoryRegions};

uverbs::Object object_of(Resource kind) {
  switch (kind) {
    case Resource::kQueuePairs:
      return uverbs::Object::kQp;
    case Resource::kCompletionQueues:
      return uverbs::Object::kCq;
    case Resource::kSharedReceiveQueues:
      return uverbs::Object::kSrq;
    case Resource::kMemoryRegions:
    case Resource::kPinnedBytes:
      break;
  }
  return uverbs::Object::kMr;
}

int run(Context& context, uverbs::CallBuilder& call) {
  auto sealed = call.seal();
  if (!sealed) return sealed.error();
  auto done = context.file->call(sealed->data());
  return done ? 0 : done.error();
}

std::uint32_t driver_of(const Context& context) {
  return context.driver_id.load(std::memory_order_relaxed);
}

}  // namespace

qos::VerbKinds kinds_of(const uverbs::Verb& verb) {
  if (verb.key.form == uverbs::Form::kWrite &&
      verb.key.method == static_cast<std::uint16_t>(uverbs::WriteCommand::kReqNotifyCq)) {
    return {};
  }
  switch (verb.handler) {
    case Handler::kModifyQp:
      return {};
    case Handler::kCreateQp:
      return {VerbKind::kVerbs, VerbKind::kQueuePairs};
    case Handler::kCreateAh:
      return {VerbKind::kVerbs, VerbKind::kConnects};
    default:
      return {VerbKind::kVerbs};
  }
}

bool admit(Trap& trap, std::string_view verb, qos::VerbKinds kinds) {
  Tenancy& tenancy = *trap.attachment.tenancy;
  if (!tenancy.rated() || kinds.empty()) return true;
  if (tenancy.admit(kinds, {verb, trap.tid(), trap.attachment.command})) return true;
  trap.over_rate = true;
  return false;
}

std::optional<Resource> made_by(const uverbs::Verb& verb) {
  switch (verb.handler) {
    case Handler::kCreateQp:
      return Resource::kQueuePairs;
    case Handler::kCreateCq:
      return Resource::kCompletionQueues;
    case Handler::kCreateSrq:
    case Handler::kCreateXsrq:
      return Resource::kSharedReceiveQueues;
    case Handler::kRegMr:
      return Resource::kMemoryRegions;
    default:
      return std::nullopt;
  }
}

std::optional<Resource> destroyed_by(const uverbs::Verb& verb) {
  switch (verb.handler) {
    case Handler::kDestroyQp:
      return Resource::kQueuePairs;
    case Handler::kDestroyCq:
      return Resource::kCompletionQueues;
    case Handler::kDestroySrq:
      return Resource::kSharedReceiveQueues;
    case Handler::kDeregMr:
      return Resource::kMemoryRegions;
    default:
      return std::nullopt;
  }
}

tl::expected<Charge, Answer> reserve(Trap& trap, std::string_view verb,
                                     const qos::Amounts& amounts) {
  const std::shared_ptr<Tenancy>& tenancy = trap.attachment.tenancy;
  auto over = tenancy->reserve(amounts);
  if (over) {
    trap.services.reclaim(*tenancy, over->of_vpc);
    over = tenancy->reserve(amounts);
  }
  if (!over) return Charge(tenancy, amounts);
  tenancy->refuse(*over, {verb, trap.tid(), trap.attachment.command});
  return tl::unexpected(Answer::fails(EDQUOT, Outcome::kRefused));
}

Answer run_expecting(Trap& trap, Context& context, Charge charge,
                     const std::function<void(Inventory&, const Flight&)>& expect) {
  auto pid = trap.services.parts.tasks.process_of(trap.tid());
  if (!pid) return Answer::gone();
  std::lock_guard lock(context.mutex);
  if (context.closed) return Answer::fails(ENODEV, Outcome::kRefused);
  const Flight flight = trap.attachment.flights.begin(trap.tid(), *pid, trap.services.parts.tasks);
  expect(context.inventory, flight);
  charge.keep();
  trap.expectation = {context.shared_from_this(), flight};
  return Answer::run();
}

ErrnoOr<KernelObjects::Listing> ContextObjects::list(Resource kind) {
  constexpr std::size_t kMost = 0xffff / sizeof(std::uint32_t);  // in one attribute
  std::size_t room = std::min(kMost, context_.inventory.count(kind) + 64);
  for (;;) {
    uverbs::CallBuilder call(static_cast<std::uint16_t>(uverbs::Object::kDevice),
                             uverbs::kMethodInfoHandles, driver_of(context_));
    int err = call.add_const(uverbs::attr::kInfoHandlesObject,
                             static_cast<std::uint64_t>(object_of(kind)));
    if (err == 0) err = call.add_out(uverbs::attr::kInfoHandlesTotal, sizeof(std::uint32_t));
    if (err == 0) err = call.add_out(uverbs::attr::kInfoHandlesList, room * sizeof(std::uint32_t));
    if (err == 0) err = run(context_, call);
    if (err != 0) return tl::unexpected(err);
    std::uint32_t total = 0;
    std::memcpy(&total, call.out(uverbs::attr::kInfoHandlesTotal).data(), sizeof(total));
    // The kernel stops at what fits.
    if (total >= room && room < kMost) {
      room = std::min(kMost, room * 4);
      continue;
    }
    Listing out;
    out.handles.resize(std::min<std::size_t>(total, room));
    const auto list = call.out(uverbs::attr::kInfoHandlesList);
    if (!out.handles.empty()) {
      std::memcpy(out.handles.data(), list.data(), out.handles.size() * sizeof(std::uint32_t));
    }
    out.complete = total < room;
    return out;
  }
}

ErrnoOr<Region> ContextObjects::region(std::uint32_t handle) {
  uverbs::CallBuilder call(static_cast<std::uint16_t>(uverbs::Object::kMr), uverbs::kMethodQueryMr,
                           driver_of(context_));
  int err = call.add_idr(uverbs::attr::kQueryMrHandle, handle);
  for (std::uint16_t key : {uverbs::attr::kQueryMrRespLkey, uverbs::attr::kQueryMrRespRkey}) {
    if (err == 0) err = call.add_out(key, sizeof(std::uint32_t));
  }
  for (std::uint16_t out : {uverbs::attr::kQueryMrRespLength, uverbs::attr::kQueryMrRespIova}) {
    if (err == 0) err = call.add_out(out, sizeof(std::uint64_t));
  }
  if (err == 0) err = run(context_, call);
  if (err != 0) return tl::unexpected(err);
  Region out;
  std::memcpy(&out.length, call.out(uverbs::attr::kQueryMrRespLength).data(), sizeof(out.length));
  std::memcpy(&out.iova, call.out(uverbs::attr::kQueryMrRespIova).data(), sizeof(out.iova));
  return out;
}

void settle(Attachment& attachment, Context& context, TaskInspector& tasks) {
  std::lock_guard lock(context.mutex);
  if (context.closed) return;
  ContextObjects kernel(context);
  for (Resource kind : kCounted) {
    (void)context.inventory.settle(kind, kernel, [&](const Flight& flight) {
      return attachment.flights.in_flight(flight, tasks);
    });
  }
}

void reclaim(std::span<const std::shared_ptr<Attachment>> attachments, HolderWatch& watch,
             TaskInspector& tasks, const Tenancy& tenancy, bool all_of_vpc) {
  for (const auto& attachment : attachments) {
    const bool concerned =
        all_of_vpc ? attachment->tenancy->same_vpc(tenancy) : attachment->tenancy.get() == &tenancy;
    if (!concerned) continue;
    (void)watch.collect(*attachment);
    attachment->wait_buried();
    for (const auto& context : attachment->contexts().all()) {
      bool can_settle = false;
      {
        std::lock_guard lock(context->mutex);
        can_settle = context->inventory.can_settle(
            [&](const Flight& flight) { return attachment->flights.in_flight(flight, tasks); });
      }
      // Without a call that has landed since the last time there is nothing to be gained, and a
      // program that asks again and again costs no more than its call.
      if (can_settle) settle(*attachment, *context, tasks);
    }
  }
}

void settle_all(std::span<const std::shared_ptr<Attachment>> attachments, TaskInspector& tasks) {
  for (const auto& attachment : attachments) {
    for (const auto& context : attachment->contexts().all())
      settle(*attachment, *context, tasks);
  }
}

}  // namespace qmasq::vbond
