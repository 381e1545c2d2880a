// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/takeover.h"

#include <spdlog/spdlog.h>

#include <memory>
#include <utility>

#include "vbond/intercept/restored_context.h"
#include "vbond/intercept/services.h"

namespace qmasq::vbond {
namespace {

std::shared_ptr<Context> make_context(Services& services, Attachment& attachment,
                                      Inherited::File& from) {
  ContextInfo info;
  info.id = from.tag.id;
  info.endpoint = attachment.endpoint;
  info.nic = from.tag.nic;
  info.pid = from.tag.pid;
  info.command = from.tag.command;
  auto context = std::make_shared<Context>(std::move(info), std::move(from.file), from.tag.software,
                                           from.tag.driver_id,
                                           TaskInspector::Holder{from.tag.pid, from.tag.descriptor},
                                           attachment.tenancy, services.metrics);
  context->custody = from.custody;
  // Or it never was: then nobody has it, and it is closed as one that everybody has closed.
  context->handed_over = true;
  return context;
}

bool put_under_guard(Services& services, Context& context, const Attachment& attachment) {
  auto slot = services.guard().manage(context.file->descriptor(), context.info.id);
  if (slot) {
    context.slot = *slot;
    return true;
  }
  spdlog::error(
      "endpoint={} pid={}: {} was opened without the guard, or it can keep track of no more "
      "(errno {}): closed",
      attachment.endpoint_name, context.info.pid, context.info.nic, slot.error());
  return false;
}

}  // namespace

void take_over(Services& services, Attachment& attachment, Inherited::File& from,
               std::span<const JournaledConnection> journaled, std::span<CallSlot* const> slots) {
  auto context = make_context(services, attachment, from);
  const bool guarded = put_under_guard(services, *context, attachment);
  restore_context(services, *context, attachment.endpoint_name, journaled, slots);
  services.metrics.add_contexts(1);
  if (guarded) {
    (void)attachment.contexts().add(context);
  } else {
    close_context(services, *context, attachment.endpoint_name, /*abandoned=*/false);
  }
}

}  // namespace qmasq::vbond
