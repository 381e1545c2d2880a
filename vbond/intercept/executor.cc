// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/executor.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "vbond/intercept/checks.h"
#include "vbond/intercept/gid_queries.h"
#include "vbond/intercept/noted_call.h"
#include "vbond/intercept/quota.h"
#include "vbond/intercept/restored_context.h"
#include "vbond/intercept/sealed_calls.h"
#include "vbond/intercept/turn.h"
#include "vbond/rename/renamer.h"
#include "vbond/survival/ledger.h"
#include "vbond/uverbs/call_builder.h"
#include "vbond/uverbs/device.h"
#include "vbond/uverbs/objects.h"
#include "vbond/uverbs/qp.h"

namespace qmasq::vbond {
namespace {

using uverbs::CallBuilder;
using uverbs::Handler;
using uverbs::Verb;

// The errno of a refusal that has been reported, or of arguments that the kernel would not take.
struct Stop {
  int err = 0;
  Outcome outcome = Outcome::kFailed;
};
using Judged = tl::expected<void, Stop>;

tl::unexpected<Stop> bad(int err) {
  return tl::unexpected(Stop{err, Outcome::kFailed});
}
tl::unexpected<Stop> refused(int err) {
  return tl::unexpected(Stop{err, Outcome::kRefused});
}

// One verb that the agent executes or answers.
class Execution {
 public:
  Execution(Trap& trap, Context& context, const Verb& verb, std::uint32_t driver_id,
            CallBuilder& builder)
      : trap_(trap),
        context_(context),
        verb_(verb),
        driver_id_(driver_id),
        renamer_(trap.services.parts.renamer),
        builder_(builder) {}

  Answer run(std::uint64_t header_address) {
    if (int err = copy_arguments(); err != 0) {
      return err == ESRCH ? Answer::gone() : Answer::fails(err);
    }
    if (!trap_.alive()) return Answer::gone();
    if (trap_.slot != nullptr) trap_.services.ledger()->pass(Ledger::Point::kCopied);
    if (needs_state() && !trap_.services.gate.wait(trap_.attachment)) {
      // Left to the next agent as it came.
      return trap_.attachment.stopping() ? Answer::gone() : Answer::fails(EAGAIN);
    }
    if (auto kind = made_by(verb_)) {
      auto charge = reserve(trap_, verb_.name, context_.inventory.amounts(*kind, {}));
      if (!charge) return charge.error();
      charge_ = std::move(*charge);
    }

    Outcome outcome = Outcome::kExecuted;
    std::int64_t value = 0;
    {
      auto turn = take_turn(trap_, context_);
      if (!turn) return turn.error();
      if (verb_.handler == Handler::kQueryGidEntry || verb_.handler == Handler::kQueryGidTable) {
        outcome = Outcome::kAnswered;
        if (int err = answer_gids(renamer_, context_.info, verb_, builder_); err != 0)
          return Answer::fails(err);
      } else {
        if (auto ok = before(); !ok) return Answer::fails(ok.error().err, ok.error().outcome);
        if (done_) return Answer::returns(0, Outcome::kAnswered);
        auto result = call_kernel();
        after(result ? 0 : result.error());
        if (!result) return Answer::fails(result.error());
        if (spoiled_) return Answer::fails(EIO);
        value = *result;
      }
    }
    return copy_back(header_address, value, outcome);
  }

 private:
  int copy_arguments() {
    auto inputs = builder_.inputs();
    std::array<TenantMemory::In, CallBuilder::kMaxBuilderAttrs> pieces;
    std::size_t used = 0;
    for (const auto& input : inputs)
      pieces[used++] = {input.address, input.bytes};
    if (int err = trap_.fetch(std::span(pieces).first(used)); err != 0) return err;
    for (const auto& fd : builder_.fds()) {
      if (fd.tenant_fd < 0 || fd.tenant_fd > INT32_MAX) return EBADF;
      auto taken = trap_.services.parts.tasks.take(trap_.tid(), static_cast<int>(fd.tenant_fd));
      if (!taken) return taken.error();
      builder_.set_fd(fd.attr_id, taken->get());
      taken_.push_back(std::move(*taken));
    }
    if (verb_.handler == Handler::kCreateCq && is_write_form()) return take_channel();
    return 0;
  }

