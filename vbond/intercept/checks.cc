// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/checks.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "vbond/intercept/quota.h"
#include "vbond/rename/renamer.h"
#include "vbond/uverbs/call_builder.h"
#include "vbond/uverbs/objects.h"

namespace qmasq::vbond {
namespace {

using uverbs::Handler;

// The call's arguments, copied; to be read, not executed.
uverbs::ErrnoOr<uverbs::CallBuilder> copy_call(Trap& trap, const uverbs::Call& call,
                                               const uverbs::Verb& verb) {
  auto builder = uverbs::CallBuilder::from_call(call, verb);
  if (!builder) return builder;
  std::array<TenantMemory::In, uverbs::CallBuilder::kMaxBuilderAttrs> pieces;
  std::size_t used = 0;
  for (const auto& input : builder->inputs())
    pieces[used++] = {input.address, input.bytes};
  if (int err = trap.fetch(std::span(pieces).first(used)); err != 0) return tl::unexpected(err);
  return builder;
}

// What the verb makes is counted from here on; the call runs.
Answer run_counted(Trap& trap, Context& context, const uverbs::Verb& verb, qos::Resource kind,
                   const Region& region = {}) {
  auto charge = reserve(trap, verb.name, context.inventory.amounts(kind, region));
  if (!charge) return charge.error();
  return run_expecting(
      trap, context, std::move(*charge),
      [&](Inventory& inventory, const Flight& flight) { inventory.expect(kind, region, flight); });
}

// These three on hardware alone: software NICs have them executed.
Answer check_cq(Trap& trap, Context& context, const uverbs::Verb& verb) {
  if (!trap.alive()) return Answer::gone();
  return run_counted(trap, context, verb, qos::Resource::kCompletionQueues);
}

Answer check_srq(Trap& trap, Context& context, const uverbs::Call& call, const uverbs::Verb& verb) {
  auto copy = copy_call(trap, call, verb);
  if (!copy) return Answer::fails(copy.error());
  auto create = uverbs::decode_create_srq(*copy, verb);
  if (!create) return Answer::fails(create.error());
  if (!check_srq_type(trap, verb, *create)) return Answer::fails(EOPNOTSUPP, Outcome::kRefused);
  if (!trap.alive()) return Answer::gone();
  return run_counted(trap, context, verb, qos::Resource::kSharedReceiveQueues);
}

// A program that makes memory regions and never anything else would make the books ever longer.
constexpr std::size_t kMostExpectations = 1024;

// An implicit region can grow to all of the address space, and pins nothing: it cannot be held to a
// number of bytes.
std::optional<Answer> refuse_implicit(Trap& trap, const uverbs::Verb& verb, const Region& region) {
  Tenancy& tenancy = *trap.attachment.tenancy;
  if (region.length != kImplicitLength || !tenancy.limited(qos::Resource::kPinnedBytes))
    return std::nullopt;
  tenancy.refuse(qos::Resource::kPinnedBytes,
                 "pinned_bytes: a memory region of all the address space (implicit on-demand "
                 "paging) cannot be held to a limit",
                 {verb.name, trap.tid(), trap.attachment.command});
  return Answer::fails(EDQUOT, Outcome::kRefused);
}

// A context whose books are long is settled by the call that makes them longer.
void settle_long(Trap& trap, Context& context) {
  bool is_long = false;
  {
    std::lock_guard lock(context.mutex);
    is_long = context.inventory.expectations() >= kMostExpectations;
  }
  if (is_long) settle(trap.attachment, context, trap.services.parts.tasks);
}

Answer check_register(Trap& trap, Context& context, const uverbs::Call& call,
                      const uverbs::Verb& verb) {
  auto copy = copy_call(trap, call, verb);
  if (!copy) return Answer::fails(copy.error());
  auto command = uverbs::decode_reg_mr(*copy, verb);
  if (!command) return Answer::fails(command.error());
  if (!trap.alive()) return Answer::gone();
  const Region region{command->length, command->iova};
  if (auto refused = refuse_implicit(trap, verb, region)) return *refused;
  settle_long(trap, context);
  return run_counted(trap, context, verb, qos::Resource::kMemoryRegions, region);
}

Answer check_reregister(Trap& trap, Context& context, const uverbs::Call& call,
                        const uverbs::Verb& verb) {
  auto copy = copy_call(trap, call, verb);
  if (!copy) return Answer::fails(copy.error());
  auto command = uverbs::decode_rereg_mr(copy->in(uverbs::attr::kCoreIn));
  if (!command) return Answer::fails(command.error());
  if (!trap.alive()) return Answer::gone();
  if ((command->flags & uverbs::ReregMr::kTranslation) == 0) return Answer::run();
  const Region wanted{command->memory.length, command->memory.iova};
  if (auto refused = refuse_implicit(trap, verb, wanted)) return *refused;
  settle_long(trap, context);
  auto find = [&] {
    std::lock_guard lock(context.mutex);
    return context.inventory.find(qos::Resource::kMemoryRegions, command->mr_handle);
  };
  auto has = find();
  if (!has) {
    settle(trap.attachment, context, trap.services.parts.tasks);
    has = find();
  }
  constexpr auto kPinned = static_cast<std::size_t>(qos::Resource::kPinnedBytes);
  auto bytes = [&](const Region& region) {
    return context.inventory.amounts(qos::Resource::kMemoryRegions, region)[kPinned];
  };
  // A handle that the kernel does not know either it will refuse; unless it comes to be right now.
  const std::uint64_t before = has ? bytes(*has) : 0;
  const std::uint64_t after = bytes(wanted);
  const std::uint64_t extra = after > before ? after - before : 0;
  auto charge = reserve(trap, verb.name, qos::amounts_of(qos::Resource::kPinnedBytes, extra));
  if (!charge) return charge.error();
  return run_expecting(trap, context, std::move(*charge),
                       [&](Inventory& inventory, const Flight& flight) {
                         inventory.expect_change(command->mr_handle, extra, flight);
                       });
}

Answer check_create(Trap& trap, Context& context, const uverbs::Call& call,
                    const uverbs::Verb& verb) {
  auto copy = copy_call(trap, call, verb);
  if (!copy) return Answer::fails(copy.error());
  auto create = uverbs::decode_create_qp(*copy, verb);
  if (!create) return Answer::fails(create.error());
  if (!trap.alive()) return Answer::gone();
  {
    std::lock_guard lock(context.mutex);
    if (context.closed) return Answer::fails(ENODEV, Outcome::kRefused);
    if (auto allowed = check_create_qp(trap, context, *create); !allowed) {
      return Answer::fails(allowed.error(), Outcome::kRefused);
    }
  }
  trap.qp_type = static_cast<std::uint32_t>(create->type);
  Answer answer = run_counted(trap, context, verb, qos::Resource::kQueuePairs);
  if (answer.how != Answer::How::kRun) return answer;
  std::lock_guard lock(context.mutex);
  context.queue_pairs.expect(create->type);
  return answer;
}

}  // namespace

tl::expected<void, int> check_create_qp(Trap& trap, Context& context,
                                        const uverbs::CreateQp& create) {
  if (create.source_qpn) {
    return tl::unexpected(
        trap.refuse("CREATE_QP", EPERM, "a source QP number of its own takes CAP_NET_RAW").err);
  }
  if (create.type == uverbs::QpType::kUd && !context.software) {
    return tl::unexpected(trap.refuse("CREATE_QP", EOPNOTSUPP,
                                      "UD is not offered on " + context.info.nic +
                                          ": its library writes destinations itself")
                              .err);
  }
  auto allowed = trap.services.parts.renamer.check_create_qp(context.info, create.type);
  if (!allowed) return tl::unexpected(allowed.error().err);  // the Renamer has reported it
  return {};
}

bool check_srq_type(Trap& trap, const uverbs::Verb& verb, const uverbs::CreateSrq& create) {
  if (create.type == uverbs::SrqType::kBasic || create.type == uverbs::SrqType::kXrc) return true;
  (void)trap.refuse(verb.name, EOPNOTSUPP, "this type of SRQ is not offered");
  return false;
}

Answer check_and_run(Trap& trap, Context& context, const uverbs::Call& call,
                     const uverbs::Verb& verb) {
  // What the table does not know could carry anything: the kernel that runs may know it.
  int err = uverbs::check_attrs(call, verb, uverbs::UnknownAttrs::kRefuse);
  if (err != 0) return Answer::fails(err);
  switch (verb.handler) {
    case Handler::kCreateQp:
      return check_create(trap, context, call, verb);
    case Handler::kCreateSrq:
    case Handler::kCreateXsrq:
      return check_srq(trap, context, call, verb);
    case Handler::kCreateCq:
      return check_cq(trap, context, verb);
    case Handler::kRegMr:
      return check_register(trap, context, call, verb);
    case Handler::kReregMr:
      return check_reregister(trap, context, call, verb);
    default:
      return Answer::run();
  }
}

}  // namespace qmasq::vbond
