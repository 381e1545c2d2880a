// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "common/result.h"
#include "common/unique_fd.h"
#include "vbond/sealed/layout.h"

namespace qmasq::vbond::sealed {

// The file behind the sealed pages of one attachment. Two descriptors of it: one to write by, which
// only the agent and the keeper have, and one that is given to tenants while they map it. The
// latter is open for reading on a mount of its own that is read-only, so that nobody, root in a
// tenant included, can make a writable one of it; and the file has no name.
//
// A memfd would not do: sealed against writing it could not be written by the next agent either,
// and what is not sealed can be opened anew through /proc.
class SealedMemory {
 public:
  struct Identity {
    dev_t device = 0;
    ino_t inode = 0;
  };

  // In a folder on a tmpfs. With the trampoline in its place. kUnsupported: not on a tmpfs, or not
  // on this architecture.
  [[nodiscard]] static Result<std::unique_ptr<SealedMemory>> create(const std::string& folder);
  // An agent's before this one, as it left it: there may be calls in the slots. kInvalidArgument:
  // not such a file, or one of another layout.
  [[nodiscard]] static Result<std::unique_ptr<SealedMemory>> adopt(UniqueFd writable,
                                                                   UniqueFd readable);
  ~SealedMemory();
  SealedMemory(const SealedMemory&) = delete;
  SealedMemory& operator=(const SealedMemory&) = delete;

  [[nodiscard]] int writable() const { return writable_.get(); }
  [[nodiscard]] int readable() const { return readable_.get(); }
  [[nodiscard]] const Identity& identity() const { return identity_; }

  // REQUIRES: no call in the slot.
  void write(const LaidCall& call);

  // Whose call was let run with what is in the slot, for the next agent. In the file only, where
  // tenants have the slot's tail.
  struct Note {
    pid_t tid = 0;  // 0: none was
    std::uint64_t header = 0;
  };
  // Before the call is let run.
  void note(unsigned slot, const Note& note);
  [[nodiscard]] Note note(unsigned slot) const;

 private:
  SealedMemory() = default;
  [[nodiscard]] Status map(UniqueFd writable, UniqueFd readable);

  UniqueFd writable_;
  UniqueFd readable_;
  Identity identity_;
  std::byte* bytes_ = nullptr;
};

}  // namespace qmasq::vbond::sealed