  // The write forms name the completion channel in the command.
  int take_channel() {
    auto create = uverbs::decode_create_cq(builder_, verb_);
    if (!create) return create.error();
    if (create->comp_channel < 0) return 0;
    auto taken =
        trap_.services.parts.tasks.take(trap_.tid(), static_cast<int>(create->comp_channel));
    if (!taken) return taken.error();
    if (!uverbs::set_comp_channel(builder_, verb_, taken->get())) return EINVAL;
    taken_.push_back(std::move(*taken));
    return 0;
  }

  Judged before() {
    switch (verb_.handler) {
      case Handler::kGetContext:
        return before_get_context();
      case Handler::kModifyQp:
        return before_modify();
      case Handler::kCreateQp:
        return before_create();
      case Handler::kDestroyQp:
        return keep_handle(uverbs::decode_destroy_qp(builder_, verb_));
      case Handler::kQueryQp:
        return before_query();
      case Handler::kCreateSrq:
      case Handler::kCreateXsrq:
        return before_create_srq();
      case Handler::kDestroyCq:
      case Handler::kDestroySrq:
      case Handler::kDeallocPd:
      case Handler::kDeallocMw:
      case Handler::kCloseXrcd:
      case Handler::kFreeUar:
        return keep_handle(uverbs::decode_destroyed_handle(builder_, verb_));
      case Handler::kDeregMr:
        return before_deregister();
      case Handler::kAdviseMr:
        // The agent would wait for the tenant's memory, and all of the context for the agent.
        uverbs::clear_advice_to_wait(builder_);
        return {};
      case Handler::kModifySrq:
        return before_modify_srq();
      case Handler::kCreateAh:
        return before_create_ah();
      case Handler::kDestroyAh:
        return before_destroy_ah();
      case Handler::kOpenXrcd:
        return check_open_xrcd();
      default:
        return {};
    }
  }

  void after(int err) {
    switch (verb_.handler) {
      case Handler::kModifyQp:
        renamer_.after_modify(context_.info, plan_, err);
        if (err == 0) context_.queue_pairs.add(handle_);
        break;
      case Handler::kCreateQp:
        if (err == 0) after_create();
        break;
      case Handler::kDestroyQp:
        if (err == 0) forget(handle_);
        break;
      case Handler::kQueryQp:
        if (err == 0) after_query();
        break;
      case Handler::kCreateCq:
      case Handler::kCreateSrq:
      case Handler::kCreateXsrq:
        if (err == 0) after_create_counted();
        break;
      case Handler::kDestroyCq:
      case Handler::kDestroySrq:
      case Handler::kDeregMr:
        if (err == 0) context_.inventory.gone(*destroyed_by(verb_), handle_, region_);
        break;
      case Handler::kAllocPd:
      case Handler::kAllocMw:
      case Handler::kAllocUar:
      case Handler::kOpenXrcd:
        if (err == 0) after_make();
        break;
      case Handler::kMakeFd:
        if (err == 0) after_make_fd();
        break;
      case Handler::kGetContext:
        if (err == 0 && is_write_form()) after_make_fd();
        break;
      case Handler::kCreateAh:
        renamer_.after_create_ah(
            context_.info, ah_plan_,
            err == 0 ? uverbs::ErrnoOr<std::uint32_t>(handle_) : tl::unexpected(err));
        break;
      case Handler::kDestroyAh:
        if (err == 0) forget_ah();
        break;
      case Handler::kQueryPort:
        if (err == 0) {
          spoiled_ = !uverbs::set_gid_table_length(response(uverbs::attr::kQueryPortResp),
                                                   renamer_.gid_table_length(context_.info));
        }
        break;
      case Handler::kQueryDevice:
        if (err == 0) {
          const uverbs::Guid guid = renamer_.device_guid(context_.info);
          spoiled_ = !uverbs::set_device_guids(response(uverbs::attr::kCoreOut), guid, guid);
        }
        break;
      default:
        break;
    }
    if (err == 0) {
      // The kernel took the tenant's driver id, so it is the device's.
      context_.driver_id.store(driver_id_, std::memory_order_relaxed);
    }
  }

