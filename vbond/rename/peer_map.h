// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/net_types.h"
#include "common/result.h"
#include "conntrack/tracker.h"
#include "vbond/state/change.h"

namespace qmasq::vbond {

// Who is behind a virtual GID, and where to send.
struct Peer {
  EndpointUid endpoint;
  HostUid host;
  Gid physical;         // zero: its host has no NIC with a GID of the family we send from
  bool of_vpc = false;  // `physical` is of the VPC alone, so what is sent there must be so, too
};

// Why nobody is.
enum class NoPeer {
  kNoVpc,      // no VPC has that VNI here
  kNoAddress,  // no endpoint of the VPC has the address
};

// The local end of the question: what the peer's NIC is chosen by.
struct LocalNic {
  std::string_view device;
  Gid primary;  // physical
  bool has_vpc_gids = false;
};

// For people and for later looks.
struct PeerInfo {
  std::string name;  // "vpcs/blue/endpoints/b"
  std::string host;  // "hosts/hostB", or empty: a host that was never described
  HostUid host_uid;
  std::uint32_t generation = 0;  // goes up when the endpoint's host or addresses change
};

// (VNI, virtual GID) -> peer, for every VPC that the agent holds: 1M entries at up to 150 bytes
// each (memory_bytes), all of names and what removal needs included. Besides its VPC addresses an
// endpoint is found by the link-local GID of its virtual MAC, index 0 of its table, which is not
// counted as an entry.
//
// Threads: apply() and check() from one thread at a time; all else from any number of threads,
// while apply() runs. A reader takes one of several shared locks and no other memory of common use,
// so readers on different threads do not slow each other. apply() lets readers in after every few
// hundred entries; each entry changes in one step, and one that is in the map before and after a
// change, moved or not, is found all the time in between.
//
// The peer's physical GID: of the NIC of its host with our NIC's device name, else of its host's
// first NIC, always of the family of our own primary GID. The rule is the same from both sides, as
// it must be: RoCE v2 drops packets whose source is not the address vector's destination. Where
// both NICs have GIDs for VPCs, it is the VPC's there.
class PeerMap final : public ChangeObserver, public conntrack::Directory {
 public:
  // `sets` numbers the groups that endpoints carry. Not owned, must outlive this.
  explicit PeerMap(conntrack::GroupSets& sets);
  ~PeerMap() override;
  PeerMap(const PeerMap&) = delete;
  PeerMap& operator=(const PeerMap&) = delete;

  // Refuses what would not be one map: endpoints of unknown VPCs, one VNI or address for two.
  [[nodiscard]] Status check(const Change& change) override;
  void apply(const Change& change) override;

  // `info`, when given, is set to what describe() would say of the peer, for one more cache miss.
  // REQUIRES: info is fresh; it stays so for a peer that is just being removed.
  [[nodiscard]] tl::expected<Peer, NoPeer> find(Vni vni, const Gid& virtual_gid,
                                                const LocalNic& local,
                                                PeerInfo* info = nullptr) const;
  [[nodiscard]] std::optional<PeerInfo> describe(EndpointUid endpoint) const;
  [[nodiscard]] std::optional<conntrack::Standing> look(EndpointUid endpoint,
                                                        const IpAddress& address) const override;

  // All endpoints with the id, in one VPC or (vpc empty) in any; at most `limit`. Looks at every
  // endpoint: for error messages only.
  struct Named {
    EndpointUid uid;
    std::string name;
    std::string host;
  };
  [[nodiscard]] std::vector<Named> find_named(std::string_view vpc_id, std::string_view endpoint_id,
                                              std::size_t limit) const;

  struct Size {
    std::size_t entries = 0;  // (VNI, VPC address) pairs
    std::size_t endpoints = 0;
    std::size_t vpcs = 0;
    std::size_t hosts = 0;
  };
  [[nodiscard]] Size size() const;
  // All memory behind the map, as allocated.
  [[nodiscard]] std::size_t memory_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qmasq::vbond
