// SPDX-License-Identifier: Apache-2.0
#include "vbond/rename/peer_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "vbond/nic/vpc_gid.h"
#include "vbond/rename/big_reader_lock.h"
#include "vbond/rename/peer_records.h"
#include "vbond/rename/peer_table.h"

namespace qmasq::vbond {
namespace {

constexpr std::uint32_t kNone = PeerRecord::kNone;

struct VpcRow {
  VpcUid uid;  // 0: free
  Vni vni;
  std::string name;
  std::uint32_t epoch = 0;
};

struct HostRow {
  HostUid uid;  // 0: free
  std::string name;
  std::vector<HostNicView> nics;
  bool described = false;       // the controller holds it
  std::uint32_t endpoints = 0;  // that are on it
  std::uint32_t epoch = 0;
};

// A slot that its endpoint gave up in this change.
struct Lost {
  std::uint32_t vpc;
  Gid gid;
  EndpointUid owner;
};

// Rows of a few things, named by small numbers that are used again.
template <typename Row, typename Uid>
class Rows {
 public:
  [[nodiscard]] std::uint32_t find(Uid uid) const {
    auto it = numbers_.find(uid);
    return it == numbers_.end() ? kNone : it->second;
  }
  [[nodiscard]] std::uint32_t add(Uid uid) {
    std::uint32_t number = 0;
    if (free_.empty()) {
      number = static_cast<std::uint32_t>(rows_.size());
      rows_.emplace_back();
    } else {
      number = free_.back();
      free_.pop_back();
    }
    rows_[number].uid = uid;
    numbers_[uid] = number;
    return number;
  }
  void remove(std::uint32_t number) {
    numbers_.erase(rows_[number].uid);
    rows_[number] = Row{};
    free_.push_back(number);
  }
  [[nodiscard]] Row& operator[](std::uint32_t number) { return rows_[number]; }
  [[nodiscard]] const Row& operator[](std::uint32_t number) const { return rows_[number]; }
  // Free rows, with uid 0, included.
  [[nodiscard]] std::uint32_t end() const { return static_cast<std::uint32_t>(rows_.size()); }
  [[nodiscard]] std::size_t size() const { return numbers_.size(); }
  [[nodiscard]] std::size_t memory_bytes() const {
    std::size_t node = sizeof(std::pair<Uid, std::uint32_t>) + 2 * sizeof(void*);
    return rows_.capacity() * sizeof(Row) + numbers_.size() * node +
           numbers_.bucket_count() * sizeof(void*) + free_.capacity() * sizeof(std::uint32_t);
  }

 private:
  std::vector<Row> rows_;
  std::vector<std::uint32_t> free_;
  std::unordered_map<Uid, std::uint32_t> numbers_;
};

// What a change says of endpoints, once it is settled which word on each is the last: a removal of
// it or of its VPC, or its last upsert.
struct Endpoints {
  std::vector<const EndpointView*> upserts;  // in order of uid
  std::vector<EndpointUid> removed;
};

Endpoints settle(const Change& change) {
  Endpoints out;
  out.removed = change.removed_endpoints;
  std::unordered_set<EndpointUid> removed(out.removed.begin(), out.removed.end());
  std::unordered_set<VpcUid> removed_vpcs(change.removed_vpcs.begin(), change.removed_vpcs.end());
  std::vector<const EndpointView*>& views = out.upserts;
  views.reserve(change.endpoints.size());
  for (const EndpointView& view : change.endpoints)
    views.push_back(&view);
  auto less = [](const EndpointView* a, const EndpointView* b) { return a->uid < b->uid; };
  if (!std::is_sorted(views.begin(), views.end(), less)) {
    std::stable_sort(views.begin(), views.end(), less);
  }
  auto first =
      std::unique(views.rbegin(), views.rend(),
                  [](const EndpointView* a, const EndpointView* b) { return a->uid == b->uid; });
  views.erase(views.begin(), first.base());
  std::erase_if(views, [&](const EndpointView* view) {
    if (removed.contains(view->uid)) return true;
    if (!removed_vpcs.contains(view->vpc)) return false;
    out.removed.push_back(view->uid);
    return true;
  });
  return out;
}

bool is_v4(const Gid& gid) {
  return gid.address().is_v4();
}

// The MAC that a link-local GID was made of.
std::optional<Mac> mac_in(const Gid& gid) {
  const auto& r = gid.raw;
  Mac mac{{static_cast<std::uint8_t>(r[8] ^ 2U), r[9], r[10], r[13], r[14], r[15]}};
  if (mac.is_zero() || Gid::link_local(mac) != gid) return std::nullopt;
  return mac;
}

}  // namespace

struct PeerMap::Impl {
  explicit Impl(conntrack::GroupSets& sets_in) : sets(sets_in) {}

