// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "vbond/intercept/attachment.h"
#include "vbond/intercept/inherited.h"

namespace qmasq::vbond {

struct Services;

// Makes the memory that a program's arguments are sealed in, in custody where there is a keeper.
// Before the program's first call. REQUIRES: services have a Redirector.
[[nodiscard]] Status seal(Services& services, Attachment& attachment);

// Takes over what an agent before this one had sealed. If that cannot be used by this one, or is
// not to be, the program goes on as one whose arguments are not sealed, and is counted as such.
void reseal(Services& services, Attachment& attachment, Inherited::Listener& from);

}  // namespace qmasq::vbond
