// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/shell.h"

namespace qmasq::cli {

// `host token` and `host revoke`.
void add_host_trust_commands(CLI::App& group, Shell& shell);

}  // namespace qmasq::cli