  conntrack::GroupSets& sets;
  mutable BigReaderLock lock;  // the writer alone may read without it
  PeerTable table;
  PeerRecords records;
  Rows<VpcRow, VpcUid> vpcs;
  Rows<HostRow, HostUid> hosts;
  std::unordered_map<Vni, std::uint32_t> vnis;  // to VPC rows
  std::uint32_t epoch = 0;

  class Writing;

  [[nodiscard]] PeerInfo info(std::uint32_t number) const;
  [[nodiscard]] static Peer peer(EndpointUid endpoint, const HostRow& host, Vni vni,
                                 const LocalNic& local);
  void put_host(const HostView& view);
  void put_vpc(const VpcView& view);
  void put_endpoint(const EndpointView& view, std::vector<Lost>& lost);
  void remove_endpoint(std::uint32_t number, std::vector<Lost>& lost);
  void remove_vpc(std::uint32_t row);
  void forget_host(std::uint32_t row);
  void leave_host(std::uint32_t row);
  void sweep_endpoints(Writing& writing, const std::unordered_set<std::uint32_t>& gone_vpcs,
                       bool snapshot, std::vector<Lost>& lost);
  [[nodiscard]] std::unordered_set<std::uint32_t> leaving_vpcs(const Change& change) const;
  [[nodiscard]] Status check_vpcs(const Change& change) const;
  [[nodiscard]] Status check_addresses(const Endpoints& endpoints, bool snapshot) const;
};

// The writer's hold on the lock, given up for a moment now and then, and while memory is arranged.
class PeerMap::Impl::Writing {
 public:
  explicit Writing(Impl& map) : map_(map), lock_(map.lock) {}

  // After each small step.
  void step() {
    if (++steps_ % kStepsAtOnce != 0) return;
    lock_.unlock();
    lock_.lock();
  }
  // Readers go on with the old table while the new one is filled.
  void make_room(std::size_t more_entries, std::size_t more_endpoints, bool grow) {
    std::size_t entries = map_.table.size() + more_entries;
    if (!map_.table.room_for(entries)) replace_table(entries, grow);
    if (!map_.records.room_for(more_endpoints)) {
      std::size_t endpoints = map_.records.size() + more_endpoints;
      lock_.unlock();
      PeerRecords::Indexes indexes =
          map_.records.indexes_for(grow ? endpoints + endpoints / 4 : endpoints);
      lock_.lock();
      map_.records.swap_indexes(indexes);
    }
  }
  void replace_table(std::size_t entries, bool grow) {
    lock_.unlock();
    PeerTable other = map_.table.resized(entries, grow);
    lock_.lock();
    std::swap(map_.table, other);
    lock_.unlock();  // the old one is freed out of the lock
    other = PeerTable();
    lock_.lock();
  }

