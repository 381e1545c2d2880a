// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>

#include <tl/expected.hpp>

#include "vbond/admission/admission_control.h"
#include "vbond/admission/inventory.h"
#include "vbond/intercept/trap.h"
#include "vbond/uverbs/verb.h"

// Where verbs meet quotas and verb rates. What is counted how: vbond/admission/inventory.h.
namespace qmasq::vbond {

class HolderWatch;

// The rates that a verb counts in. REQ_NOTIFY_CQ is a doorbell of software NICs: none. MODIFY_QP
// leaves it to its handler to say what it does.
[[nodiscard]] qos::VerbKinds kinds_of(const uverbs::Verb& verb);
// False: too many of them; the refusal has been reported and the answer is EAGAIN.
[[nodiscard]] bool admit(Trap& trap, std::string_view verb, qos::VerbKinds kinds);
[[nodiscard]] inline Answer over_rate() {
  return Answer::fails(EAGAIN, Outcome::kRefused);
}

// What the verb makes, if quotas count it; else nothing.
[[nodiscard]] std::optional<qos::Resource> made_by(const uverbs::Verb& verb);
// What it destroys.
[[nodiscard]] std::optional<qos::Resource> destroyed_by(const uverbs::Verb& verb);

// Reserves it, after looking for what is no more where a limit is in the way; else the answer:
// EDQUOT, reported. REQUIRES: no context's mutex held.
[[nodiscard]] tl::expected<Charge, Answer> reserve(Trap& trap, std::string_view verb,
                                                   const qos::Amounts& amounts);

// The call is about to be let run: from now on its charge is an expectation of the context.
// `expect` makes it. ENODEV: the context is closed.
[[nodiscard]] Answer run_expecting(Trap& trap, Context& context, Charge charge,
                                   const std::function<void(Inventory&, const Flight&)>& expect);

// The kernel's word on a context's objects. REQUIRES of its use: context.mutex held, not closed.
class ContextObjects final : public KernelObjects {
 public:
  explicit ContextObjects(Context& context) : context_(context) {}
  [[nodiscard]] ErrnoOr<Listing> list(qos::Resource kind) override;
  [[nodiscard]] ErrnoOr<Region> region(std::uint32_t handle) override;

 private:
  Context& context_;
};

// Fetches the truth about what ran in the tenant. REQUIRES: context.mutex not held.
void settle(Attachment& attachment, Context& context, TaskInspector& tasks);

// Frees what the endpoint (or all of its VPC) is charged for and does not have any more: calls that
// have landed, contexts whose programs are gone. May take milliseconds when there are such.
void reclaim(std::span<const std::shared_ptr<Attachment>> attachments, HolderWatch& watch,
             TaskInspector& tasks, const Tenancy& tenancy, bool all_of_vpc);

// Every few seconds: what nobody asked about, and what nobody should have made.
void settle_all(std::span<const std::shared_ptr<Attachment>> attachments, TaskInspector& tasks);

}  // namespace qmasq::vbond
