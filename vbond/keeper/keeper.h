// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"

namespace qmasq::vbond {

// Descriptors that outlive the agent, each with a tag: the agent's own words, which the keeper
// never looks into. Behind it is `qmasq-keeper`, a process that does nothing else.
//
// One agent at a time. The connection is the agent's title to what is held: while it stands no
// other agent gets any of it, and the kernel ends it with the process, kill -9 included. Nothing is
// given up on the agent's death: only drop() does that.
//
// Thread-safe; calls are answered in the order in which they were made and take one round trip
// each. After an error that is not about the arguments the keeper is lost: all calls fail with
// kUnavailable from then on, and what it held is closed by the kernel if it has died, unless
// systemd starts it again: then another connect_keeper() finds all of it, with the same ids. The
// agent's own descriptors of the same files are not touched by that. Each open file is to be put
// once only (docs/adr/0020).
class Keeper {
 public:
  static constexpr std::size_t kMaxTag = 4096;  // bytes
  // Never used twice by one keeper process; 0 is none.
  using Id = std::uint64_t;

  struct Held {
    Id id = 0;
    std::string tag;
    UniqueFd descriptor;
  };

  virtual ~Keeper() = default;  // ends the session; what is held stays

  // Everything that is held, by id. The descriptors are the caller's own from then on.
  [[nodiscard]] virtual Result<std::vector<Held>> list() = 0;
  // From its return on `descriptor` (a duplicate of it) outlives the caller. kInvalidArgument: tag
  // too long. kResourceExhausted: the keeper has as many as it may.
  [[nodiscard]] virtual Result<Id> put(std::string_view tag, int descriptor) = 0;
  [[nodiscard]] virtual Status retag(Id id, std::string_view tag) = 0;
  // kNotFound: no such thing is held.
  [[nodiscard]] virtual Status drop(Id id) = 0;
  // The process that holds them, in the agent's pid namespace; 0: not to be seen from it.
  [[nodiscard]] virtual pid_t pid() const { return 0; }
};

// Waits up to `patience` for an agent that is still there to end. Errors: kUnavailable, nobody
// listens or it hangs, with the socket's name; kFailedPrecondition, another agent has the session
// and keeps it (its pid is in the message); kUnsupported, it speaks another version.
[[nodiscard]] Result<std::unique_ptr<Keeper>> connect_keeper(const std::string& socket,
                                                             std::chrono::milliseconds patience);

inline constexpr const char* kDefaultKeeperSocket = "/run/qmasq/keeper.sock";

}  // namespace qmasq::vbond
