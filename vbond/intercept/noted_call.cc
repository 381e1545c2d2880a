// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/noted_call.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "vbond/intercept/quota.h"
#include "vbond/intercept/restored_context.h"
#include "vbond/survival/ledger.h"
#include "vbond/uverbs/objects.h"
#include "vbond/uverbs/qp.h"

namespace qmasq::vbond {
namespace {

using uverbs::Handler;
using uverbs::Object;
using uverbs::QpState;

std::shared_ptr<Context> find_context(Attachment& attachment, std::uint64_t id) {
  for (auto& context : attachment.contexts().all()) {
    if (context->info.id == id) return context;
  }
  return nullptr;
}

bool there(Context& context, Object object, std::uint32_t handle) {
  auto handles = handles_of(context, object);
  return handles && std::count(handles->begin(), handles->end(), handle) != 0;
}

bool was_modified(Context& context, const CallSlot& slot, const uverbs::CallBuilder& builder,
                  const uverbs::Verb& verb) {
  auto command = uverbs::decode_modify_qp(builder.in(uverbs::attr::kCoreIn), verb.key.form);
  // A step that leads nowhere else can be done twice.
  if (!command || !command->sets(uverbs::qp_mask::kState) ||
      static_cast<QpState>(slot.state_before) == command->state) {
    return false;
  }
  auto kernel = query_queue_pair(context, command->qp_handle);
  if (!kernel) return false;
  if (kernel->state == command->state) return true;
  // It may have failed since by what came from its peer.
  return command->sets(uverbs::qp_mask::kAv) && kernel->state == QpState::kErr &&
         kernel->dest.dgid == command->dest.dgid && kernel->dest_qpn == command->dest_qpn;
}

// Whether the kernel did what it was being asked for when the agent died. All threads of that agent
// are gone, so it did all of it or nothing.
bool was_done(Context& context, const CallSlot& slot, const uverbs::CallBuilder& builder,
              const uverbs::Verb& verb) {
  if (auto object = made_object(verb)) {
    auto handle = uverbs::decode_made_handle(builder, verb);
    return handle && there(context, *object, *handle);
  }
  if (auto object = destroyed_object(verb)) {
    return slot.existed && !there(context, *object, slot.handle);
  }
  if (verb.handler == Handler::kModifyQp) return was_modified(context, slot, builder, verb);
  // The kernel lists nothing before there is a user context.
  if (verb.handler == Handler::kGetContext) return handles_of(context, Object::kQp).has_value();
  return false;
}

// As in the kernel, an object whose handle the caller can not be told is not made.
void undo(Trap& trap, Context& context, const uverbs::CallBuilder& builder,
          const uverbs::Verb& verb) {
  if (!made_object(verb)) return;
  auto handle = uverbs::decode_made_handle(builder, verb);
  if (!handle) return;
  std::lock_guard lock(context.mutex);
  if (context.closed) return;
  forget_made(trap.services, context, verb, *handle);
}

Answer copy_back(Trap& trap, Context& context, const CallSlot& slot,
                 const uverbs::CallBuilder& builder, const uverbs::Verb& verb) {
  std::array<TenantMemory::Out, 2 * uverbs::CallBuilder::kMaxBuilderAttrs> pieces;
  std::size_t used = 0;
  for (const auto& result : builder.write_backs(trap.call.args[2]))
    pieces[used++] = {result.address, result.bytes};
  const int err = used == 0 ? 0 : trap.write(std::span(pieces).first(used));
  if (err == 0) return Answer::returns(slot.value, Outcome::kExecuted);
  undo(trap, context, builder, verb);
  return err == ENOENT || err == ESRCH ? Answer::gone() : Answer::fails(err);
}

}  // namespace

ErrnoOr<std::int64_t> call_noted(Trap& trap, Context& context, uverbs::CallBuilder& builder,
                                 const CallNote& note) {
  auto run = [&](std::byte* call) -> ErrnoOr<std::int64_t> {
    auto result = context.file->call(call);
    if (!result) return tl::unexpected(result.error());
    return *result;
  };
  CallSlot* slot = trap.slot;
  if (slot != nullptr) {
    auto sealed = builder.seal_into(slot->call);
    if (sealed) {
      slot->context = context.info.id;
      slot->handle = note.handle;
      slot->number = note.number;
      slot->type = note.type;
      slot->driver_id = note.driver_id;
      slot->state_before = static_cast<std::uint8_t>(note.state_before);
      slot->existed = note.existed;
      slot->value = 0;
      slot->stage.store(CallStage::kExecuting, std::memory_order_release);
      auto result = run(sealed->data());
      trap.services.ledger()->pass(Ledger::Point::kCalled);
      slot->err = result ? 0 : result.error();
      slot->value = result.value_or(0);
      slot->stage.store(CallStage::kExecuted, std::memory_order_release);
      trap.services.ledger()->pass(Ledger::Point::kNoted);
      builder.take_back(slot->call);
      return result;
    }
    if (sealed.error() != ENOSPC) return tl::unexpected(sealed.error());
  }
  auto sealed = builder.seal();
  if (!sealed) return tl::unexpected(sealed.error());
  return run(sealed->data());
}

std::optional<Answer> finish_noted(Trap& trap) {
  CallSlot& slot = *trap.slot;
  auto again = [&] {
    slot.stage.store(CallStage::kReceived, std::memory_order_release);
    return std::nullopt;
  };
  const CallStage stage = slot.stage.load(std::memory_order_acquire);
  if (stage == CallStage::kReceived) return std::nullopt;
  if (!trap.alive()) return Answer::gone();
  auto context = find_context(trap.attachment, slot.context);
  if (context == nullptr) return again();
  if (stage == CallStage::kPlacing) {
    const auto number = static_cast<int>(slot.handle);
    const auto order =
        trap.services.parts.tasks.compare(context->file->descriptor(), trap.tid(), number);
    if (!order || *order != 0) return again();
    return Answer::returns(number, Outcome::kExecuted);
  }
  if (stage != CallStage::kExecuting && stage != CallStage::kExecuted) return again();

  const auto builder = uverbs::CallBuilder::from_image(slot.call);
  auto header = uverbs::decode_header(slot.call.header);
  if (!builder || !header) return again();
  auto call =
      uverbs::decode_call(std::span<const std::byte>(slot.call.header).first(header->length));
  if (!call) return again();
  const uverbs::Verb& verb = *uverbs::find_verb(*call);
  trap.row = InterceptMetrics::row(verb);
  // What only reads is read again, and what sets something to what it is sets it again. A
  // descriptor that was made has gone with the agent that made it.
  const bool acts = made_object(verb) || destroyed_object(verb) ||
                    verb.handler == Handler::kModifyQp ||
                    (verb.handler == Handler::kGetContext && verb.key.form == uverbs::Form::kIoctl);
  if (!acts) return again();
  {
    std::lock_guard lock(context->mutex);
    if (context->closed) return Answer::fails(ENODEV, Outcome::kRefused);
    if (stage == CallStage::kExecuting && !was_done(*context, slot, *builder, verb)) return again();
  }
  if (stage == CallStage::kExecuted && slot.err != 0) return Answer::fails(slot.err);
  return copy_back(trap, *context, slot, *builder, verb);
}

}  // namespace qmasq::vbond
