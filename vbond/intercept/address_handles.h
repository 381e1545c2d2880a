// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

namespace qmasq::vbond {

// The address handles of one context: the kernel's handles, and the agent's own numbers for them,
// which are never used twice.
//
// One that a change of the rules has cut is destroyed in the kernel while the program goes on
// holding its handle. The kernel may give that handle again, and then the program, done with the
// old one, would destroy the new one. So an object that comes by such a handle is kept there unused
// until the program gives the handle up. Not thread-safe.
class AddressHandles {
 public:
  // For the next one. From vbond::kFirstAddressHandle on; nothing: all are used up.
  [[nodiscard]] std::optional<std::uint32_t> next_number();

  // Given by an agent before this one.
  void used(std::uint32_t number);

  // The kernel gave `handle`. False: the program holds a cut one by this handle. The object stays
  // as its filler; ask the kernel for another.
  [[nodiscard]] bool add(std::uint32_t handle, std::uint32_t number);
  // Destroyed in the kernel, the program does not know.
  void cut(std::uint32_t handle);

  struct Held {
    std::optional<std::uint32_t> number;  // none: it was cut
    bool in_kernel = true;                // itself or its filler
  };
  // None: no such handle.
  [[nodiscard]] std::optional<Held> find(std::uint32_t handle) const;
  // The program gave the handle up.
  void remove(std::uint32_t handle);

 private:
  std::uint32_t used_ = 0;
  std::unordered_map<std::uint32_t, Held> handles_;
};

}  // namespace qmasq::vbond
