// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// The attach protocol as values; its messages are in schema/proto/qmasq/v1/agent.proto.
namespace qmasq::vbond {

inline constexpr const char* kDefaultAttachSocket = "/run/qmasq/attach.sock";
inline constexpr std::size_t kMaxAttachMessage = 64 * 1024;  // bytes of one packet

// The filter keeps what lies below this address as it is: nothing that the program does removes,
// replaces or moves a mapping there (docs/adr/0029). 0: nothing is kept on this architecture.
#if defined(__x86_64__)
inline constexpr std::uint32_t kKeptBelow = 0x100000;
#else
inline constexpr std::uint32_t kKeptBelow = 0;
#endif

struct AttachMount {
  std::string source;  // empty: nothing, an empty directory over the target
  std::string target;
  bool read_only = false;
  bool no_devices = false;
};

// What the agent tells a program that wants to be a workload of an endpoint.
struct AttachTerms {
  std::string endpoint;  // full name
  unsigned reserved_first = 0;
  unsigned reserved_count = 0;
  std::vector<AttachMount> mounts;
  bool tenant_opens = false;  // open_mode "tenant"
};

}  // namespace qmasq::vbond
