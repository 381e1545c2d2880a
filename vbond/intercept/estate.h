// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/result.h"
#include "vbond/intercept/inherited.h"
#include "vbond/keeper/keeper.h"
#include "vbond/survival/custody.h"
#include "vbond/survival/ledger.h"

namespace qmasq::vbond {

// All that an agent finds with its keeper.
struct Estate {
  std::unique_ptr<Custody> custody;
  std::unique_ptr<Ledger> ledger;
  // The journal's part in memory; invalid: there is none.
  UniqueFd journal;
  Custody::Ticket journal_custody;
  Inherited inherited;  // but for its connections
  // What was there and could not be used, for people.
  std::vector<std::string> complaints;
};

// Sorts what the keeper holds. What nobody can use any more (files of a listener that is gone, tags
// of another version) is dropped. Nothing is served yet. `open_port` as the kernel's; both are only
// used during the call. Errors: the keeper's.
[[nodiscard]] Result<Estate> take_over(
    std::unique_ptr<Keeper> keeper, Custody::Options options, VerbsDevices& devices,
    const std::function<Result<std::unique_ptr<NotificationPort>>(UniqueFd)>& open_port);

}  // namespace qmasq::vbond
