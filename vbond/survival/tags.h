// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "common/net_types.h"

// What the agent has to know of the descriptors that the keeper holds for it. Written before the
// thing they speak of can be used by anybody, never changed.
namespace qmasq::vbond {

struct LedgerTag {};
struct JournalTag {};
struct ListenerTag {
  std::uint64_t number = 0;  // Ledger::next_listener
  EndpointUid endpoint;
  std::string endpoint_name;  // "vpcs/blue/endpoints/a"
  pid_t pid = 0;
  std::string command;
};
struct ContextTag {
  std::uint64_t id = 0;        // ContextInfo::id
  std::uint64_t listener = 0;  // ListenerTag::number
  std::string nic;
  pid_t pid = 0;
  std::string command;
  bool software = false;
  std::uint32_t driver_id = 0;
  int descriptor = -1;  // its number in the process that opened it
};
// Memory for the sealed arguments of a program. Two of them: each by which it is written, and by
// which tenants map it.
struct SealedTag {
  std::uint64_t listener = 0;
  bool writable = false;
};
using Tag = std::variant<LedgerTag, JournalTag, ListenerTag, ContextTag, SealedTag>;

// Fits Keeper::kMaxTag: names and commands are cut where they are longer than they can be.
[[nodiscard]] std::string encode(const Tag& tag);
// Nothing: of another version, or damaged.
[[nodiscard]] std::optional<Tag> decode_tag(std::string_view bytes);

}  // namespace qmasq::vbond
