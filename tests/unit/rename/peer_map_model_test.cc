// SPDX-License-Identifier: Apache-2.0
// The map against a trivial one, under random changes; readers against a writer; its size.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "tests/unit/rename/values.h"
#include "vbond/rename/peer_map.h"

namespace qmasq::vbond {
namespace {

using namespace qmasq::vbond::testing;  // NOLINT(google-build-using-namespace): values to test with

const LocalNic kLocal{"rxe0", parse_gid("192.168.0.1").value()};

struct Model {
  std::map<std::uint64_t, VpcView> vpcs;
  std::map<std::uint64_t, EndpointView> endpoints;
  std::map<std::uint64_t, HostView> hosts;

  void apply(const Change& change) {
    if (change.snapshot) *this = Model{};
    for (const HostView& view : change.hosts)
      hosts[view.uid.value] = view;
    for (const VpcView& view : change.vpcs)
      vpcs[view.uid.value] = view;
    for (const EndpointView& view : change.endpoints)
      endpoints[view.uid.value] = view;
    for (EndpointUid uid : change.removed_endpoints)
      endpoints.erase(uid.value);
    for (VpcUid uid : change.removed_vpcs) {
      vpcs.erase(uid.value);
      std::erase_if(endpoints, [&](const auto& item) { return item.second.vpc == uid; });
    }
    for (HostUid uid : change.removed_hosts)
      hosts.erase(uid.value);
  }
  std::map<std::pair<std::uint32_t, Gid>, Peer> flat() const {
    std::map<std::pair<std::uint32_t, Gid>, Peer> out;
    for (const auto& [uid, view] : endpoints) {
      Gid physical;
      if (auto it = hosts.find(view.host.value); it != hosts.end() && !it->second.nics.empty()) {
        physical = it->second.nics[0].primary_gid;
      }
      Peer peer{view.uid, view.host, physical};
      std::uint32_t vni = vpcs.at(view.vpc.value).vni.value;
      for (const IpAddress& address : view.addresses)
        out[{vni, Gid::from_ip(address)}] = peer;
      out[{vni, Gid::link_local(view.mac)}] = peer;
    }
    return out;
  }
};

constexpr std::uint64_t kVpcs = 4;
constexpr std::uint64_t kHosts = 6;
constexpr std::uint64_t kEndpoints = 120;

class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}
  std::uint64_t below(std::uint64_t n) { return random_() % n; }

  HostView random_host(std::uint64_t uid) {
    return host(uid, "h" + std::to_string(uid),
                {{"rxe0", "192.168.0." + std::to_string(1 + below(250))}});
  }
  // Addresses come from a narrow range, so that endpoints take over each other's.
  EndpointView random_endpoint(std::uint64_t uid, std::uint64_t vpc_uid) {
    std::set<std::string> addresses;
    for (std::uint64_t i = below(4); i > 0; --i) {
      addresses.insert((below(4) == 0 ? "fd00::" : "10.0.0.") + std::to_string(1 + below(99)));
    }
    // Each endpoint also has one of its own; names change length so that places are used again.
    addresses.insert("10.1.0." + std::to_string(uid));
    std::string name = "v" + std::to_string(vpc_uid) + "/" +
                       std::string(1 + below(30), static_cast<char>('a' + below(26)));
    return endpoint(uid, vpc_uid, name, 1 + below(kHosts), {addresses.begin(), addresses.end()});
  }
  std::mt19937_64& engine() { return random_; }

 private:
  std::mt19937_64 random_;
};

