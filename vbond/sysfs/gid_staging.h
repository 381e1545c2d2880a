// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "common/net_types.h"
#include "common/result.h"

// What a tenant finds below /sys/class/infiniband and /dev/infiniband: files that the agent writes,
// bound over the kernel's in the tenant's mount namespace, so that programs which read sysfs past
// the verbs (NCCL, UCX, libibverbs as a fallback) see the virtual GID table and no physical
// address.
//
//   <staging>/<endpoint uid>/<device>/node_guid, sys_image_guid
//   <staging>/<endpoint uid>/<device>/ports/<n>/gids/<i>
//   <staging>/<endpoint uid>/<device>/ports/<n>/gid_attrs/types/<i>
//   <staging>/<endpoint uid>/<device>/ports/<n>/gid_attrs/ndevs/<i>
//
// The directories hold exactly the entries of the virtual table, as many as gid_tbl_len of the
// masqueraded QUERY_PORT says: all of the readers named above count up to that. The kernel has a
// file for each entry the NIC could hold, and answers EINVAL to a read of types/ and ndevs/ of an
// empty one. No plain file does that, and an empty one would be taken for an entry of an unknown
// type, so there are none.
//
// What qmasq does not manage shows nothing: a device that is not among the NICs, and other ports of
// one that is, have <staging>/<endpoint uid>/.hidden, an empty directory, over theirs.
namespace qmasq::vbond {

struct StagedNic {
  std::string device;  // "rxe0"
  std::uint32_t port = 1;
};

struct StagedEndpoint {
  EndpointUid uid;
  std::vector<Gid> gids;               // the virtual table
  std::array<std::uint8_t, 8> guid{};  // network order
  std::string interface;               // in the tenant's namespace, for ndevs/
};

// A bind mount, read-only: `target` is a real path in sysfs (some programs realpath() first).
struct StagedMount {
  std::string source;
  std::string target;
  bool operator==(const StagedMount&) const = default;
};

// A character device that /dev/infiniband of the tenant shows without letting it be opened: stat()
// must find it, with the number that sysfs says.
struct StagedNode {
  std::string name;  // "uverbs0"
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  bool operator==(const StagedNode&) const = default;
};

// Thread-safe: calls are serialised.
class GidStaging {
 public:
  struct Roots {
    std::string staging = "/run/qmasq/endpoints";
    std::string sysfs = "/sys";
  };
  explicit GidStaging(Roots roots) : roots_(std::move(roots)) {}

  // Writes the files for an endpoint as it stands now, touching only what differs. Directories stay
  // the same, so mounts of programs that run already show the new state; each file is replaced in
  // one step. (node_guid and sys_image_guid are mounts of their own: who mounted them keeps what
  // they said. They change with the endpoint's MAC only.)
  // Errors: kInvalidArgument for a device name that is none; those of the file system.
  [[nodiscard]] Status stage(const StagedEndpoint& endpoint, const std::vector<StagedNic>& nics);

  // What to mount for a program of the endpoint, in order. Call after stage(). A NIC that is not in
  // sysfs (any more) is left out. Every device that is in sysfs now is the target of some mount, or
  // has one below it.
  [[nodiscard]] std::vector<StagedMount> mounts(EndpointUid endpoint,
                                                const std::vector<StagedNic>& nics) const;

  // The verbs devices of the NICs, by name.
  [[nodiscard]] std::vector<StagedNode> nodes(const std::vector<StagedNic>& nics) const;

  // The endpoint is unbound: its files go. Not an error when there are none.
  [[nodiscard]] Status remove(EndpointUid endpoint);
  // What a previous agent left behind goes, too.
  [[nodiscard]] Status sweep(const std::vector<EndpointUid>& keep);

 private:
  [[nodiscard]] std::string home(EndpointUid endpoint) const;

  const Roots roots_;
  mutable std::mutex mutex_;
};

}  // namespace qmasq::vbond