  [[nodiscard]] bool is_write_form() const { return verb_.key.form != uverbs::Form::kIoctl; }
  std::span<std::byte> response(std::uint16_t ioctl_attr) {
    return builder_.out(is_write_form() ? uverbs::attr::kCoreOut : ioctl_attr);
  }

  Judged keep_handle(const uverbs::ErrnoOr<std::uint32_t>& handle) {
    if (!handle) return bad(handle.error());
    handle_ = *handle;
    return {};
  }

  Judged before_get_context() {
    const auto driver = static_cast<uverbs::DriverId>(driver_id_);
    auto uhw_in = builder_.in(uverbs::attr::kUhwIn);
    // Whoever asks in this form is an old library: told so, it asks again without.
    if (is_write_form() && uverbs::asks_back_door(driver, uhw_in)) {
      return refused(trap_
                         .refuse(verb_.name, EPERM,
                                 context_.info.nic + ": the driver's back door is not offered")
                         .err);
    }
    uverbs::clear_back_doors(driver, uhw_in);
    return {};
  }

  // rxe would write to where the driver data points: in the agent that is another place.
  Judged before_modify_srq() {
    queue_place_.fill(kUnwritten);
    auto place = uverbs::redirect_queue_place(
        builder_, static_cast<uverbs::DriverId>(driver_id_),
        static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(queue_place_.data())));
    if (!place) return bad(place.error());
    queue_place_address_ = *place;
    return {};
  }

  void after_make() {
    auto handle = uverbs::decode_made_handle(builder_, verb_);
    spoiled_ = !handle;
    if (!handle) return;
    handle_ = *handle;
    made_ = true;
  }

  // The agent has it for as long as it takes to give it to the tenant.
  void after_make_fd() {
    auto made = uverbs::decode_made_fd(builder_, verb_);
    if (made) {
      made_fd_ = UniqueFd(*made);
    } else {
      spoiled_ = true;
    }
  }

  Judged before_modify() {
    auto core_in = builder_.in(uverbs::attr::kCoreIn);
    auto command = uverbs::decode_modify_qp(core_in, verb_.key.form);
    if (!command) return bad(command.error());
    handle_ = command->qp_handle;
    if (!admit_modify(*command)) return bad_rate();
    if (!context_.software) {
      if (int err = take_in(handle_); err != 0) return bad(err);
    }
    auto plan = renamer_.before_modify(context_.info, *command);
    if (!plan) return refused(plan.error().err);  // the Renamer has reported it
    plan_ = std::move(*plan);
    if (!uverbs::encode_modify_qp(*command, verb_.key.form, core_in)) {
      renamer_.after_modify(context_.info, plan_, EINVAL);
      return bad(EINVAL);
    }
    return {};
  }

  [[nodiscard]] bool admit_modify(const uverbs::ModifyQp& command) {
    using qos::VerbKind;
    if (command.goes_to(uverbs::QpState::kRtr))
      return admit(trap_, verb_.name, {VerbKind::kVerbs, VerbKind::kConnects});
    return admit(trap_, verb_.name, {VerbKind::kVerbs});
  }
  static tl::unexpected<Stop> bad_rate() {
    const Answer answer = over_rate();
    return tl::unexpected(Stop{answer.err, answer.outcome});
  }

