// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/sealing.h"

#include <spdlog/spdlog.h>

#include <memory>
#include <utility>

#include "vbond/intercept/sealed_calls.h"
#include "vbond/intercept/services.h"

namespace qmasq::vbond {

Status seal(Services& services, Attachment& attachment) {
  auto memory = sealed::SealedMemory::create(services.options.sealed_folder);
  if (!memory) return tl::unexpected(std::move(memory).error());
  SealedCalls::Tickets tickets;
  if (Custody* custody = services.custody(); custody != nullptr && attachment.number != 0) {
    tickets.writable =
        custody->put(SealedTag{attachment.number, /*writable=*/true}, (*memory)->writable());
    tickets.readable =
        custody->put(SealedTag{attachment.number, /*writable=*/false}, (*memory)->readable());
  }
  attachment.sealed = std::make_unique<SealedCalls>(
      std::move(*memory), std::move(tickets), *services.parts.redirector, /*inherited=*/false);
  return {};
}

void reseal(Services& services, Attachment& attachment, Inherited::Listener& from) {
  if (!from.sealed_writable.valid() && !from.sealed_readable.valid()) return;
  SealedCalls::Tickets tickets{from.writable_custody, from.readable_custody};
  Result<std::unique_ptr<sealed::SealedMemory>> memory =
      fail(Code::kUnsupported, "arguments are not sealed on this host");
  if (services.parts.redirector != nullptr) {
    memory = sealed::SealedMemory::adopt(std::move(from.sealed_writable),
                                         std::move(from.sealed_readable));
  }
  if (!memory) {
    spdlog::error("endpoint={} pid={}: sealed memory of before cannot be used: {}",
                  attachment.endpoint_name, attachment.pid, memory.error().message);
    services.custody()->drop(tickets.writable);
    services.custody()->drop(tickets.readable);
    return;
  }
  attachment.sealed = std::make_unique<SealedCalls>(std::move(*memory), std::move(tickets),
                                                    *services.parts.redirector, /*inherited=*/true);
}

}  // namespace qmasq::vbond
