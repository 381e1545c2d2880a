// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "vbond/intercept/attachment.h"
#include "vbond/intercept/inherited.h"

namespace qmasq::vbond {

struct CallSlot;
struct Services;

// Makes an open device of an agent before this one a context of the attachment, with what the
// kernel, the journal and the slots of calls on their way say of it. One that the guard has not
// watched is closed: nobody knows what it is. Before the attachment serves its first call.
void take_over(Services& services, Attachment& attachment, Inherited::File& from,
               std::span<const JournaledConnection> journaled, std::span<CallSlot* const> slots);

}  // namespace qmasq::vbond