  Judged before_create_srq() {
    auto create = uverbs::decode_create_srq(builder_, verb_);
    if (!create) return bad(create.error());
    if (!check_srq_type(trap_, verb_, *create)) return refused(EOPNOTSUPP);
    return {};
  }

  // What quotas count.
  void after_create_counted() {
    after_make();
    if (!made_) return;
    context_.inventory.made(*made_by(verb_), handle_);
    charge_.keep();
  }

  Judged before_deregister() {
    if (auto kept = keep_handle(uverbs::decode_destroyed_handle(builder_, verb_)); !kept)
      return kept;
    // Registered by the tenant and not seen since: what it is charged for as.
    if (!context_.inventory.find(qos::Resource::kMemoryRegions, handle_)) {
      if (auto region = ContextObjects(context_).region(handle_)) region_ = *region;
    }
    return {};
  }

  Judged before_query() {
    auto query = uverbs::decode_query_qp(builder_.in(uverbs::attr::kCoreIn));
    if (!query) return bad(query.error());
    handle_ = query->qp_handle;
    return {};
  }

  void after_query() {
    auto out = builder_.out(uverbs::attr::kCoreOut);
    auto answer = uverbs::decode_query_qp_resp(out);
    if (!answer) {
      spoiled_ = true;
      return;
    }
    renamer_.after_query_qp(context_.info, handle_, *answer);
    spoiled_ = !uverbs::encode_query_qp_resp(*answer, out);
  }

  Judged before_create() {
    auto create = uverbs::decode_create_qp(builder_, verb_);
    if (!create) return bad(create.error());
    auto allowed = check_create_qp(trap_, context_, *create);
    if (!allowed) return refused(allowed.error());
    created_type_ = create->type;
    return {};
  }

  void after_create() {
    auto created = uverbs::decode_create_qp_resp(builder_, verb_);
    if (!created) {
      spoiled_ = true;
      return;
    }
    handle_ = created->qp_handle;
    made_ = true;
    context_.inventory.made(qos::Resource::kQueuePairs, handle_);
    charge_.keep();
    renamer_.qp_created(context_.info, handle_, created->qpn, created_type_);
    context_.queue_pairs.add(handle_);
  }

  Judged before_create_ah() {
    if (!context_.software) {
      return refused(trap_
                         .refuse(verb_.name, EOPNOTSUPP,
                                 "the library of " + context_.info.nic +
                                     " writes the address itself: nothing to rename")
                         .err);
    }
    auto core_in = builder_.in(uverbs::attr::kCoreIn);
    auto command = uverbs::decode_create_ah(core_in);
    if (!command) return bad(command.error());
    auto number = context_.address_handles.next_number();
    if (!number) return bad(ENOSPC);
    auto plan =
        renamer_.before_create_ah(context_.info, QpKey{context_.info.id, *number}, *command);
    if (!plan) return refused(plan.error().err);  // the Renamer has reported it
    ah_plan_ = std::move(*plan);
    if (!uverbs::encode_create_ah(*command, core_in)) {
      renamer_.after_create_ah(context_.info, ah_plan_, tl::unexpected(EINVAL));
      return bad(EINVAL);
    }
    return {};
  }

  // Again where the handle is one that the tenant still has of another: see AddressHandles.
  uverbs::ErrnoOr<std::int64_t> create_ah(const CallNote& note) {
    for (;;) {
      auto result = call_noted(trap_, context_, builder_, note);
      if (!result) return result;
      auto handle = uverbs::decode_create_ah_resp(builder_.out(uverbs::attr::kCoreOut));
      if (!handle) return tl::unexpected(EIO);
      handle_ = *handle;
      if (context_.address_handles.add(handle_, ah_plan_.key.handle)) return *result;
    }
  }

