// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "vbond/rename/connection_journal.h"

namespace qmasq::vbond {

// A connection as bytes, without its key. Of its own version (first byte): one that cannot be read
// is as good as none.
[[nodiscard]] std::string encode_record(const JournaledConnection& connection);
[[nodiscard]] std::optional<JournaledConnection> decode_record(QpKey key, std::string_view bytes);

}  // namespace qmasq::vbond
