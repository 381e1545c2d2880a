// SPDX-License-Identifier: Apache-2.0
#include "vbond/rename/peer_records.h"

#include <algorithm>
#include <cstring>

namespace qmasq::vbond {
namespace {

constexpr std::string_view kBetween = "/endpoints/";

// The id in a name of the usual form, or empty.
std::string_view id_in(std::string_view name, std::string_view vpc_name) {
  if (!name.starts_with(vpc_name)) return {};
  name.remove_prefix(vpc_name.size());
  if (!name.starts_with(kBetween)) return {};
  return name.substr(kBetween.size());
}

}  // namespace

std::uint64_t PeerRecords::hash(EndpointUid uid) {
  // Uids are counted up by the controller; the multiplies spread them.
  std::uint64_t hash = uid.value * 0x9E3779B97F4A7C15ULL;
  hash ^= hash >> 32U;
  return hash * 0xD6E8FEB86659FD93ULL;
}

std::uint64_t PeerRecords::hash(std::uint32_t vpc, const Mac& mac) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, mac.bytes.data(), mac.bytes.size());
  return hash(EndpointUid{bits ^ (std::uint64_t{vpc} << 40U) ^ vpc});
}

std::uint32_t PeerRecords::find(EndpointUid uid) const {
  return indexes_.by_uid.find(hash(uid),
                              [&](std::uint32_t number) { return records_[number].uid == uid; });
}

std::uint32_t PeerRecords::find(std::uint32_t vpc, const Mac& mac) const {
  return indexes_.by_mac.find(hash(vpc, mac), [&](std::uint32_t number) {
    return records_[number].vpc == vpc && records_[number].mac == mac;
  });
}

std::uint32_t PeerRecords::add(EndpointUid uid) {
  std::uint32_t number = records_.take();
  records_[number].uid = uid;
  indexes_.by_uid.add(hash(uid), number);
  return number;
}

void PeerRecords::set_place(std::uint32_t number, std::uint32_t vpc, const Mac& mac) {
  PeerRecord& record = records_[number];
  if (record.vpc == vpc && record.mac == mac) return;
  if (!record.mac.is_zero()) indexes_.by_mac.remove(number, hash_of_mac());
  record.vpc = vpc;
  record.mac = mac;
  if (!mac.is_zero()) indexes_.by_mac.add(hash(vpc, mac), number);
}

void PeerRecords::remove(std::uint32_t number) {
  PeerRecord& record = records_[number];
  indexes_.by_uid.remove(number, hash_of_uid());
  if (!record.mac.is_zero()) indexes_.by_mac.remove(number, hash_of_mac());
  free_more(record);
  free_name(record);
  records_.give(number);
}

void PeerRecords::free_more(PeerRecord& record) {
  while (record.more != kNone) {
    std::uint32_t gone = record.more;
    record.more = more_[gone].next;
    more_.give(gone);
  }
}

void PeerRecords::free_name(PeerRecord& record) {
  if (record.name != kNone) names_.free(record.name & ~kFullName);
  record.name = kNone;
}

std::vector<Gid> PeerRecords::addresses(std::uint32_t number) const {
  std::vector<Gid> out;
  const PeerRecord& record = records_[number];
  if (!record.first.is_zero()) out.push_back(record.first);
  for (std::uint32_t i = record.more; i != kNone; i = more_[i].next)
    out.push_back(more_[i].gid);
  return out;
}

bool PeerRecords::has_addresses(std::uint32_t number, std::span<const IpAddress> want) const {
  const PeerRecord& record = records_[number];
  if (record.first != (want.empty() ? Gid{} : Gid::from_ip(want[0]))) return false;
  std::uint32_t i = record.more;
  for (std::size_t at = 1; at < want.size(); ++at) {
    if (i == kNone || more_[i].gid != Gid::from_ip(want[at])) return false;
    i = more_[i].next;
  }
  return i == kNone;
}

void PeerRecords::set_addresses(std::uint32_t number, std::span<const IpAddress> addresses) {
  PeerRecord& record = records_[number];
  free_more(record);
  record.first = addresses.empty() ? Gid{} : Gid::from_ip(addresses[0]);
  for (std::size_t at = addresses.size(); at > 1; --at) {
    std::uint32_t i = more_.take();
    more_[i] = More{Gid::from_ip(addresses[at - 1]), record.more};
    record.more = i;
  }
}

void PeerRecords::set_name(std::uint32_t number, std::string_view name, std::string_view vpc_name) {
  PeerRecord& record = records_[number];
  free_name(record);
  std::string_view id = id_in(name, vpc_name);
  record.name = id.empty() ? names_.put(name.substr(0, NameArena::kMaxLength)) | kFullName
                           : names_.put(id.substr(0, NameArena::kMaxLength));
}

std::string PeerRecords::name(std::uint32_t number, std::string_view vpc_name) const {
  std::uint32_t ref = records_[number].name;
  if (ref == kNone) return {};
  std::string_view kept = names_.get(ref & ~kFullName);
  if ((ref & kFullName) != 0) return std::string(kept);
  std::string out;
  out.reserve(vpc_name.size() + kBetween.size() + kept.size());
  return out.append(vpc_name).append(kBetween).append(kept);
}

std::string_view PeerRecords::id(std::uint32_t number) const {
  std::uint32_t ref = records_[number].name;
  if (ref == kNone) return {};
  std::string_view kept = names_.get(ref & ~kFullName);
  return kept.substr(kept.rfind('/') + 1);  // npos + 1 is 0
}

bool PeerRecords::has_name(std::uint32_t number, std::string_view name,
                           std::string_view vpc_name) const {
  std::uint32_t ref = records_[number].name;
  if (ref == kNone) return false;
  std::string_view id = id_in(name, vpc_name);
  bool full = (ref & kFullName) != 0;
  return full == id.empty() && names_.get(ref & ~kFullName) == (full ? name : id);
}

PeerRecords::Indexes PeerRecords::indexes_for(std::size_t count) const {
  return {indexes_.by_uid.resized(count, hash_of_uid()),
          indexes_.by_mac.resized(count, hash_of_mac())};
}

std::size_t PeerRecords::memory_bytes() const {
  return records_.memory_bytes() + more_.memory_bytes() + names_.memory_bytes() +
         indexes_.by_uid.memory_bytes() + indexes_.by_mac.memory_bytes();
}

}  // namespace qmasq::vbond
