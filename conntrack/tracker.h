// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/net_types.h"
#include "conntrack/group_sets.h"
#include "conntrack/verdict.h"

namespace qmasq::conntrack {

// A queue pair, by whatever two numbers its owner has for it.
struct ConnectionKey {
  std::uint64_t context = 0;
  std::uint32_t handle = 0;
  auto operator<=>(const ConnectionKey&) const = default;
};

// How an endpoint stands now.
struct Standing {
  VpcUid vpc;
  HostUid host;
  SetId groups = 0;
};

// Who knows the endpoints. Thread-safe; may not call the tracker.
class Directory {
 public:
  virtual ~Directory() = default;
  // None: no such endpoint (any more), or the address is not its own.
  [[nodiscard]] virtual std::optional<Standing> look(EndpointUid endpoint,
                                                     const IpAddress& address) const = 0;
};

// A verdict with what its pointers point into.
struct HeldVerdict {
  Verdict verdict;
  GroupSetPtr own;  // first
  GroupSetPtr peer;
};
using VerdictPtr = std::shared_ptr<const HeldVerdict>;

// A connection of a queue pair of this host.
struct Tracked {
  ConnectionKey key;
  Transport transport = Transport::kRc;
  EndpointUid own;
  EndpointUid peer;
  IpAddress own_address;
  IpAddress peer_address;
  HostUid peer_host;  // where the path leads
};

// A shadow rule that would have decided.
struct ShadowHit {
  EndpointUid endpoint;  // whose rule it is
  Direction direction = Direction::kIngress;
  SideDecision decision;  // lives as long as the verdict
};

// Names an admission, never used twice. Serial 0: none.
struct Ticket {
  std::uint32_t place = 0;
  std::uint64_t serial = 0;
  bool operator==(const Ticket&) const = default;
};

struct Admission {
  enum class Result {
    kAdmitted,
    kForbidden,  // by rules; `verdict` says which
    kGone,       // one of the two is not there (any more), or has lost the address, or has moved
    kLimit,      // the VPC has as many connections here as it may
  };
  Result result = Result::kGone;
  Ticket ticket;       // of kAdmitted
  VerdictPtr verdict;  // of kAdmitted and kForbidden
  std::vector<ShadowHit> shadow;
};

// What became of a connection when it was looked at again.
struct Effect {
  enum class Kind { kCut, kChanged };  // kChanged: other operations than before
  enum class Cause { kRules, kOwnGone, kPeerGone, kPeerMoved };
  Kind kind = Kind::kCut;
  Cause cause = Cause::kRules;
  Ticket ticket;  // of a cut: not in the tracker any more
  Tracked connection;
  VerdictPtr before;
  VerdictPtr after;  // null unless the cause is kRules
};

// A step of the state, as far as verdicts depend on it.
struct PolicyChange {
  bool snapshot = false;      // groups that are not in here are gone
  std::vector<Group> groups;  // whole new values
  std::vector<SecurityGroupUid> removed_groups;
  std::vector<EndpointUid> endpoints;  // that came, changed or went; the directory says how
  std::vector<VpcUid> removed_vpcs;    // their groups and endpoints go, too
};

// Endpoints and groups as they might become.
struct Hypothesis {
  std::vector<Group> groups;
  struct Member {
    EndpointUid endpoint;
    std::vector<SecurityGroupUid> groups;
    std::vector<IpAddress> addresses;
  };
  std::vector<Member> endpoints;
};

// The connections of this host with the verdict that admitted each, kept in step with the rules.
//
// One promise holds whatever runs side by side: a connection that apply() does not report was
// admitted under, or looked at again under, the state that apply() brought. For this admit()
// decides and enters the connection in one step under the lock: it comes before a change, which
// then sees it, or after it. It is to be called before the queue pair is moved to RTR, and the
// effects of apply() are to be carried out behind the command that is on its way.
//
// The directory must have taken a change over before apply() gets it. Thread-safe; a change of a
// million connections lets others in between.
class Tracker {
 public:
  struct Limits {
    std::size_t connections_per_vpc = std::size_t{1} << 20U;
  };
  // Nothing is owned; both must outlive this.
  Tracker(GroupSets& sets, const Directory& directory, Limits limits);

