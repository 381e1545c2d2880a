// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tl/expected.hpp>

#include "vbond/intercept/trap.h"
#include "vbond/uverbs/call.h"
#include "vbond/uverbs/objects.h"
#include "vbond/uverbs/qp.h"
#include "vbond/uverbs/verb.h"

namespace qmasq::vbond {

// Whether this QP may be made; else the errno of the refusal, which has been reported. Lends no
// capability: what the kernel gives only to CAP_NET_RAW is refused to everybody, since the kernel
// would ask the agent's capabilities. REQUIRES: context.mutex held.
[[nodiscard]] tl::expected<void, int> check_create_qp(Trap& trap, Context& context,
                                                      const uverbs::CreateQp& create);

// Whether this type of SRQ is offered; else the refusal has been reported (EOPNOTSUPP).
[[nodiscard]] bool check_srq_type(Trap& trap, const uverbs::Verb& verb,
                                  const uverbs::CreateSrq& create);

// A verb that only the tenant's own context can run: checks what can be checked on a copy, then
// lets it run.
[[nodiscard]] Answer check_and_run(Trap& trap, Context& context, const uverbs::Call& call,
                                   const uverbs::Verb& verb);

}  // namespace qmasq::vbond
