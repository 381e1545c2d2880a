// SPDX-License-Identifier: Apache-2.0
#include "conntrack/tracker.h"

#include <algorithm>
#include <utility>

namespace qmasq::conntrack {
namespace {

// Entries looked at again before others get the lock for a moment.
constexpr std::size_t kAtOnce = 2048;

void collect_hits(const ShadowHit& question, Transport transport, const Party& own,
                  const Party& peer, const SideDecision& now, std::vector<ShadowHit>& out) {
  ShadowHit hit = question;
  hit.decision = shadow_decision(hit.direction, transport, own, peer, now);
  if (hit.decision.program != nullptr) out.push_back(hit);
}

// The rules that are in one of the two groups and not in the other.
std::vector<const Rule*> differing(const Group* before, const Group* after) {
  static const std::vector<Rule> none;
  const std::vector<Rule>& old_rules = before == nullptr ? none : before->rules;
  const std::vector<Rule>& new_rules = after == nullptr ? none : after->rules;
  auto by_id = [](const Rule* a, const Rule* b) { return a->id < b->id; };
  auto sorted = [&](const std::vector<Rule>& rules) {
    std::vector<const Rule*> pointers;
    pointers.reserve(rules.size());
    for (const Rule& rule : rules)
      pointers.push_back(&rule);
    std::sort(pointers.begin(), pointers.end(), by_id);
    return pointers;
  };
  const auto olds = sorted(old_rules);
  const auto news = sorted(new_rules);
  std::vector<const Rule*> out;
  auto old_at = olds.begin();
  auto new_at = news.begin();
  while (old_at != olds.end() || new_at != news.end()) {
    if (new_at == news.end() || (old_at != olds.end() && by_id(*old_at, *new_at))) {
      out.push_back(*old_at++);
    } else if (old_at == olds.end() || by_id(*new_at, *old_at)) {
      out.push_back(*new_at++);
    } else {
      if (!(**old_at == **new_at)) {
        out.push_back(*old_at);
        out.push_back(*new_at);
      }
      ++old_at;
      ++new_at;
    }
  }
  return out;
}

}  // namespace

class Tracker::Judge {
 public:
  VerdictPtr operator()(const Tracked& connection, const GroupSetPtr& own,
                        const GroupSetPtr& peer) {
    const bool same_sets = last_ && last_->own == own && last_->peer == peer;
    if (same_sets && last_transport_ == connection.transport && !own->uses_addresses &&
        !peer->uses_addresses) {
      return last_;
    }
    Verdict verdict = evaluate(own->party(connection.own_address),
                               peer->party(connection.peer_address), connection.transport);
    if (!same_sets || !(last_->verdict == verdict)) {
      last_ = std::make_shared<const HeldVerdict>(HeldVerdict{verdict, own, peer});
    }
    last_transport_ = connection.transport;
    return last_;
  }

