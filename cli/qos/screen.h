// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

#include "cli/console.h"
#include "cli/qos/samples.h"

// What `qmasq top` prints. Pure.
namespace qmasq::cli {

// A line about all, one for each endpoint, one for each host that did not answer. At most
// `most_rows` endpoints, then how many are left out.
[[nodiscard]] std::string frame_text(const TopFrame& frame, std::size_t most_rows, bool colour);

// `text` over what is on the screen, cut to its size. No mode of the terminal is changed, so that
// there is nothing to set back when the program ends in the middle. `first`: clears what others
// left.
[[nodiscard]] std::string in_place(const std::string& text, TerminalSize size, bool first);

// How many endpoints have room beside the lines that `frame` needs else.
[[nodiscard]] std::size_t rows_that_fit(const TopFrame& frame, TerminalSize size);

}  // namespace qmasq::cli