  uverbs::ErrnoOr<std::int64_t> call_kernel() {
    CallNote note;
    note.handle = handle_;
    note.number = ah_plan_.key.handle;
    note.type = static_cast<std::uint32_t>(created_type_);
    note.driver_id = driver_id_;
    note.state_before = plan_.state_before;
    note.existed = existed();
    if (verb_.handler == Handler::kCreateAh) return create_ah(note);
    return call_noted(trap_, context_, builder_, note);
  }

  // What is destroyed is known to be there.
  [[nodiscard]] bool existed() const {
    if (verb_.handler == Handler::kDestroyAh) {
      return context_.address_handles.find(handle_).has_value();
    }
    const auto kind = destroyed_by(verb_);
    // Of PDs and the like nobody keeps books: that one is not there any more will do.
    if (!kind) return destroyed_object(verb_).has_value();
    // On hardware the tenant makes its queues itself.
    if (*kind != qos::Resource::kMemoryRegions && !context_.software) return true;
    return region_ || context_.inventory.find(*kind, handle_).has_value();
  }

  // What only the controller's state can answer.
  [[nodiscard]] bool needs_state() {
    switch (verb_.handler) {
      case Handler::kCreateQp:
      case Handler::kCreateAh:
      case Handler::kQueryGidEntry:
      case Handler::kQueryGidTable:
      case Handler::kQueryPort:
      case Handler::kQueryDevice:
        return true;
      case Handler::kModifyQp: {
        auto command = uverbs::decode_modify_qp(builder_.in(uverbs::attr::kCoreIn), verb_.key.form);
        return command && !command->goes_to(uverbs::QpState::kErr) &&
               !command->goes_to(uverbs::QpState::kReset);
      }
      default:
        return false;
    }
  }

  Judged before_destroy_ah() {
    if (auto kept = keep_handle(uverbs::decode_destroy_ah(builder_, verb_)); !kept) return kept;
    const auto held = context_.address_handles.find(handle_);
    if (!held || held->in_kernel) return {};
    // A change of the rules has destroyed it already.
    context_.address_handles.remove(handle_);
    done_ = true;
    return {};
  }

  void forget_ah() {
    const auto held = context_.address_handles.find(handle_);
    context_.address_handles.remove(handle_);
    if (held && held->number) renamer_.ah_destroyed(QpKey{context_.info.id, *held->number});
  }

  // A file would be one of the agent's own, and an XRC domain with a file can be shared by whoever
  // may open it.
  Judged check_open_xrcd() {
    auto open = uverbs::decode_open_xrcd(builder_.in(uverbs::attr::kCoreIn));
    if (!open) return bad(open.error());
    if (open->fd == -1) return {};
    return refused(
        trap_.refuse(verb_.name, EOPNOTSUPP, "an XRC domain shared by a file is not offered").err);
  }

  // Hardware: a QP whose handle is new to us. See executor.h.
  int take_in(std::uint32_t handle) {
    if (context_.queue_pairs.contains(handle)) return 0;
    if (auto known = query_queue_pair(context_, handle); !known) return known.error();
    renamer_.qp_created(context_.info, handle, Qpn{}, context_.queue_pairs.take_expected());
    context_.queue_pairs.add(handle);
    return 0;
  }

  void forget(std::uint32_t handle) {
    context_.inventory.gone(qos::Resource::kQueuePairs, handle);
    renamer_.qp_destroyed(context_.info, handle);
    context_.queue_pairs.remove(handle);
  }

  // The descriptor that was made is the tenant's from here on, by the number it has there. If the
  // number cannot be told, the tenant has a descriptor that it does not know of, and nothing else.
  std::optional<Answer> hand_over_fd() {
    if (!made_fd_.valid()) return std::nullopt;
    auto number = trap_.attachment.port().place_lowest(trap_.call.id, made_fd_.get());
    if (!number) return number.error() == ENOENT ? Answer::gone() : Answer::fails(number.error());
    if (!uverbs::set_made_fd(builder_, verb_, *number)) return Answer::fails(EIO);
    return std::nullopt;
  }

