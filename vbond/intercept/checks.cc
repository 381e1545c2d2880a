// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/checks.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>

#include "vbond/rename/renamer.h"
#include "vbond/uverbs/call_builder.h"
#include "vbond/uverbs/device.h"
#include "vbond/uverbs/objects.h"

namespace qmasq::vbond {
namespace {

using uverbs::Handler;

// QP types announced and not seen since. A program that never uses the QPs it makes loses the
// oldest.
constexpr std::size_t kMostPending = 4096;

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

Answer check_srq(Trap& trap, const uverbs::Call& call, const uverbs::Verb& verb) {
  auto copy = copy_call(trap, call, verb);
  if (!copy) return Answer::fails(copy.error());
  auto create = uverbs::decode_create_srq(*copy, verb);
  if (!create) return Answer::fails(create.error());
  if (create->type != uverbs::SrqType::kBasic && create->type != uverbs::SrqType::kXrc) {
    return trap.refuse(verb.name, EOPNOTSUPP, "this type of SRQ is not offered");
  }
  return Answer::run();
}

Answer check_back_door(Trap& trap, const Context& context, const uverbs::Call& call,
                       const uverbs::Verb& verb) {
  // By hand: this form makes a descriptor, which a CallBuilder does not lay out.
  std::array<std::byte, 256> bytes{};
  std::span<std::byte> uhw_in;
  if (auto attribute = call.find(uverbs::attr::kUhwIn)) {
    uhw_in = std::span(bytes).first(std::min<std::size_t>(bytes.size(), attribute->len));
    if (attribute->is_inline()) {
      std::memcpy(uhw_in.data(), &attribute->data, uhw_in.size());
    } else if (int err = trap.read(attribute->data, uhw_in); err != 0) {
      return Answer::fails(err);
    }
  }
  auto driver = static_cast<uverbs::DriverId>(call.driver_id());
  if (uverbs::asks_back_door(driver, uhw_in)) {
    return trap.refuse(verb.name, EPERM,
                       context.info.nic + ": the driver's back door is not offered");
  }
  return Answer::run();
}

// On hardware alone: software NICs have it executed.
Answer check_create(Trap& trap, Context& context, const uverbs::Call& call,
                    const uverbs::Verb& verb) {
  auto copy = copy_call(trap, call, verb);
  if (!copy) return Answer::fails(copy.error());
  auto create = uverbs::decode_create_qp(*copy, verb);
  if (!create) return Answer::fails(create.error());
  if (!trap.alive()) return Answer::gone();
  std::lock_guard lock(context.mutex);
  if (context.closed) return Answer::fails(ENODEV, Outcome::kRefused);
  if (auto allowed = check_create_qp(trap, context, *create); !allowed) {
    return Answer::fails(allowed.error(), Outcome::kRefused);
  }
  if (context.pending.size() >= kMostPending) context.pending.erase(context.pending.begin());
  context.pending.push_back(create->type);
  return Answer::run();
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

Answer check_and_run(Trap& trap, Context& context, const uverbs::Call& call,
                     const uverbs::Verb& verb) {
  // What the table does not know could carry anything: the kernel that runs may know it.
  int err = uverbs::check_attrs(call, verb, uverbs::UnknownAttrs::kRefuse);
  if (err != 0) return Answer::fails(err);
  switch (verb.handler) {
    case Handler::kGetContext:
      return check_back_door(trap, context, call, verb);
    case Handler::kCreateQp:
      return check_create(trap, context, call, verb);
    case Handler::kCreateSrq:
    case Handler::kCreateXsrq:
      return check_srq(trap, call, verb);
    default:
      return Answer::run();
  }
}

}  // namespace qmasq::vbond
