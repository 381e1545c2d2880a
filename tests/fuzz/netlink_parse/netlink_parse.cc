// SPDX-License-Identifier: Apache-2.0
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "vbond/netlink/message.h"

using namespace qmasq::vbond::netlink;  // NOLINT(google-build-using-namespace)

// A datagram as the kernel sends it: corpus files were read from rtnetlink sockets.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto messages = split_messages({reinterpret_cast<const std::byte*>(data), size});
  if (!messages) return 0;
  for (const Message& message : *messages) {
    if (message.payload.size() > size) std::abort();
    // By its type, and by the others too: a parser must stand what is not for it.
    auto link = parse_link(message.payload);
    if (link && link->name.size() > size) std::abort();
    (void)parse_address(message.payload);
    (void)parse_neighbour(message.payload);
    (void)parse_fdb(message.payload);
    auto ack = parse_ack(message);
    if (ack && ack->err < 0) std::abort();
  }
  return 0;
}
