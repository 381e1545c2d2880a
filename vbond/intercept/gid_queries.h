// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vbond/rename/renamer.h"
#include "vbond/uverbs/call_builder.h"
#include "vbond/uverbs/verb.h"

namespace qmasq::vbond {

// Answers UVERBS_METHOD_QUERY_GID_ENTRY and QUERY_GID_TABLE from the endpoint's virtual table,
// without the kernel. REQUIRES: `verb` is one of these, `call` holds the tenant's arguments.
// 0, or the errno that the kernel would give.
[[nodiscard]] int answer_gids(Renamer& renamer, const ContextInfo& context,
                              const uverbs::Verb& verb, uverbs::CallBuilder& call);

}  // namespace qmasq::vbond
