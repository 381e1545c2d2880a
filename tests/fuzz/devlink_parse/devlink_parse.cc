// SPDX-License-Identifier: Apache-2.0
#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "qos/backends/devlink/message.h"

using namespace qmasq::qos::devlink;  // NOLINT(google-build-using-namespace)

// A datagram as the kernel sends it: corpus files were read from a generic netlink socket of Linux
// 6.1 with netdevsim.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto messages = split_messages({reinterpret_cast<const std::byte*>(data), size});
  if (!messages) return 0;
  for (const Message& message : *messages) {
    if (message.whole.size() > size) std::abort();
    // By its type, and by the others too: a parser must stand what is not for it.
    (void)parse_family(message);
    auto object = parse_object(message);
    if (object && *object) {
      const RateObject& found = (*object)->object;
      bool leaf = found.id.kind == RateId::Kind::kLeaf;
      if (leaf != found.id.name.empty() || found.id.name.size() > size) std::abort();
    }
    auto ack = parse_ack(message);
    if (ack && (ack->err < 0 || ack->text.size() > size)) std::abort();
  }
  return 0;
}
