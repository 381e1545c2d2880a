// SPDX-License-Identifier: Apache-2.0
// Random groups, rules, endpoints and changes against an evaluator that is as simple as the text of
// docs/security-groups.md: it scans all rules for each question and keeps no index.
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <random>

#include "conntrack/rule_text.h"
#include "conntrack/tracker.h"
#include "tests/unit/conntrack/values.h"

namespace qmasq::conntrack {
namespace {

using namespace test;  // NOLINT: all of this is about values

constexpr int kSteps = 120'000;
constexpr std::uint32_t kSeed = 20261123;

// What the model knows of a connection.
struct Known {
  Tracked connection;
  Operations on_own;
};

class Model {
 public:
  std::map<std::uint64_t, Group> groups;
  std::map<std::uint64_t, TableDirectory::Member> members;

  struct Answer {
    bool admits = false;
    Operations operations;
  };
  struct Judged {
    bool allowed = false;
    Operations on_first;
    Operations on_second;
  };

  [[nodiscard]] std::optional<Judged> judge(const Tracked& connection) const {
    auto own = members.find(connection.own.value);
    auto peer = members.find(connection.peer.value);
    if (own == members.end() || peer == members.end()) return std::nullopt;
    if (!has(own->second, connection.own_address)) return std::nullopt;
    if (!has(peer->second, connection.peer_address)) return std::nullopt;
    if (own->second.vpc != peer->second.vpc) return std::nullopt;
    if (peer->second.host != connection.peer_host) return std::nullopt;
    auto ask = [&](Direction direction, bool of_own) {
      return of_own ? side(direction, connection.transport, own->second, peer->second,
                           connection.peer_address)
                    : side(direction, connection.transport, peer->second, own->second,
                           connection.own_address);
    };
    const Answer own_out = ask(Direction::kEgress, true);
    const Answer own_in = ask(Direction::kIngress, true);
    const Answer peer_out = ask(Direction::kEgress, false);
    const Answer peer_in = ask(Direction::kIngress, false);
    Judged out;
    if (own_out.admits && peer_in.admits) {
      out.allowed = true;
      out.on_first = out.on_first | own_out.operations;
      out.on_second = out.on_second | peer_in.operations;
    }
    if (peer_out.admits && own_in.admits) {
      out.allowed = true;
      out.on_first = out.on_first | own_in.operations;
      out.on_second = out.on_second | peer_out.operations;
    }
    return out;
  }

 private:
  static bool has(const TableDirectory::Member& member, const IpAddress& address) {
    for (const IpAddress& own : member.addresses) {
      if (own == address) return true;
    }
    return false;
  }

  [[nodiscard]] Answer side(Direction direction, Transport transport,
                            const TableDirectory::Member& own, const TableDirectory::Member& peer,
                            const IpAddress& peer_address) const {
    int best = -1;
    bool denied = false;
    Operations operations;
    for (SecurityGroupUid uid : own.groups) {
      auto group = groups.find(uid.value);
      if (group == groups.end()) continue;
      for (const Rule& rule : group->second.rules) {
        if (rule.shadow || rule.direction != direction) continue;
        const bool named = rule.transport == transport;
        const bool by_any =
            !rule.transport && (transport != Transport::kUd || rule.action == Action::kDeny);
        if (!named && !by_any) continue;
        bool matches = rule.remote.kind == Remote::Kind::kAny;
        if (rule.remote.kind == Remote::Kind::kCidr) {
          matches = rule.remote.cidr.contains(peer_address);
        }
        if (rule.remote.kind == Remote::Kind::kGroup) {
          for (SecurityGroupUid carried : peer.groups)
            matches = matches || carried == rule.remote.group;
        }
        if (!matches || rule.priority < best) continue;
        if (rule.priority > best) {
          best = rule.priority;
          denied = false;
          operations = {};
        }
        if (rule.action == Action::kDeny) {
          denied = true;
        } else {
          operations = operations | rule.operations;
        }
      }
    }
    if (best >= 0) return {!denied, denied ? Operations{} : operations};
    if (direction == Direction::kIngress || transport == Transport::kUd) return {};
    return {true, Operations::all()};
  }
};

class RandomRun {
 public:
  void step() {
    switch (dice(10)) {
      case 0:
        change_group();
        break;
      case 1:
        change_endpoint();
        break;
      case 2:
        if (dice(3) == 0) remove_something();
        break;
      case 3:
        release();
        break;
      default:
        connect();
    }
  }
  void finish() {
    EXPECT_GT(admitted_, kSteps / 100);
    EXPECT_GT(refused_, kSteps / 100);
    EXPECT_GT(cut_, kSteps / 1000);
    EXPECT_GT(changed_, kSteps / 1000);
  }

