// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/shell.h"
#include "qmasq/v1/impact.pb.h"

namespace qmasq::cli {

// What --validate-only learnt about connections that stand, for people.
void print_impact(const Shell& shell, const v1::Impact& impact);

}  // namespace qmasq::cli