  // A queue pair on its way from one peer to another has both admissions until it is known which
  // one holds.
  [[nodiscard]] Admission admit(const Tracked& connection);
  // The queue pair has no such peer any more, or the admission led to nothing. Without effect when
  // the admission has been cut.
  void release(const Ticket& ticket);

  // Whether rules of the endpoint could ever admit the transport. False: unknown endpoint, too.
  [[nodiscard]] bool could_use(EndpointUid endpoint, const IpAddress& address,
                               Transport transport) const;

  // From one thread. In the order of keys within each of the change's parts.
  [[nodiscard]] std::vector<Effect> apply(PolicyChange change);

  // Null: one of the two is not there.
  [[nodiscard]] VerdictPtr judge(EndpointUid own, const IpAddress& own_address, EndpointUid peer,
                                 const IpAddress& peer_address, Transport transport) const;
  // What apply() would report. Nothing changes.
  [[nodiscard]] std::vector<Effect> suppose(const Hypothesis& hypothesis) const;

  [[nodiscard]] std::size_t size() const;
  // Since start.
  struct Counters {
    std::uint64_t looked_at_again = 0;
  };
  [[nodiscard]] Counters counters() const;
  [[nodiscard]] std::size_t connections_of(VpcUid vpc) const;
  [[nodiscard]] std::size_t memory_bytes() const;

 private:
  static constexpr std::uint32_t kNone = 0xffffffffU;
  // Neighbours in one of the lists that an entry is in.
  struct Link {
    std::uint32_t previous = kNone;
    std::uint32_t next = kNone;
  };
  enum List : std::size_t { kByOwn, kByPeer, kByPair, kLists };
  struct Entry {
    Tracked connection;
    std::uint64_t serial = 0;  // 0: the place is free
    VerdictPtr verdict;
    VpcUid vpc;
    SetId own_set = 0;
    SetId peer_set = 0;
    std::array<Link, kLists> links;
  };
  using Heads = std::unordered_map<std::uint64_t, std::uint32_t>;
  // Verdicts of one pass, made once for connections of equal parties.
  class Judge;

  static std::uint64_t pair_of(const Entry& entry) {
    return (std::uint64_t{entry.own_set} << 32U) | entry.peer_set;
  }
  [[nodiscard]] std::uint64_t head_key(const Entry& entry, std::size_t list) const;
  // REQUIRES of all: mutex_ held.
  void link(std::uint32_t number);
  void unlink(std::uint32_t number);
  void remove(std::uint32_t number);
  void collect(const Heads& heads, std::uint64_t key, std::size_t list,
               std::vector<Ticket>& out) const;
  void collect_of_group(const ProgramPtr& before, const Group* after, SecurityGroupUid group,
                        std::vector<Ticket>& out) const;
  void look_again(std::uint32_t number, bool standings, Judge& judge, std::vector<Effect>& out);
  [[nodiscard]] std::vector<ShadowHit> shadow_hits(const Tracked& connection,
                                                   const HeldVerdict& held) const;

  GroupSets& sets_;
  const Directory& directory_;
  const Limits limits_;
  mutable std::mutex mutex_;  // guards all below
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> free_;
  std::size_t size_ = 0;
  std::array<Heads, kLists> heads_;
  // Pairs in use that have the set on one side.
  std::unordered_map<SetId, std::unordered_set<std::uint64_t>> pairs_with_;
  std::unordered_map<VpcUid, std::size_t> per_vpc_;
  std::uint64_t next_serial_ = 1;
  Counters counters_;
};

}  // namespace qmasq::conntrack
