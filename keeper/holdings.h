// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"
#include "keeper/protocol.h"
#include "keeper/service_manager.h"
#include "keeper/tag_table.h"

namespace qmasq::keeper {

// More cannot be handed to the next process: systemd names them all in one environment variable
// (LISTEN_FDNAMES), which the kernel limits to 128 KiB, and a name takes up to 8 bytes of it.
inline constexpr std::size_t kMostDescriptors = 16000;
// For each that is stored systemd compares it with all that are (kcmp): with 4000 some milliseconds
// of process 1, with 16000 so much that the host feels it.
inline constexpr std::size_t kUsualDescriptors = 4096;

// What is held, and what there must be of it at the service manager's so that it survives this
// process as well. Single-threaded.
//
// Order of writing: a tag is in the table before its descriptor is at the service manager's, and is
// gone from it before the descriptor is taken from there. So a descriptor without a tag is one that
// was being dropped, and a tag without a descriptor one whose put() was never answered.
class Holdings {
 public:
  // `found`: what the process before left. What is unreadable is held under an empty tag: the agent
  // decides what to do with it, not we.
  [[nodiscard]] static Result<Holdings> open(std::size_t most, std::vector<Stored> found,
                                             ServiceManager& manager);

  // 0: as many as may be are held.
  [[nodiscard]] std::uint64_t put(std::string_view tag, UniqueFd descriptor);
  [[nodiscard]] bool retag(std::uint64_t id, std::string_view tag);
  // Closes it.
  [[nodiscard]] bool drop(std::uint64_t id);

  [[nodiscard]] std::size_t size() const { return held_.size(); }
  // The first one from `id` on; 0: none.
  [[nodiscard]] std::uint64_t next(std::uint64_t id) const;
  [[nodiscard]] std::string_view tag(std::uint64_t id) const { return tags_.tag(id); }
  // -1: not held.
  [[nodiscard]] int descriptor(std::uint64_t id) const;

 private:
  Holdings(std::size_t most, TagTable tags, ServiceManager& manager)
      : most_(most), tags_(std::move(tags)), manager_(&manager) {}
  void match(std::map<std::uint64_t, UniqueFd> found);

  std::size_t most_;
  TagTable tags_;
  ServiceManager* manager_;
  std::map<std::uint64_t, UniqueFd> held_;
};

}  // namespace qmasq::keeper