TEST(PeerMapModel, AgreesWithATrivialMapUnderRandomChanges) {
  Generator random(20260101);
  conntrack::GroupSets sets;
  PeerMap map{sets};
  Model model;
  Change first;
  first.snapshot = true;
  for (std::uint64_t uid = 1; uid <= kVpcs; ++uid)
    first.vpcs.push_back(vpc(uid, "v" + std::to_string(uid), static_cast<std::uint32_t>(uid)));
  map.apply(first);
  model.apply(first);
  std::uint64_t next_uid = 1;
  std::size_t operations = 0;
  std::size_t accepted = 0;
  for (int round = 0; operations < 120'000; ++round) {
    Change change;
    bool snapshot = random.below(200) == 0;
    if (snapshot) {
      change.snapshot = true;
      for (const auto& [uid, view] : model.vpcs) {
        if (random.below(10) != 0) change.vpcs.push_back(view);
      }
      for (const auto& [uid, view] : model.hosts) {
        if (random.below(10) != 0) change.hosts.push_back(view);
      }
      for (const auto& [uid, view] : model.endpoints) {
        bool known = std::any_of(change.vpcs.begin(), change.vpcs.end(),
                                 [in = view.vpc](const VpcView& v) { return v.uid == in; });
        if (known && random.below(4) != 0) change.endpoints.push_back(view);
      }
      std::shuffle(change.endpoints.begin(), change.endpoints.end(), random.engine());
      operations += change.endpoints.size();
    }
    std::uint64_t count = 1 + random.below(random.below(20) == 0 ? 700 : 4);
    for (std::uint64_t i = 0; i < count; ++i, ++operations) {
      std::uint64_t kind = random.below(100);
      if (kind < 10) {
        change.hosts.push_back(random.random_host(1 + random.below(kHosts)));
      } else if (kind < 12) {
        change.removed_hosts.emplace_back(HostUid{1 + random.below(kHosts)});
      } else if (kind < 30) {
        change.removed_endpoints.emplace_back(EndpointUid{1 + random.below(next_uid)});
      } else if (kind == 30 && random.below(20) == 0) {
        change.removed_vpcs.emplace_back(VpcUid{1 + random.below(kVpcs)});
      } else if (kind == 31) {
        std::uint64_t uid = 1 + random.below(kVpcs);
        change.vpcs.push_back(vpc(uid, "v" + std::to_string(uid), static_cast<std::uint32_t>(uid)));
      } else if (!model.vpcs.empty()) {
        auto in = std::next(model.vpcs.begin(),
                            static_cast<std::ptrdiff_t>(random.below(model.vpcs.size())));
        std::uint64_t uid = 1 + random.below(kEndpoints);
        next_uid = std::max(next_uid, uid);
        change.endpoints.push_back(random.random_endpoint(uid, in->second.uid.value));
      }
    }
    // A host that is removed and described at once has no meaning.
    std::erase_if(change.removed_hosts, [&](HostUid uid) {
      return std::any_of(change.hosts.begin(), change.hosts.end(),
                         [&](const HostView& view) { return view.uid == uid; });
    });
    std::erase_if(change.removed_vpcs, [&](VpcUid uid) {
      return std::any_of(change.vpcs.begin(), change.vpcs.end(),
                         [&](const VpcView& view) { return view.uid == uid; });
    });
    if (!map.check(change)) {
      // Two with one address, mostly: let each keep only its own.
      for (EndpointView& view : change.endpoints)
        std::erase_if(view.addresses,
                      [](const IpAddress& a) { return !to_string(a).starts_with("10.1."); });
      if (!map.check(change)) continue;
    }
    ++accepted;
    map.apply(change);
    model.apply(change);

    // The whole picture is dear; small steps get it together.
    if (round % 4 != 0 && !snapshot) continue;
    auto want = model.flat();
    std::size_t entries = 0;
    for (const auto& [key, peer] : want) {
      auto found = map.find(Vni{key.first}, key.second, kLocal);
      ASSERT_TRUE(found) << "round " << round << ", " << to_string(key.second);
      ASSERT_EQ(found->endpoint, peer.endpoint) << "round " << round;
      ASSERT_EQ(found->host, peer.host);
      ASSERT_EQ(found->physical, peer.physical);
      if (!key.second.address().is_link_local()) ++entries;
    }
    ASSERT_EQ(map.size().entries, entries) << "round " << round;
    ASSERT_EQ(map.size().endpoints, model.endpoints.size());
    ASSERT_EQ(map.size().vpcs, model.vpcs.size());
    for (const auto& [uid, view] : model.endpoints) {
      auto info = map.describe(view.uid);
      ASSERT_TRUE(info);
      ASSERT_EQ(info->name, view.name);
      ASSERT_EQ(info->host_uid, view.host);
    }
  }
  EXPECT_GT(accepted, 1000U);
}