  Answer copy_back(std::uint64_t header_address, std::int64_t value, Outcome outcome) {
    if (auto ended = hand_over_fd()) return *ended;
    auto results = builder_.write_backs(header_address);
    std::array<TenantMemory::Out, 2 * CallBuilder::kMaxBuilderAttrs + 1> pieces;
    std::size_t used = 0;
    for (const auto& result : results)
      pieces[used++] = {result.address, result.bytes};
    if (queue_place_address_ && queue_place_.back() != kUnwritten)
      pieces[used++] = {*queue_place_address_, queue_place_};
    if (used == 0) return Answer::returns(value, outcome);
    int err = trap_.write(std::span(pieces).first(used));
    if (err == 0) return Answer::returns(value, outcome);
    // As in the kernel, an object whose handle the caller can not be told is not made.
    if (made_ || verb_.handler == Handler::kCreateAh) undo_create();
    return err == ENOENT || err == ESRCH ? Answer::gone() : Answer::fails(err);
  }

  void undo_create() {
    std::lock_guard lock(context_.mutex);
    if (!context_.closed) forget_made(trap_.services, context_, verb_, handle_);
  }

  Trap& trap_;
  Context& context_;
  const Verb& verb_;
  const std::uint32_t driver_id_;  // as the tenant's call has it
  Renamer& renamer_;
  CallBuilder& builder_;  // 3 KiB: not to be moved about
  std::vector<UniqueFd> taken_;
  Charge charge_;                 // for what is being made
  std::optional<Region> region_;  // that is deregistered, where the inventory does not know it
  ModifyPlan plan_;
  AddressHandlePlan ah_plan_;
  std::uint32_t handle_ = 0;
  UniqueFd made_fd_;
  // Where rxe writes, and where the tenant wants to have that. The last bytes of what it writes are
  // padding, and zero.
  static constexpr std::byte kUnwritten{0xff};
  std::array<std::byte, uverbs::kQueuePlaceSize> queue_place_{};
  std::optional<std::uint64_t> queue_place_address_;
  uverbs::QpType created_type_{};
  bool made_ = false;
  bool done_ = false;     // without the kernel
  bool spoiled_ = false;  // the kernel's answer can not be turned back: the tenant gets EIO
};

Answer execute(Trap& trap, Context& context, const uverbs::Call& call, const Verb& verb) {
  auto builder = CallBuilder::from_call(call, verb);
  if (!builder) return Answer::fails(builder.error());
  Execution execution(trap, context, verb, call.driver_id(), *builder);
  return execution.run(trap.call.args[2]);
}

}  // namespace

Answer serve_verb(Trap& trap, Context& context, const uverbs::Call& call, const Verb& verb) {
  SealedCalls* sealed = trap.attachment.sealed.get();
  if (Tenancy& tenancy = *trap.attachment.tenancy;
      tenancy.rated() && !(sealed != nullptr && sealed->is_paid(trap.tid()))) {
    if (verb.frees) {
      trap.unpaid = !tenancy.note({qos::VerbKind::kVerbs});
    } else if (!admit(trap, verb.name, kinds_of(verb))) {
      return over_rate();
    }
  }
  if (verb.verb_class == uverbs::VerbClass::kRefused) {
    return trap.refuse(verb.name, verb.refusal, "not offered");
  }
  if (trap.attachment.revoked()) return trap.refuse(verb.name, ENODEV, "the endpoint is gone");
  const bool by_agent = verb.run_in == uverbs::RunIn::kAgent ||
                        (verb.run_in == uverbs::RunIn::kAgentOnSoftwareNic && context.software);
  if (by_agent) return execute(trap, context, call, verb);
  if (sealed != nullptr) return sealed->send(trap, context, call, verb);
  const Answer answer = check_and_run(trap, context, call, verb);
  return let_run(trap, context, call_of(trap, call), answer);
}

}  // namespace qmasq::vbond
