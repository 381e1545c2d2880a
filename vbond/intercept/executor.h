// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "vbond/intercept/trap.h"
#include "vbond/uverbs/call.h"
#include "vbond/uverbs/verb.h"

// Serves ioctl(RDMA_VERBS_IOCTL) on a context, by the row of the verb table (design section 4).
//
// Executed by the agent: arguments are copied once into a call of the agent's own, judged and
// rewritten there, executed on the agent's descriptor, results turned back and copied out. What
// the tenant does to its memory in the meantime changes nothing.
//
// Let run: what the kernel can only do in the tenant, because it pins the caller's memory. On
// software NICs that is the registration of memory and nothing else. Where arguments are sealed
// (sealed_calls.h) the kernel reads what was checked. Elsewhere it reads the tenant's memory again,
// which another thread may have changed by then: there what is checked here (a size, on hardware a
// QP or SRQ type) keeps honest programs within what is offered and proves nothing about hostile
// ones; the guard does (turn.h).
//
// Descriptors (completion channels, asynchronous events) are made in the agent's table and given to
// the task before it is answered; the agent keeps none.
//
// CQs and SRQs. As QPs: executed on software NICs, where nothing is pinned, run in the tenant on
// hardware; destroyed by the agent everywhere, and so are memory regions. How they are counted for
// quotas: vbond/admission/inventory.h.
//
// QPs. On software NICs creation and destruction are executed, so handle, number and type are
// certain. On hardware creation must run in the tenant (it pins the caller's memory): the type
// asked for is remembered as pending, and the first verb on a QP of unknown handle, once the kernel
// has confirmed the handle, takes a pending type if all that are pending agree (they do in
// practice). That it is the type that was checked is the guard's to see to. Unproven on hardware is
// the QP's number, which no verb tells. Addresses do not depend on either: they are judged in
// MODIFY_QP, which is always executed. Destruction is executed on every NIC.
namespace qmasq::vbond {

[[nodiscard]] Answer serve_verb(Trap& trap, Context& context, const uverbs::Call& call,
                                const uverbs::Verb& verb);

}  // namespace qmasq::vbond