// Under the thread sanitizer this also proves that the locks are enough.
TEST(PeerMapThreads, ReadersAlwaysFindWhatStays) {
  conntrack::GroupSets sets;
  PeerMap map{sets};
  Change first;
  first.snapshot = true;
  first.vpcs = {vpc(1, "blue", 100)};
  for (std::uint64_t uid = 1; uid <= 3; ++uid)
    first.hosts.push_back(host(uid, "h", {{"rxe0", "192.168.0." + std::to_string(uid)}}));
  for (std::uint64_t uid = 1; uid <= 50; ++uid)
    first.endpoints.push_back(
        endpoint(uid, 1, "blue/e" + std::to_string(uid), 1, {"10.0.0." + std::to_string(uid)}));
  map.apply(first);

  std::atomic<bool> stop = false;
  std::atomic<std::size_t> found = 0;
  std::atomic<std::size_t> wrong = 0;
  std::vector<std::thread> readers;
  readers.reserve(3);
  for (int r = 0; r < 3; ++r) {
    readers.emplace_back([&, r] {
      std::mt19937 random(static_cast<unsigned>(r));
      while (!stop.load()) {
        std::uint64_t uid = 1 + random() % 50;
        auto peer = map.find(Vni{100}, gid("10.0.0." + std::to_string(uid)), kLocal);
        if (!peer || peer->physical.is_zero()) {
          ++wrong;
          continue;
        }
        ++found;
        // Its first owner, or the one that took the address over: never anybody else.
        if (peer->endpoint.value % 1000 != uid) ++wrong;
        if (auto info = map.describe(peer->endpoint)) {
          if (!info->name.ends_with("e" + std::to_string(uid))) ++wrong;
        }
        std::this_thread::yield();
      }
    });
  }
  // Endpoints move, pass their addresses on to heirs, and thousands of others come and go, so that
  // all tables are rebuilt under the readers.
  std::uint64_t heir = 0;
  for (std::uint64_t round = 1; round <= 12; ++round) {
    Change change = first;
    change.snapshot = round % 3 == 0;
    if (round % 4 == 0) heir = 1000 * round;
    change.endpoints.clear();
    for (std::uint64_t uid = 1; uid <= 50; ++uid) {
      change.endpoints.push_back(endpoint(heir + uid, 1, "blue/e" + std::to_string(uid),
                                          1 + (uid + round) % 3,
                                          {"10.0.0." + std::to_string(uid)}));
      if (round % 4 == 0 && !change.snapshot) {
        std::uint64_t before = heir == 4000 ? 0 : heir - 4000;
        change.removed_endpoints.emplace_back(EndpointUid{before + uid});
      }
    }
    for (std::uint64_t i = 0; i < 3000; ++i) {
      std::uint64_t uid = 100'000 + i;
      std::string address = "10.9." + std::to_string(i / 250) + "." + std::to_string(i % 250);
      if (round % 2 == 0) {
        change.endpoints.push_back(endpoint(uid, 1, "blue/x" + std::to_string(i), 2, {address}));
      } else if (!change.snapshot) {
        change.removed_endpoints.emplace_back(EndpointUid{uid});
      }
    }
    ASSERT_TRUE(map.check(change)) << map.check(change).error().message;
    map.apply(change);
  }
  while (found.load() == 0)
    std::this_thread::yield();
  stop = true;
  for (std::thread& reader : readers)
    reader.join();
  EXPECT_EQ(wrong.load(), 0U);
}

Change million(std::uint64_t first_uid, std::size_t count) {
  Change change;
  change.snapshot = true;
  change.vpcs = {vpc(1, "blue", 100)};
  for (std::uint64_t uid = 1; uid <= 1000; ++uid)
    change.hosts.push_back(host(uid, "host" + std::to_string(uid), {{"rxe0", "192.168.0.1"}}));
  change.endpoints.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    EndpointView view;
    view.uid = EndpointUid{first_uid + i};
    view.vpc = VpcUid{1};
    view.name = "vpcs/blue/endpoints/worker-" + std::to_string(i);
    view.host = HostUid{1 + i % 1000};
    view.mac = mac(i + 1);
    view.addresses = {IpAddress::from_v4(0x0a000000U + static_cast<std::uint32_t>(i) + 1)};
    change.endpoints.push_back(std::move(view));
  }
  return change;
}

TEST(PeerMapSize, AtMost150BytesAnEntryHoweverItGrew) {
  constexpr std::size_t kCount = 120'000;
  conntrack::GroupSets sets;
  PeerMap map{sets};
  Change all = million(1, kCount);
  map.apply(all);
  std::size_t loaded = map.memory_bytes() / map.size().entries;
  EXPECT_LE(loaded, 150U);

  // One after the other, measured all along once the fixed parts do not count any more.
  PeerMap grown{sets};
  Change step = all;
  step.endpoints.clear();
  grown.apply(step);
  step = Change{};
  std::size_t worst = 0;
  for (std::size_t i = 0; i < kCount; ++i) {
    step.endpoints.assign(1, all.endpoints[i]);
    grown.apply(step);
    if (i >= 50'000 && i % 200 == 0) {
      worst = std::max(worst, grown.memory_bytes() / grown.size().entries);
    }
  }
  EXPECT_LE(worst, 150U);

  // A snapshot of all other endpoints.
  map.apply(million(10'000'000, kCount));
  std::size_t replaced = map.memory_bytes() / map.size().entries;
  EXPECT_LE(replaced, 150U);
  RecordProperty("bytes_per_entry_loaded", static_cast<int>(loaded));
  RecordProperty("bytes_per_entry_grown_worst", static_cast<int>(worst));
  RecordProperty("bytes_per_entry_replaced", static_cast<int>(replaced));
  printf("bytes per entry: loaded %zu, grown (worst) %zu, replaced %zu\n", loaded, worst, replaced);
}

}  // namespace
}  // namespace qmasq::vbond
