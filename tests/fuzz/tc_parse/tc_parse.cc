// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "qos/backends/tc/codec.h"
#include "qos/backends/tc/limits.h"
#include "qos/backends/tc/scan.h"

using namespace qmasq::qos::tc;  // NOLINT(google-build-using-namespace)

// A datagram as the kernel sends it: corpus files were read from rtnetlink sockets. What they say
// goes on to whoever makes a plan of it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::byte> aligned(size);
  if (size > 0) std::memcpy(aligned.data(), data, size);
  constexpr int kDevice = 2;
  std::vector<Class> classes;
  std::vector<Filter> filters;
  (void)for_each_message(aligned, [&](const Message& message) {
    if (message.payload.size() > size) std::abort();
    // By its type, and by the others too: a parser must stand what is not for it.
    auto qdisc = parse_qdisc(message.payload, kDevice);
    if (qdisc && *qdisc && (*qdisc)->kind.size() > size) std::abort();
    if (auto one = parse_class(message.payload, kDevice); one && *one) {
      classes.push_back(**one);
      (void)limits_of(**one);
    }
    if (auto one = parse_filter(message.payload, kDevice); one && *one) {
      filters.push_back(**one);
    }
    auto ack = parse_ack(message);
    if (ack && ack->err < 0) std::abort();
  });
  auto found = scan(classes, filters,
                    [](qmasq::EndpointUid uid) { return qmasq::VpcUid{uid.value / 100 + 1}; }, {});
  if (found.nodes.size() > classes.size()) std::abort();
  return 0;
}