 private:
  std::uint32_t dice(std::uint32_t sides) { return random_() % sides; }

  static const std::vector<IpAddress>& pool() {
    static const std::vector<IpAddress> addresses = {
        ip("10.0.0.1"), ip("10.0.0.2"), ip("10.0.0.3"), ip("10.0.1.1"), ip("10.0.1.2"),
        ip("10.9.0.1"), ip("fd00::1"),  ip("fd00::2"),  ip("fd00:1::1")};
    return addresses;
  }

  Remote random_remote() {
    static const char* const ranges[] = {"10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0",   "10.0.0.1/32",
                                         "fd00::/64",   "::/0",       "fd00::2/128", "10.0.0.2/31"};
    switch (dice(4)) {
      case 0:
        return any();
      case 1:
        return cidr(ranges[dice(8)]);
      default:
        return sg(1 + dice(kGroups));
    }
  }

  Rule random_rule(int index) {
    Rule out;
    out.id = "r" + std::to_string(index);
    out.direction = dice(3) == 0 ? Direction::kEgress : Direction::kIngress;
    out.priority = static_cast<std::uint16_t>(dice(3));
    out.action = dice(3) == 0 ? Action::kDeny : Action::kAllow;
    if (dice(2) == 0) out.transport = static_cast<Transport>(dice(4));
    out.remote = random_remote();
    if (dice(2) == 0) out.operations.bits = static_cast<std::uint8_t>(1 + dice(15));
    out.shadow = dice(6) == 0;
    return out;
  }

  void change_group() {
    const std::uint64_t uid = 1 + dice(kGroups);
    std::vector<Rule> rules;
    if (auto known = model_.groups.find(uid); known != model_.groups.end() && dice(2) == 0) {
      rules = known->second.rules;  // a small change of what is there
      if (!rules.empty() && dice(2) == 0)
        rules.erase(rules.begin() + dice(static_cast<std::uint32_t>(rules.size())));
      rules.push_back(random_rule(100 + static_cast<int>(dice(1'000'000))));
    } else {
      // Sometimes so many that indexes are hashed and not scanned.
      const int count = static_cast<int>(dice(20) == 0 ? 80 : dice(6));
      for (int i = 0; i < count; ++i)
        rules.push_back(random_rule(i));
    }
    Group changed = group(uid, std::move(rules));
    changed.vpc = VpcUid{1 + uid % 2};
    model_.groups[uid] = changed;
    PolicyChange change;
    change.groups = {std::move(changed)};
    apply(std::move(change));
  }

  void change_endpoint() {
    const std::uint64_t uid = 1 + dice(kEndpoints);
    TableDirectory::Member member;
    member.vpc = VpcUid{1 + uid % 2};
    member.host = HostUid{1 + dice(2)};
    for (std::uint32_t i = 0, count = 1 + dice(3); i < count; ++i)
      member.addresses.push_back(pool()[dice(static_cast<std::uint32_t>(pool().size()))]);
    for (std::uint32_t i = 0, count = dice(4); i < count; ++i)
      member.groups.push_back(SecurityGroupUid{1 + dice(kGroups)});
    model_.members[uid] = member;
    directory_.put(EndpointUid{uid}, member);
    PolicyChange change;
    change.endpoints = {EndpointUid{uid}};
    apply(std::move(change));
  }

  void remove_something() {
    PolicyChange change;
    if (dice(2) == 0) {
      const std::uint64_t uid = 1 + dice(kGroups);
      model_.groups.erase(uid);
      change.removed_groups = {SecurityGroupUid{uid}};
    } else if (dice(4) == 0) {
      change.snapshot = true;
      for (const auto& [uid, group] : model_.groups)
        change.groups.push_back(group);
    } else {
      const std::uint64_t uid = 1 + dice(kEndpoints);
      model_.members.erase(uid);
      directory_.remove(EndpointUid{uid});
      change.endpoints = {EndpointUid{uid}};
    }
    apply(std::move(change));
  }

  void release() {
    if (known_.empty()) return;
    auto it = known_.begin();
    std::advance(it, dice(static_cast<std::uint32_t>(known_.size())));
    tracker_.release(tickets_[it->first]);
    tickets_.erase(it->first);
    known_.erase(it);
  }

