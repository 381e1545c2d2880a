// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/trap.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "vbond/events/event_log.h"

namespace qmasq::vbond {

int Trap::fetch(std::span<const TenantMemory::In> pieces) {
  std::array<TenantMemory::In, TenantMemory::kMaxPieces> missing;
  std::size_t used = 0;
  for (const TenantMemory::In& piece : pieces) {
    const std::uint64_t offset = piece.address - kept_address_;  // huge when it lies before
    if (!piece.bytes.empty() && offset < kept_.size() &&
        piece.bytes.size() <= kept_.size() - offset) {
      std::memcpy(piece.bytes.data(), kept_.data() + offset, piece.bytes.size());
      continue;
    }
    if (used == missing.size()) return EINVAL;
    missing[used++] = piece;
  }
  return used == 0 ? 0 : read(std::span(missing).first(used));
}

Answer Trap::refuse(std::string_view verb, int err, std::string reason) const {
  Event event;
  event.type = EventType::kRefused;
  event.endpoint = attachment.endpoint_name;
  event.verb = std::string(verb);
  event.err = err;
  event.reason = std::move(reason);
  event.pid = call.tid;
  event.command = attachment.command;
  services.parts.events.record(std::move(event));
  return Answer::fails(err, Outcome::kRefused);
}

}  // namespace qmasq::vbond