 private:
  static constexpr unsigned kStepsAtOnce = 256;
  Impl& map_;
  std::unique_lock<BigReaderLock> lock_;
  unsigned steps_ = 0;
};

PeerMap::PeerMap(conntrack::GroupSets& sets) : impl_(std::make_unique<Impl>(sets)) {}
PeerMap::~PeerMap() = default;

void PeerMap::Impl::put_host(const HostView& view) {
  std::uint32_t row = hosts.find(view.uid);
  if (row == kNone) row = hosts.add(view.uid);
  HostRow& host = hosts[row];
  host.name = view.name;
  host.nics = view.nics;
  host.described = true;
  host.epoch = epoch;
}

void PeerMap::Impl::forget_host(std::uint32_t row) {
  hosts[row].described = false;
  hosts[row].nics.clear();
  if (hosts[row].endpoints == 0) hosts.remove(row);
}

void PeerMap::Impl::leave_host(std::uint32_t row) {
  if (row == kNone) return;
  if (--hosts[row].endpoints == 0 && !hosts[row].described) hosts.remove(row);
}

void PeerMap::Impl::put_vpc(const VpcView& view) {
  std::uint32_t row = vpcs.find(view.uid);
  if (row == kNone) row = vpcs.add(view.uid);
  VpcRow& vpc = vpcs[row];
  if (auto old = vnis.find(vpc.vni);
      vpc.vni != view.vni && old != vnis.end() && old->second == row) {
    vnis.erase(old);
  }
  vpc.vni = view.vni;
  vpc.name = view.name;
  vpc.epoch = epoch;
  vnis[view.vni] = row;
}

// REQUIRES: no endpoint is left in it.
void PeerMap::Impl::remove_vpc(std::uint32_t row) {
  // A VPC made in the same change may have its number by now.
  if (auto it = vnis.find(vpcs[row].vni); it != vnis.end() && it->second == row) vnis.erase(it);
  vpcs.remove(row);
}

void PeerMap::Impl::put_endpoint(const EndpointView& view, std::vector<Lost>& lost) {
  std::uint32_t vpc = vpcs.find(view.vpc);
  if (vpc == kNone || view.uid.value == 0) return;  // refused by check()
  std::uint32_t number = records.find(view.uid);
  if (number == kNone) number = records.add(view.uid);
  records[number].epoch = epoch;
  const conntrack::SetId groups = sets.acquire(view.groups);
  sets.release(std::exchange(records[number].groups, groups));

  bool same_host = records[number].host != kNone && hosts[records[number].host].uid == view.host;
  bool same_vpc = records[number].vpc == vpc;
  bool same_mac = records[number].mac == view.mac;
  if (!same_vpc || !records.has_name(number, view.name, vpcs[vpc].name)) {
    records.set_name(number, view.name, vpcs[vpc].name);
  }
  bool same_addresses = records.has_addresses(number, view.addresses);
  if (same_vpc && same_host && same_mac && same_addresses) return;

  if (!same_host) {
    std::uint32_t host = hosts.find(view.host);
    if (host == kNone) host = hosts.add(view.host);  // described later, or never
    ++hosts[host].endpoints;
    leave_host(std::exchange(records[number].host, host));
  }
  for (const Gid& old : records.addresses(number)) {
    bool stays = same_vpc && std::find(view.addresses.begin(), view.addresses.end(),
                                       old.address()) != view.addresses.end();
    if (!stays) lost.push_back({records[number].vpc, old, view.uid});
  }
  records.set_place(number, vpc, view.mac);
  records.set_addresses(number, view.addresses);
  for (const IpAddress& address : view.addresses) {
    table.put({Gid::from_ip(address), view.uid, vpc, records[number].host, number});
  }
  ++records[number].generation;
}

void PeerMap::Impl::remove_endpoint(std::uint32_t number, std::vector<Lost>& lost) {
  for (const Gid& gid : records.addresses(number)) {
    lost.push_back({records[number].vpc, gid, records[number].uid});
  }
  leave_host(records[number].host);
  sets.release(records[number].groups);
  records.remove(number);
}

void PeerMap::Impl::sweep_endpoints(Writing& writing,
                                    const std::unordered_set<std::uint32_t>& gone_vpcs,
                                    bool snapshot, std::vector<Lost>& lost) {
  for (std::uint32_t number = 0; number < records.end(); ++number) {
    const PeerRecord& record = records[number];
    if (record.uid.value == 0) continue;
    if ((snapshot && record.epoch != epoch) || gone_vpcs.contains(record.vpc)) {
      remove_endpoint(number, lost);
      writing.step();
    }
  }
}

void PeerMap::apply(const Change& change) {
  Impl& map = *impl_;
  const auto [upserts, removed] = settle(change);
  std::vector<Lost> lost;
  Impl::Writing writing(map);
  ++map.epoch;

  for (const HostView& host : change.hosts) {
    map.put_host(host);
    writing.step();
  }
  for (const VpcView& vpc : change.vpcs) {
    map.put_vpc(vpc);
    writing.step();
  }
  // Records that go are freed before others come, so that a snapshot of all new endpoints does not
  // hold twice the memory afterwards. Their slots stay until the end.
  std::unordered_set<std::uint32_t> gone_vpcs = map.leaving_vpcs(change);
  for (EndpointUid uid : removed) {
    std::uint32_t number = map.records.find(uid);
    if (number != kNone) map.remove_endpoint(number, lost);
    writing.step();
  }
  if (change.snapshot) {
    for (const EndpointView* view : upserts) {
      std::uint32_t number = map.records.find(view->uid);
      if (number != kNone) map.records[number].epoch = map.epoch;
    }
  }
  if (change.snapshot || !gone_vpcs.empty()) {
    map.sweep_endpoints(writing, gone_vpcs, change.snapshot, lost);
  }

  if (change.snapshot && map.table.size() == 0) {
    std::size_t entries = 0;
    for (const EndpointView* view : upserts)
      entries += view->addresses.size();
    writing.make_room(entries, upserts.size(), false);
  }
  for (const EndpointView* view : upserts) {
    writing.make_room(view->addresses.size(), 1, true);
    map.put_endpoint(*view, lost);
    writing.step();
  }
  // Only now: an address that went from one endpoint to another was found all the time.
  for (const Lost& slot : lost) {
    map.table.erase(slot.vpc, slot.gid, slot.owner);
    writing.step();
  }
  for (std::uint32_t row : gone_vpcs)
    map.remove_vpc(row);
  for (HostUid uid : change.removed_hosts) {
    if (std::uint32_t row = map.hosts.find(uid); row != kNone) map.forget_host(row);
  }
  for (std::uint32_t row = 0; change.snapshot && row < map.hosts.end(); ++row) {
    const HostRow& host = map.hosts[row];
    if (host.uid.value != 0 && host.described && host.epoch != map.epoch) map.forget_host(row);
  }
  if (map.table.sparse()) writing.replace_table(map.table.size() * 5 / 4, false);
}

std::unordered_set<std::uint32_t> PeerMap::Impl::leaving_vpcs(const Change& change) const {
  std::unordered_set<std::uint32_t> out;
  for (VpcUid uid : change.removed_vpcs) {
    if (std::uint32_t row = vpcs.find(uid); row != kNone) out.insert(row);
  }
  for (std::uint32_t row = 0; change.snapshot && row < vpcs.end(); ++row) {
    if (vpcs[row].uid.value != 0 && vpcs[row].epoch != epoch) out.insert(row);
  }
  return out;
}

Status PeerMap::Impl::check_vpcs(const Change& change) const {
  if (change.vpcs.empty()) return {};
  std::unordered_set<VpcUid> settled(change.removed_vpcs.begin(), change.removed_vpcs.end());
  std::unordered_map<Vni, std::pair<VpcUid, std::string_view>> owners;
  auto own = [&](VpcUid uid, Vni vni, std::string_view name) -> Status {
    auto [it, fresh] = owners.emplace(vni, std::pair(uid, name));
    if (fresh || it->second.first == uid) return {};
    return fail(Code::kInvalidArgument,
                fmt::format("{} and {} both have VNI {}", it->second.second, name, vni.value));
  };
  // From the newest of each on.
  for (auto view = change.vpcs.rbegin(); view != change.vpcs.rend(); ++view) {
    if (!settled.insert(view->uid).second) continue;
    if (view->uid.value == 0 || view->vni.value == 0 || view->vni.value > kMaxVni) {
      return fail(Code::kInvalidArgument,
                  fmt::format("{}: uid {} or VNI {} is out of range", view->name, view->uid.value,
                              view->vni.value));
    }
    QMASQ_TRY(own(view->uid, view->vni, view->name));
  }
  for (std::uint32_t row = 0; !change.snapshot && row < vpcs.end(); ++row) {
    const VpcRow& vpc = vpcs[row];
    if (vpc.uid.value == 0 || settled.contains(vpc.uid)) continue;
    QMASQ_TRY(own(vpc.uid, vpc.vni, vpc.name));
  }
  return {};
}

Status PeerMap::Impl::check_addresses(const Endpoints& endpoints, bool snapshot) const {
  using Claim = std::tuple<std::uint64_t, Gid, const EndpointView*>;
  std::vector<Claim> claims;
  claims.reserve(endpoints.upserts.size());
  // Whose addresses may be taken: the change says itself what they have after it.
  std::unordered_set<EndpointUid> spoken_of;
  if (!snapshot) spoken_of.insert(endpoints.removed.begin(), endpoints.removed.end());
  for (const EndpointView* view : endpoints.upserts) {
    if (!snapshot) spoken_of.insert(view->uid);
    for (const IpAddress& address : view->addresses)
      claims.emplace_back(view->vpc.value, Gid::from_ip(address), view);
  }
  std::sort(claims.begin(), claims.end());
  for (std::size_t i = 0; i < claims.size(); ++i) {
    const auto& [vpc_uid, gid, view] = claims[i];
    if (i > 0 && std::get<0>(claims[i - 1]) == vpc_uid && std::get<1>(claims[i - 1]) == gid &&
        std::get<2>(claims[i - 1])->uid != view->uid) {
      return fail(Code::kInvalidArgument,
                  fmt::format("{} and {} both have address {}", std::get<2>(claims[i - 1])->name,
                              view->name, to_string(gid.address())));
    }
    if (snapshot) continue;
    std::uint32_t vpc = vpcs.find(VpcUid{vpc_uid});
    if (vpc == kNone) continue;
    const PeerTable::Slot* slot = table.find(vpc, gid);
    if (slot != nullptr && slot->endpoint != view->uid && !spoken_of.contains(slot->endpoint)) {
      std::uint32_t owner = records.find(slot->endpoint);
      return fail(Code::kInvalidArgument,
                  fmt::format("{} has address {} of {}", view->name, to_string(gid.address()),
                              owner == kNone ? std::string("another")
                                             : records.name(owner, vpcs[vpc].name)));
    }
  }
  return {};
}

// Reads without the lock: the one writer is the caller.
Status PeerMap::check(const Change& change) {
  const Impl& map = *impl_;
  QMASQ_TRY(map.check_vpcs(change));
  std::unordered_set<VpcUid> coming;
  for (const VpcView& vpc : change.vpcs)
    coming.insert(vpc.uid);
  std::unordered_set<HostUid> new_hosts;
  for (const HostView& host : change.hosts)
    new_hosts.insert(host.uid);
  const Endpoints endpoints = settle(change);
  for (const EndpointView* view : endpoints.upserts) {
    if (view->uid.value == 0 || view->name.size() > NameArena::kMaxLength) {
      return fail(Code::kInvalidArgument,
                  fmt::format("endpoint '{:.64}' with uid {}: name or uid is out of range",
                              view->name, view->uid.value));
    }
    bool known =
        coming.contains(view->vpc) || (!change.snapshot && map.vpcs.find(view->vpc) != kNone);
    if (!known) {
      return fail(Code::kInvalidArgument, fmt::format("{} is in VPC uid {}, which is not held",
                                                      view->name, view->vpc.value));
    }
  }
  // What is held and goes in the same change counts as well: these limits are far away.
  if (map.vpcs.size() + coming.size() >= PeerTable::kNoVpc ||
      map.hosts.size() + new_hosts.size() >= (1U << PeerTable::kHostBits) ||
      map.records.size() + endpoints.upserts.size() >= (1U << PeerTable::kRecordBits)) {
    return fail(Code::kResourceExhausted, "more VPCs, hosts or endpoints than the map can number");
  }
  return map.check_addresses(endpoints, change.snapshot);
}

Peer PeerMap::Impl::peer(EndpointUid endpoint, const HostRow& host, Vni vni,
                         const LocalNic& local) {
  const HostNicView* found = nullptr;
  for (const HostNicView& nic : host.nics) {
    if (nic.primary_gid.is_zero() || is_v4(nic.primary_gid) != is_v4(local.primary)) continue;
    if (found == nullptr || nic.device == local.device) found = &nic;
    if (nic.device == local.device) break;
  }
  if (found == nullptr) return {endpoint, host.uid, Gid{}};
  if (!local.has_vpc_gids || found->vpc_prefix.is_zero()) {
    return {endpoint, host.uid, found->primary_gid};
  }
  return {endpoint, host.uid, vpc_gid(found->vpc_prefix, vni), true};
}

PeerInfo PeerMap::Impl::info(std::uint32_t number) const {
  const PeerRecord& record = records[number];
  const HostRow& host = hosts[record.host];
  return {records.name(number, vpcs[record.vpc].name), host.name, host.uid, record.generation};
}

tl::expected<Peer, NoPeer> PeerMap::find(Vni vni, const Gid& virtual_gid, const LocalNic& local,
                                         PeerInfo* info) const {
  const Impl& map = *impl_;
  auto hold = map.lock.read();
  auto vpc = map.vnis.find(vni);
  if (vpc == map.vnis.end()) return tl::unexpected(NoPeer::kNoVpc);
  if (const PeerTable::Slot* slot = map.table.find(vpc->second, virtual_gid)) {
    // Three cache misses that need not wait for each other.
    __builtin_prefetch(&map.hosts[slot->host]);
    if (info != nullptr && map.records[slot->record].uid == slot->endpoint) {
      *info = map.info(slot->record);
    }
    const HostRow& host = map.hosts[slot->host];
    return Impl::peer(slot->endpoint, host, vni, local);
  }
  if (auto mac = mac_in(virtual_gid)) {
    std::uint32_t number = map.records.find(vpc->second, *mac);
    if (number != kNone) {
      if (info != nullptr) *info = map.info(number);
      const HostRow& host = map.hosts[map.records[number].host];
      return Impl::peer(map.records[number].uid, host, vni, local);
    }
  }
  return tl::unexpected(NoPeer::kNoAddress);
}

std::optional<PeerInfo> PeerMap::describe(EndpointUid endpoint) const {
  const Impl& map = *impl_;
  auto hold = map.lock.read();
  std::uint32_t number = map.records.find(endpoint);
  if (number == kNone) return std::nullopt;
  return map.info(number);
}

std::optional<conntrack::Standing> PeerMap::look(EndpointUid endpoint,
                                                 const IpAddress& address) const {
  const Impl& map = *impl_;
  auto hold = map.lock.read();
  std::uint32_t number = map.records.find(endpoint);
  if (number == kNone) return std::nullopt;
  const PeerRecord& record = map.records[number];
  const Gid gid = Gid::from_ip(address);
  if (record.first != gid) {
    const auto addresses = map.records.addresses(number);
    bool own = std::find(addresses.begin(), addresses.end(), gid) != addresses.end() ||
               Gid::link_local(record.mac) == gid;
    if (!own) return std::nullopt;
  }
  return conntrack::Standing{map.vpcs[record.vpc].uid, map.hosts[record.host].uid, record.groups};
}

std::vector<PeerMap::Named> PeerMap::find_named(std::string_view vpc_id,
                                                std::string_view endpoint_id,
                                                std::size_t limit) const {
  const Impl& map = *impl_;
  std::vector<Named> out;
  constexpr std::uint32_t kAtOnce = 4096;  // records looked at before a writer may come in
  bool more = true;
  for (std::uint32_t from = 0; more && out.size() < limit; from += kAtOnce) {
    auto hold = map.lock.read();
    std::uint32_t to = std::min(map.records.end(), from + kAtOnce);
    for (std::uint32_t number = from; number < to && out.size() < limit; ++number) {
      const PeerRecord& record = map.records[number];
      if (record.uid.value == 0 || map.records.id(number) != endpoint_id) continue;
      const VpcRow& vpc = map.vpcs[record.vpc];
      std::string_view id = std::string_view(vpc.name).substr(vpc.name.rfind('/') + 1);
      if (!vpc_id.empty() && id != vpc_id) continue;
      out.push_back({record.uid, map.records.name(number, vpc.name), map.hosts[record.host].name});
    }
    more = to < map.records.end();
  }
  return out;
}

PeerMap::Size PeerMap::size() const {
  auto hold = impl_->lock.read();
  return {impl_->table.size(), impl_->records.size(), impl_->vpcs.size(), impl_->hosts.size()};
}

std::size_t PeerMap::memory_bytes() const {
  const Impl& map = *impl_;
  auto hold = map.lock.read();
  std::size_t bytes = sizeof(Impl) + map.table.memory_bytes() + map.records.memory_bytes() +
                      map.vpcs.memory_bytes() + map.hosts.memory_bytes() +
                      map.vnis.size() * 4 * sizeof(void*);
  for (std::uint32_t row = 0; row < map.hosts.end(); ++row)
    bytes += map.hosts[row].nics.capacity() * sizeof(HostNicView);
  return bytes;
}

}  // namespace qmasq::vbond