  void connect() {
    Tracked connection;
    connection.key = {1, next_handle_++};
    connection.transport = dice(2) == 0 ? Transport::kRc : static_cast<Transport>(dice(4));
    connection.own = EndpointUid{1 + dice(kEndpoints)};
    connection.peer = EndpointUid{1 + dice(kEndpoints)};
    // Mostly of one VPC: those have the same parity.
    if (connection.peer.value % 2 != connection.own.value % 2 && dice(10) != 0) {
      connection.peer.value = connection.peer.value % kEndpoints + 1;
    }
    auto address_of = [&](EndpointUid uid) {
      auto member = model_.members.find(uid.value);
      if (member == model_.members.end() || dice(10) == 0) return pool()[0];
      return member->second
          .addresses[dice(static_cast<std::uint32_t>(member->second.addresses.size()))];
    };
    connection.own_address = address_of(connection.own);
    connection.peer_address = address_of(connection.peer);
    connection.peer_host = HostUid{1 + dice(2)};
    if (auto peer = model_.members.find(connection.peer.value);
        peer != model_.members.end() && dice(10) != 0) {
      connection.peer_host = peer->second.host;
    }
    const auto expected = model_.judge(connection);
    const Admission got = tracker_.admit(connection);
    if (!expected) {
      ASSERT_EQ(got.result, Admission::Result::kGone);
      return;
    }
    ASSERT_EQ(got.result,
              expected->allowed ? Admission::Result::kAdmitted : Admission::Result::kForbidden);
    ASSERT_EQ(got.verdict->verdict.on_first, expected->on_first);
    ASSERT_EQ(got.verdict->verdict.on_second, expected->on_second);
    ++(expected->allowed ? admitted_ : refused_);
    if (!expected->allowed) return;
    known_[got.ticket.serial] = {connection, expected->on_first};
    tickets_[got.ticket.serial] = got.ticket;
    if (known_.size() > kMostConnections) release();
  }

  // Every effect, and no other, is what the model comes to.
  void apply(PolicyChange change) {
    std::map<std::uint64_t, Effect> effects;
    for (Effect& effect : tracker_.apply(std::move(change)))
      effects.emplace(effect.ticket.serial, std::move(effect));
    for (auto it = known_.begin(); it != known_.end();) {
      const auto now = model_.judge(it->second.connection);
      const bool stays = now && now->allowed;
      auto effect = effects.find(it->first);
      if (!stays) {
        ASSERT_NE(effect, effects.end()) << "a connection that the rules forbid goes on";
        ASSERT_EQ(effect->second.kind, Effect::Kind::kCut);
        ASSERT_EQ(effect->second.cause == Effect::Cause::kRules, now.has_value());
        effects.erase(effect);
        tickets_.erase(it->first);
        it = known_.erase(it);
        ++cut_;
        continue;
      }
      if (now->on_first == it->second.on_own) {
        ASSERT_EQ(effect, effects.end()) << "an effect where nothing changed";
      } else {
        ASSERT_NE(effect, effects.end()) << "operations changed unnoticed";
        ASSERT_EQ(effect->second.kind, Effect::Kind::kChanged);
        ASSERT_EQ(effect->second.after->verdict.on_first, now->on_first);
        it->second.on_own = now->on_first;
        effects.erase(effect);
        ++changed_;
      }
      ++it;
    }
    ASSERT_TRUE(effects.empty());
    ASSERT_EQ(tracker_.size(), known_.size());
  }

  static constexpr std::uint32_t kGroups = 8;
  static constexpr std::uint32_t kEndpoints = 10;
  static constexpr std::size_t kMostConnections = 60;

  std::mt19937 random_{kSeed};
  Model model_;
  GroupSets sets_;
  TableDirectory directory_{sets_};
  Tracker tracker_{sets_, directory_, {}};
  std::map<std::uint64_t, Known> known_;  // by serial
  std::map<std::uint64_t, Ticket> tickets_;
  std::uint32_t next_handle_ = 1;
  int admitted_ = 0;
  int refused_ = 0;
  int cut_ = 0;
  int changed_ = 0;
};

TEST(TrackerModel, AgreesWithTheTextInEveryVerdictAndEveryCut) {
  RandomRun run;
  for (int i = 0; i < kSteps; ++i) {
    run.step();
    ASSERT_FALSE(::testing::Test::HasFatalFailure()) << "step " << i << ", seed " << kSeed;
  }
  run.finish();
}

}  // namespace
}  // namespace qmasq::conntrack
