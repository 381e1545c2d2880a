// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/net_types.h"
#include "vbond/rename/name_arena.h"
#include "vbond/rename/pool.h"
#include "vbond/rename/record_index.h"

namespace qmasq::vbond {

// What the peer map knows of an endpoint besides its slots in the table.
struct PeerRecord {
  static constexpr std::uint32_t kNone = 0xffffffffU;
  EndpointUid uid;  // 0: the place is free
  Gid first;        // zero: no address
  std::uint32_t vpc = kNone;
  std::uint32_t host = kNone;
  std::uint32_t name = kNone;
  std::uint32_t more = kNone;  // addresses after the first
  std::uint32_t generation = 0;
  std::uint32_t epoch = 0;   // of the last change that spoke of it
  std::uint32_t groups = 0;  // conntrack::SetId of its security groups, held
  Mac mac;
};
static_assert(sizeof(PeerRecord) == 64);

// Endpoint records by number, by uid, and by VPC and MAC. A number is good until remove(). Not
// thread-safe.
class PeerRecords {
 public:
  static constexpr std::uint32_t kNone = PeerRecord::kNone;

  // kNone: unknown.
  [[nodiscard]] std::uint32_t find(EndpointUid uid) const;
  [[nodiscard]] std::uint32_t find(std::uint32_t vpc, const Mac& mac) const;
  // REQUIRES: not there yet, room_for(1), uid not 0.
  [[nodiscard]] std::uint32_t add(EndpointUid uid);
  void remove(std::uint32_t number);

  // `uid`, `vpc` and `mac` are keys: not to be written through this.
  [[nodiscard]] PeerRecord& operator[](std::uint32_t number) { return records_[number]; }
  [[nodiscard]] const PeerRecord& operator[](std::uint32_t number) const {
    return records_[number];
  }
  // All numbers in use are below; skip those whose uid is 0.
  [[nodiscard]] std::uint32_t end() const { return records_.end(); }
  [[nodiscard]] std::size_t size() const { return indexes_.by_uid.size(); }

  void set_place(std::uint32_t number, std::uint32_t vpc, const Mac& mac);
  [[nodiscard]] std::vector<Gid> addresses(std::uint32_t number) const;
  [[nodiscard]] bool has_addresses(std::uint32_t number, std::span<const IpAddress> want) const;
  void set_addresses(std::uint32_t number, std::span<const IpAddress> addresses);

  // Of `vpc_name` only the rest behind it is kept where the name has the usual form.
  void set_name(std::uint32_t number, std::string_view name, std::string_view vpc_name);
  [[nodiscard]] std::string name(std::uint32_t number, std::string_view vpc_name) const;
  // "a" of "vpcs/blue/endpoints/a".
  [[nodiscard]] std::string_view id(std::uint32_t number) const;
  [[nodiscard]] bool has_name(std::uint32_t number, std::string_view name,
                              std::string_view vpc_name) const;

  // The indexes grow in two steps, so that only the second one needs readers kept out.
  struct Indexes {
    RecordIndex by_uid;
    RecordIndex by_mac;
  };
  [[nodiscard]] bool room_for(std::size_t more) const {
    return indexes_.by_uid.room_for(more) && indexes_.by_mac.room_for(more);
  }
  // Reads only.
  [[nodiscard]] Indexes indexes_for(std::size_t count) const;
  // The old ones go to the caller, to be freed out of the lock.
  void swap_indexes(Indexes& indexes) { std::swap(indexes_, indexes); }

  [[nodiscard]] std::size_t memory_bytes() const;

 private:
  struct More {
    Gid gid;
    std::uint32_t next = kNone;
  };
  static constexpr std::uint32_t kFullName = 0x80000000U;  // in PeerRecord::name: not only the id

  [[nodiscard]] static std::uint64_t hash(EndpointUid uid);
  [[nodiscard]] static std::uint64_t hash(std::uint32_t vpc, const Mac& mac);
  // Of the record's own keys.
  [[nodiscard]] auto hash_of_uid() const {
    return [this](std::uint32_t number) { return hash(records_[number].uid); };
  }
  [[nodiscard]] auto hash_of_mac() const {
    return
        [this](std::uint32_t number) { return hash(records_[number].vpc, records_[number].mac); };
  }
  void free_more(PeerRecord& record);
  void free_name(PeerRecord& record);

  Pool<PeerRecord> records_;
  Pool<More> more_;
  NameArena names_;
  Indexes indexes_;
};

}  // namespace qmasq::vbond