 private:
  VerdictPtr last_;
  Transport last_transport_ = Transport::kRc;
};

Tracker::Tracker(GroupSets& sets, const Directory& directory, Limits limits)
    : sets_(sets), directory_(directory), limits_(limits) {}

std::uint64_t Tracker::head_key(const Entry& entry, std::size_t list) const {
  if (list == kByOwn) return entry.connection.own.value;
  if (list == kByPeer) return entry.connection.peer.value;
  return pair_of(entry);
}

void Tracker::link(std::uint32_t number) {
  Entry& entry = entries_[number];
  for (std::size_t list = 0; list < kLists; ++list) {
    auto [head, fresh] = heads_[list].try_emplace(head_key(entry, list), kNone);
    if (fresh && list == kByPair) {
      pairs_with_[entry.own_set].insert(pair_of(entry));
      pairs_with_[entry.peer_set].insert(pair_of(entry));
    }
    entry.links[list] = {kNone, head->second};
    if (head->second != kNone) entries_[head->second].links[list].previous = number;
    head->second = number;
  }
}

void Tracker::unlink(std::uint32_t number) {
  Entry& entry = entries_[number];
  for (std::size_t list = 0; list < kLists; ++list) {
    const Link link = entry.links[list];
    if (link.next != kNone) entries_[link.next].links[list].previous = link.previous;
    if (link.previous != kNone) {
      entries_[link.previous].links[list].next = link.next;
      continue;
    }
    auto head = heads_[list].find(head_key(entry, list));
    head->second = link.next;
    if (link.next != kNone) continue;
    heads_[list].erase(head);
    if (list != kByPair) continue;
    for (SetId set : {entry.own_set, entry.peer_set}) {
      auto pairs = pairs_with_.find(set);
      if (pairs == pairs_with_.end()) continue;  // both sides are of one set
      pairs->second.erase(pair_of(entry));
      if (pairs->second.empty()) pairs_with_.erase(pairs);
    }
  }
}

void Tracker::remove(std::uint32_t number) {
  Entry& entry = entries_[number];
  unlink(number);
  sets_.release(entry.own_set);
  sets_.release(entry.peer_set);
  --size_;
  if (auto it = per_vpc_.find(entry.vpc); --it->second == 0) per_vpc_.erase(it);
  entry = Entry{};
  free_.push_back(number);
}

std::vector<ShadowHit> Tracker::shadow_hits(const Tracked& connection,
                                            const HeldVerdict& held) const {
  std::vector<ShadowHit> out;
  if (!held.own->has_shadow && !held.peer->has_shadow) return out;
  const Party own = held.own->party(connection.own_address);
  const Party peer = held.peer->party(connection.peer_address);
  const Verdict& now = held.verdict;
  const Transport transport = connection.transport;
  collect_hits({connection.own, Direction::kEgress, {}}, transport, own, peer,
               now.first_opens.egress, out);
  collect_hits({connection.peer, Direction::kIngress, {}}, transport, peer, own,
               now.first_opens.ingress, out);
  collect_hits({connection.peer, Direction::kEgress, {}}, transport, peer, own,
               now.second_opens.egress, out);
  collect_hits({connection.own, Direction::kIngress, {}}, transport, own, peer,
               now.second_opens.ingress, out);
  return out;
}

Admission Tracker::admit(const Tracked& connection) {
  Admission out;
  std::lock_guard lock(mutex_);
  const auto own = directory_.look(connection.own, connection.own_address);
  const auto peer = directory_.look(connection.peer, connection.peer_address);
  if (!own || !peer || own->vpc != peer->vpc || peer->host != connection.peer_host) return out;
  out.verdict = Judge()(connection, sets_.get(own->groups), sets_.get(peer->groups));
  out.shadow = shadow_hits(connection, *out.verdict);
  if (!out.verdict->verdict.allowed) {
    out.result = Admission::Result::kForbidden;
    return out;
  }
  std::size_t& used = per_vpc_[own->vpc];
  if (used >= limits_.connections_per_vpc) {
    if (used == 0) per_vpc_.erase(own->vpc);
    out.result = Admission::Result::kLimit;
    return out;
  }
  ++used;
  std::uint32_t number = 0;
  if (free_.empty()) {
    number = static_cast<std::uint32_t>(entries_.size());
    entries_.emplace_back();
  } else {
    number = free_.back();
    free_.pop_back();
  }
  Entry& entry = entries_[number];
  entry.connection = connection;
  entry.serial = next_serial_++;
  entry.verdict = out.verdict;
  entry.vpc = own->vpc;
  entry.own_set = own->groups;
  entry.peer_set = peer->groups;
  sets_.acquire(entry.own_set);
  sets_.acquire(entry.peer_set);
  ++size_;
  link(number);
  out.result = Admission::Result::kAdmitted;
  out.ticket = {number, entry.serial};
  return out;
}

void Tracker::release(const Ticket& ticket) {
  if (ticket.serial == 0) return;
  std::lock_guard lock(mutex_);
  if (ticket.place < entries_.size() && entries_[ticket.place].serial == ticket.serial) {
    remove(ticket.place);
  }
}

bool Tracker::could_use(EndpointUid endpoint, const IpAddress& address, Transport transport) const {
  const auto standing = directory_.look(endpoint, address);
  if (!standing) return false;
  return conntrack::could_use(sets_.get(standing->groups)->party(address), transport);
}

void Tracker::collect(const Heads& heads, std::uint64_t key, std::size_t list,
                      std::vector<Ticket>& out) const {
  auto head = heads.find(key);
  if (head == heads.end()) return;
  for (std::uint32_t at = head->second; at != kNone; at = entries_[at].links[list].next)
    out.push_back({at, entries_[at].serial});
}

// Where all rules that changed name groups, only pairs with one of these on the other side are
// touched.
void Tracker::collect_of_group(const ProgramPtr& before, const Group* after, SecurityGroupUid group,
                               std::vector<Ticket>& out) const {
  const auto rules = differing(before ? &before->group() : nullptr, after);
  if (rules.empty()) return;
  std::vector<SecurityGroupUid> remotes;
  bool everybody = false;
  for (const Rule* rule : rules) {
    if (rule->shadow) continue;
    if (rule->remote.kind == Remote::Kind::kGroup) {
      remotes.push_back(rule->remote.group);
    } else {
      everybody = true;
    }
  }
  std::unordered_set<std::uint64_t> pairs;
  for (SetId set : sets_.sets_with(group)) {
    auto with = pairs_with_.find(set);
    if (with == pairs_with_.end()) continue;
    for (std::uint64_t pair : with->second) {
      const auto own = static_cast<SetId>(pair >> 32U);
      const SetId other = own == set ? static_cast<SetId>(pair) : own;
      bool touched = everybody;
      if (!touched && !remotes.empty()) {
        const GroupSetPtr others = sets_.get(other);
        touched = std::any_of(remotes.begin(), remotes.end(),
                              [&](SecurityGroupUid remote) { return others->carries(remote); });
      }
      if (touched) pairs.insert(pair);
    }
  }
  for (std::uint64_t pair : pairs)
    collect(heads_[kByPair], pair, kByPair, out);
}

void Tracker::look_again(std::uint32_t number, bool standings, Judge& judge,
                         std::vector<Effect>& out) {
  ++counters_.looked_at_again;
  Entry& entry = entries_[number];
  auto cut = [&](Effect::Cause cause, VerdictPtr after) {
    out.push_back({Effect::Kind::kCut,
                   cause,
                   {number, entry.serial},
                   entry.connection,
                   entry.verdict,
                   std::move(after)});
    remove(number);
  };
  if (standings) {
    const auto own = directory_.look(entry.connection.own, entry.connection.own_address);
    if (!own) return cut(Effect::Cause::kOwnGone, nullptr);
    const auto peer = directory_.look(entry.connection.peer, entry.connection.peer_address);
    if (!peer || peer->vpc != own->vpc) return cut(Effect::Cause::kPeerGone, nullptr);
    if (peer->host != entry.connection.peer_host) {
      return cut(Effect::Cause::kPeerMoved, nullptr);
    }
    if (own->groups != entry.own_set || peer->groups != entry.peer_set) {
      unlink(number);
      sets_.acquire(own->groups);
      sets_.acquire(peer->groups);
      sets_.release(std::exchange(entry.own_set, own->groups));
      sets_.release(std::exchange(entry.peer_set, peer->groups));
      link(number);
    }
  }
  VerdictPtr now = judge(entry.connection, sets_.get(entry.own_set), sets_.get(entry.peer_set));
  if (!now->verdict.allowed) return cut(Effect::Cause::kRules, std::move(now));
  const bool changed = !(now->verdict.on_first == entry.verdict->verdict.on_first);
  if (changed) {
    out.push_back({Effect::Kind::kChanged,
                   Effect::Cause::kRules,
                   {number, entry.serial},
                   entry.connection,
                   entry.verdict,
                   now});
  }
  entry.verdict = std::move(now);
}

std::vector<Effect> Tracker::apply(PolicyChange change) {
  std::vector<Effect> out;
  // Compiled out of the lock: ten thousand rules take milliseconds.
  std::vector<ProgramPtr> programs;
  programs.reserve(change.groups.size());
  for (Group& group : change.groups)
    programs.push_back(Program::compile(std::move(group)));

  std::vector<Ticket> by_rules;
  std::vector<Ticket> by_standing;
  const std::unordered_set<VpcUid> gone_vpcs(change.removed_vpcs.begin(),
                                             change.removed_vpcs.end());
  auto gone = [&](VpcUid vpc) { return gone_vpcs.contains(vpc); };
  std::unique_lock lock(mutex_);
  if (change.snapshot) {
    std::unordered_set<SecurityGroupUid> kept;
    for (const ProgramPtr& program : programs)
      kept.insert(program->group().uid);
    for (SecurityGroupUid group : sets_.held()) {
      if (!kept.contains(group)) change.removed_groups.push_back(group);
    }
  }
  for (SecurityGroupUid group : sets_.held()) {
    const ProgramPtr program = change.removed_vpcs.empty() ? nullptr : sets_.program(group);
    if (program && gone(program->group().vpc)) change.removed_groups.push_back(group);
  }
  for (ProgramPtr& program : programs) {
    const Group& group = program->group();
    const ProgramPtr before = sets_.put(program);
    if (!change.snapshot) collect_of_group(before, &group, group.uid, by_rules);
  }
  for (SecurityGroupUid group : change.removed_groups) {
    const ProgramPtr before = sets_.remove(group);
    if (before && !change.snapshot) collect_of_group(before, nullptr, group, by_rules);
  }
  const bool all = change.snapshot || !gone_vpcs.empty();
  for (std::uint32_t number = 0; all && number < entries_.size(); ++number) {
    const Entry& entry = entries_[number];
    if (entry.serial == 0 || !(change.snapshot || gone(entry.vpc))) continue;
    by_standing.push_back({number, entry.serial});
  }
  if (!change.snapshot) {
    for (EndpointUid endpoint : change.endpoints) {
      collect(heads_[kByOwn], endpoint.value, kByOwn, by_standing);
      collect(heads_[kByPeer], endpoint.value, kByPeer, by_standing);
    }
  }
  Judge judge;
  std::size_t steps = 0;
  auto pass = [&](const std::vector<Ticket>& places, bool standings) {
    for (const Ticket& place : places) {
      if (++steps % kAtOnce == 0) {
        lock.unlock();
        lock.lock();
      }
      if (entries_[place.place].serial == place.serial) {
        look_again(place.place, standings, judge, out);
      }
    }
  };
  pass(by_standing, true);
  pass(by_rules, false);
  return out;
}

VerdictPtr Tracker::judge(EndpointUid own, const IpAddress& own_address, EndpointUid peer,
                          const IpAddress& peer_address, Transport transport) const {
  const auto here = directory_.look(own, own_address);
  const auto there = directory_.look(peer, peer_address);
  if (!here || !there || here->vpc != there->vpc) return nullptr;
  Tracked question;
  question.transport = transport;
  question.own_address = own_address;
  question.peer_address = peer_address;
  return Judge()(question, sets_.get(here->groups), sets_.get(there->groups));
}

std::vector<Effect> Tracker::suppose(const Hypothesis& hypothesis) const {
  std::unordered_map<SecurityGroupUid, ProgramPtr> programs;
  for (const Group& group : hypothesis.groups)
    programs[group.uid] = Program::compile(group);
  std::unordered_map<EndpointUid, const Hypothesis::Member*> members;
  for (const Hypothesis::Member& member : hypothesis.endpoints)
    members[member.endpoint] = &member;

  // What a combination of groups becomes; the same where nothing of it changes.
  std::map<std::vector<SecurityGroupUid>, GroupSetPtr> made;
  auto become = [&](const std::vector<SecurityGroupUid>& groups) {
    auto [it, fresh] = made.try_emplace(groups);
    if (!fresh) return it->second;
    std::vector<ProgramPtr> parts;
    parts.reserve(groups.size());
    for (SecurityGroupUid group : groups) {
      auto changed = programs.find(group);
      ProgramPtr program = changed == programs.end() ? sets_.program(group) : changed->second;
      if (program) parts.push_back(std::move(program));
    }
    it->second = make_group_set(groups, parts);
    return it->second;
  };
  auto groups_of = [&](EndpointUid endpoint, SetId set) {
    auto member = members.find(endpoint);
    if (member == members.end()) return sets_.get(set)->groups;
    std::vector<SecurityGroupUid> groups = member->second->groups;
    std::sort(groups.begin(), groups.end());
    groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
    return groups;
  };
  auto has_lost = [&](EndpointUid endpoint, const IpAddress& address) {
    auto member = members.find(endpoint);
    if (member == members.end() || address.is_link_local()) return false;
    const auto& addresses = member->second->addresses;
    return std::find(addresses.begin(), addresses.end(), address) == addresses.end();
  };

  std::vector<Effect> out;
  Judge judge;
  std::unique_lock lock(mutex_);
  for (std::uint32_t number = 0; number < entries_.size(); ++number) {
    if (number % kAtOnce == kAtOnce - 1) {
      lock.unlock();
      lock.lock();
    }
    const Entry& entry = entries_[number];
    if (entry.serial == 0) continue;
    const Tracked& connection = entry.connection;
    Effect effect{Effect::Kind::kCut, Effect::Cause::kRules, {number, entry.serial},
                  connection,         entry.verdict,         nullptr};
    if (has_lost(connection.own, connection.own_address)) {
      effect.cause = Effect::Cause::kOwnGone;
    } else if (has_lost(connection.peer, connection.peer_address)) {
      effect.cause = Effect::Cause::kPeerGone;
    } else {
      effect.after = judge(connection, become(groups_of(connection.own, entry.own_set)),
                           become(groups_of(connection.peer, entry.peer_set)));
      const Verdict& after = effect.after->verdict;
      if (after.allowed) {
        if (after.on_first == entry.verdict->verdict.on_first) continue;
        effect.kind = Effect::Kind::kChanged;
      }
    }
    out.push_back(std::move(effect));
  }
  return out;
}

std::size_t Tracker::size() const {
  std::lock_guard lock(mutex_);
  return size_;
}

Tracker::Counters Tracker::counters() const {
  std::lock_guard lock(mutex_);
  return counters_;
}

std::size_t Tracker::connections_of(VpcUid vpc) const {
  std::lock_guard lock(mutex_);
  auto it = per_vpc_.find(vpc);
  return it == per_vpc_.end() ? 0 : it->second;
}

std::size_t Tracker::memory_bytes() const {
  std::lock_guard lock(mutex_);
  constexpr std::size_t kNode = 4 * sizeof(void*);
  return entries_.capacity() * sizeof(Entry) +
         (heads_[kByOwn].size() + heads_[kByPeer].size() + heads_[kByPair].size()) * 2 * kNode;
}

}  // namespace qmasq::conntrack
