// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "common/net_types.h"
#include "common/result.h"

// What a tenant finds below /sys/class/infiniband: files that the agent writes, bound over the
// kernel's in the tenant's mount namespace, so that programs which read sysfs past the verbs (NCCL,
// UCX, libibverbs as a fallback) see the virtual GID table and no physical address.
//
//   <root>/<endpoint uid>/sys/<device>/node_guid, sys_image_guid
//   <root>/<endpoint uid>/sys/<device>/ports/<n>/gids/<i>
//   <root>/<endpoint uid>/sys/<device>/ports/<n>/gid_attrs/types/<i>
//   <root>/<endpoint uid>/sys/<device>/ports/<n>/gid_attrs/ndevs/<i>
//
// The directories hold exactly the entries of the virtual table, as long as gid_tbl_len of the
// masqueraded QUERY_PORT says: everybody who reads them counts up to that. The kernel's own table
// has a file for each possible entry, zero GIDs in gids/ and EINVAL from types/ and ndevs/ where it
// is empty; a plain file cannot fail with EINVAL, and an empty one is worse: it says "no type"
// where nobody looks for that.
namespace qmasq::vbond {

struct StagedNic {
  std::string device;                // "rxe0"
  std::vector<std::uint32_t> ports;  // {1}
};

struct StagedEndpoint {
  EndpointUid uid;
  std::vector<Gid> gids;  // the virtual table
  std::array<std::uint8_t, 8> guid{};
  std::string interface;  // in the tenant's namespace: what ndevs/ says; empty: "" lines
};

struct StagedMount {
  std::string source;  // below the staging root
  std::string target;  // real path in sysfs
  bool operator==(const StagedMount&) const = default;
};

// Thread-safe: calls are serialised.
class GidStaging {
 public:
  struct Roots {
    std::string staging = "/run/qmasq/endpoints";
    std::string sysfs = "/sys";
  };
  explicit GidStaging(Roots roots);

  // Writes the files for an endpoint as it stands. In place: directories stay the same inode
  // (mounts of running programs go on to show them), files are replaced one by one, never half
  // written; new entries appear before the type of none is missing, gone ones disappear from the
  // end.
  [[nodiscard]] Status stage(const StagedEndpoint& endpoint, const std::vector<StagedNic>& nics);

  // What to bind over sysfs for a program of the endpoint, in order. Call after stage(). A NIC that
  // is not in sysfs (any more) is left out.
  [[nodiscard]] Result<std::vector<StagedMount>> mounts(EndpointUid endpoint,
                                                        const std::vector<StagedNic>& nics) const;

  // The endpoint is unbound: its files go. Not an error when there are none.
  [[nodiscard]] Status remove(EndpointUid endpoint);
  // Removes what a previous agent left behind and is not in `keep`.
  [[nodiscard]] Status sweep(const std::vector<EndpointUid>& keep);

 private:
  const Roots roots_;
};

}  // namespace qmasq::vbond
