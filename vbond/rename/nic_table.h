// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "vbond/nic/nic.h"

namespace qmasq::vbond {

using NicPtr = std::shared_ptr<const Nic>;

struct NicDiff {
  std::vector<std::string> found;  // devices that were not there, in order of their names
  std::vector<std::string> lost;
  std::vector<std::string> changed;
  [[nodiscard]] bool empty() const { return found.empty() && lost.empty() && changed.empty(); }
};

// This host's NICs, as discovery found them last. Values are immutable and shared: a reader keeps
// what it got while an update replaces it. Thread-safe.
class NicTable {
 public:
  // Replaces all. Of two with one device name the first counts.
  NicDiff update(std::vector<Nic> nics);

  // Null: no such device.
  [[nodiscard]] NicPtr find(std::string_view device) const;
  // In order of device names.
  [[nodiscard]] std::vector<NicPtr> list() const;

 private:
  mutable std::shared_mutex mutex_;
  std::map<std::string, NicPtr, std::less<>> nics_;
};

}  // namespace qmasq::vbond
