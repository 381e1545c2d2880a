// SPDX-License-Identifier: Apache-2.0
// DPDK's rte_hash and rte_acl on the same rules.
#include <rte_acl.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_jhash.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <set>
#include <unordered_map>

#include "bench/policy/world.h"

namespace qmasq::bench {
namespace {

using conntrack::Match;
using conntrack::Remote;
using conntrack::Rule;

struct Key {
  std::uint32_t own = 0;
  std::uint32_t remote = 0;
  std::uint32_t kind = 0;  // direction, and length: 33 a group, 34 any
};

class Hashed final : public Rules {
 public:
  explicit Hashed(const World& world) {
    rte_hash_parameters parameters{};
    parameters.name = "rules";
    parameters.entries = 65536;
    parameters.key_len = sizeof(Key);
    parameters.hash_func = rte_jhash;
    hash_ = rte_hash_create(&parameters);
    for (const auto& group : world.groups) {
      for (const Rule& rule : group.rules) {
        const Key key = key_of(group.uid, rule);
        if (rule.remote.kind == Remote::Kind::kCidr) {
          lengths_[group.uid.value].insert(rule.remote.cidr.length);
        }
        void* known = nullptr;
        std::uintptr_t order = Match::order_of(rule);
        if (rte_hash_lookup_data(hash_, &key, &known) >= 0) {
          order = std::min(order, reinterpret_cast<std::uintptr_t>(known));
        }
        (void)rte_hash_add_key_data(hash_, &key, reinterpret_cast<void*>(order));
      }
    }
  }
  ~Hashed() override { rte_hash_free(hash_); }
  Hashed(const Hashed&) = delete;
  Hashed& operator=(const Hashed&) = delete;
  [[nodiscard]] bool ready() const { return hash_ != nullptr; }
  [[nodiscard]] std::string name() const override { return "rte_hash"; }
  [[nodiscard]] std::uint32_t decide(const Question& question) const override {
    std::uint32_t best = Match::kNoOrder;
    auto look = [&](const Key& key) {
      void* found = nullptr;
      if (rte_hash_lookup_data(hash_, &key, &found) < 0) return;
      best = std::min(best, static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(found)));
    };
    const std::uint32_t direction = static_cast<std::uint32_t>(question.direction) << 8U;
    for (SecurityGroupUid group : question.own->groups) {
      const auto own = static_cast<std::uint32_t>(group.value);
      look({own, 0, direction | 34U});
      for (SecurityGroupUid peer : question.peer->groups)
        look({own, static_cast<std::uint32_t>(peer.value), direction | 33U});
      auto lengths = lengths_.find(group.value);
      if (lengths == lengths_.end()) continue;
      for (std::uint32_t length : lengths->second) {
        const std::uint32_t mask = ~std::uint32_t{0} << (32U - length);
        look({own, question.peer_address.v4() & mask, direction | length});
      }
    }
    return best;
  }

 private:
  static Key key_of(SecurityGroupUid own, const Rule& rule) {
    Key key{static_cast<std::uint32_t>(own.value), 0,
            (static_cast<std::uint32_t>(rule.direction) << 8U) | 34U};
    if (rule.remote.kind == Remote::Kind::kGroup) {
      key.remote = static_cast<std::uint32_t>(rule.remote.group.value);
      key.kind -= 1;
    } else if (rule.remote.kind == Remote::Kind::kCidr) {
      key.remote = rule.remote.cidr.address.v4();
      key.kind = (key.kind & 0x100U) | rule.remote.cidr.length;
    }
    return key;
  }

  rte_hash* hash_ = nullptr;
  std::unordered_map<std::uint64_t, std::set<std::uint32_t>> lengths_;
};

// Input of the classifier, in network order: rte_acl's first field must be one byte.
struct Packet {
  std::uint8_t direction = 0;
  std::array<std::uint8_t, 3> pad{};
  std::uint32_t own = 0;
  std::uint32_t peer = 0;
  std::uint32_t address = 0;
};
constexpr int kFields = 4;
RTE_ACL_RULE_DEF(AclRule, kFields);

class Classified final : public Rules {
 public:
  explicit Classified(const World& world) {
    rte_acl_param parameters{};
    parameters.name = "rules";
    parameters.socket_id = -1;
    parameters.rule_size = RTE_ACL_RULE_SZ(kFields);
    parameters.max_rule_num = 1U << 16U;
    context_ = rte_acl_create(&parameters);
    if (context_ == nullptr) return;
    for (const auto& group : world.groups) {
      for (const Rule& rule : group.rules)
        add(group.uid, rule);
    }
    rte_acl_config config{};
    config.num_categories = 1;
    config.num_fields = kFields;
    const std::array<std::size_t, kFields> offsets = {0, 4, 8, 12};
    for (std::uint8_t i = 0; i < kFields; ++i) {
      config.defs[i].type = i == 0 ? RTE_ACL_FIELD_TYPE_BITMASK : RTE_ACL_FIELD_TYPE_MASK;
      config.defs[i].size = i == 0 ? 1 : 4;
      config.defs[i].field_index = i;
      config.defs[i].input_index = i;
      config.defs[i].offset = static_cast<std::uint32_t>(offsets[i]);
    }
    built_ = rte_acl_build(context_, &config) == 0;
  }
  ~Classified() override { rte_acl_free(context_); }
  Classified(const Classified&) = delete;
  Classified& operator=(const Classified&) = delete;
  [[nodiscard]] bool ready() const { return built_; }
  [[nodiscard]] std::string name() const override { return "rte_acl"; }

  [[nodiscard]] std::uint32_t decide(const Question& question) const override {
    packets_.clear();
    put(question);
    return classify(0, packets_.size());
  }
  void decide_all(const std::vector<Question>& questions,
                  std::vector<std::uint32_t>& out) const override {
    packets_.clear();
    ends_.clear();
    for (const Question& question : questions) {
      put(question);
      ends_.push_back(packets_.size());
    }
    run();
    std::size_t at = 0;
    for (std::size_t i = 0; i < questions.size(); ++i) {
      out[i] = Match::kNoOrder;
      for (; at < ends_[i]; ++at)
        out[i] = std::min(out[i], order_of(results_[at]));
    }
  }

 private:
  static std::uint32_t order_of(std::uint32_t userdata) {
    return userdata == 0 ? Match::kNoOrder : userdata - 1;
  }
  void add(SecurityGroupUid own, const Rule& rule) {
    AclRule out{};
    const std::uint32_t order = Match::order_of(rule);
    out.data.category_mask = 1;
    out.data.priority = static_cast<std::int32_t>(RTE_ACL_MAX_PRIORITY - 1 - order);
    out.data.userdata = order + 1;
    out.field[0].value.u8 = static_cast<std::uint8_t>(rule.direction);
    out.field[0].mask_range.u8 = 0xff;
    out.field[1].value.u32 = static_cast<std::uint32_t>(own.value);
    out.field[1].mask_range.u32 = 32;
    if (rule.remote.kind == Remote::Kind::kGroup) {
      out.field[2].value.u32 = static_cast<std::uint32_t>(rule.remote.group.value);
      out.field[2].mask_range.u32 = 32;
    } else if (rule.remote.kind == Remote::Kind::kCidr) {
      out.field[3].value.u32 = rule.remote.cidr.address.v4();
      out.field[3].mask_range.u32 = rule.remote.cidr.length;
    }
    (void)rte_acl_add_rules(context_, reinterpret_cast<const rte_acl_rule*>(&out), 1);
  }
  void put(const Question& question) const {
    for (SecurityGroupUid own : question.own->groups) {
      for (SecurityGroupUid peer : question.peer->groups) {
        packets_.push_back({static_cast<std::uint8_t>(question.direction),
                            {},
                            __builtin_bswap32(static_cast<std::uint32_t>(own.value)),
                            __builtin_bswap32(static_cast<std::uint32_t>(peer.value)),
                            __builtin_bswap32(question.peer_address.v4())});
      }
    }
  }
  void run() const {
    results_.resize(packets_.size());
    inputs_.resize(packets_.size());
    for (std::size_t i = 0; i < packets_.size(); ++i)
      inputs_[i] = reinterpret_cast<const std::uint8_t*>(&packets_[i]);
    (void)rte_acl_classify(context_, inputs_.data(), results_.data(),
                           static_cast<std::uint32_t>(packets_.size()), 1);
  }
  std::uint32_t classify(std::size_t first, std::size_t last) const {
    run();
    std::uint32_t best = Match::kNoOrder;
    for (std::size_t i = first; i < last; ++i)
      best = std::min(best, order_of(results_[i]));
    return best;
  }

  rte_acl_ctx* context_ = nullptr;
  bool built_ = false;
  // Kept from call to call: what is measured is not the allocator.
  mutable std::vector<Packet> packets_;
  mutable std::vector<std::size_t> ends_;
  mutable std::vector<const std::uint8_t*> inputs_;
  mutable std::vector<std::uint32_t> results_;
};

bool start_eal() {
  cpu_set_t affinity_before;
  sigset_t signals_before{};
  (void)sched_getaffinity(0, sizeof(affinity_before), &affinity_before);
  (void)pthread_sigmask(SIG_SETMASK, nullptr, &signals_before);
  std::vector<std::string> words = {"bench",       "--no-huge", "--no-pci", "--no-telemetry",
                                    "--no-shconf", "-m",        "256",      "--log-level=error",
                                    "-l",          "0"};
  std::vector<char*> arguments;
  for (std::string& word : words)
    arguments.push_back(word.data());
  // EAL pins the calling thread; a library in an agent would start it on one of its own.
  if (rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) < 0) {
    std::fprintf(stderr, "DPDK's EAL does not start: %s\n", rte_strerror(rte_errno));
    return false;
  }
  cpu_set_t affinity_after;
  sigset_t signals_after{};
  (void)sched_getaffinity(0, sizeof(affinity_after), &affinity_after);
  (void)pthread_sigmask(SIG_SETMASK, nullptr, &signals_after);
  const bool same_cpus = CPU_EQUAL(&affinity_before, &affinity_after) != 0;
  const bool same_signals = std::memcmp(&signals_before, &signals_after, sizeof(sigset_t)) == 0;
  std::printf("EAL without huge pages: CPU affinity of the thread %s, signal mask %s\n",
              same_cpus ? "unchanged" : "CHANGED (set back)",
              same_signals ? "unchanged" : "CHANGED");
  (void)sched_setaffinity(0, sizeof(affinity_before), &affinity_before);
  return true;
}

}  // namespace

std::vector<std::unique_ptr<Rules>> dpdk_rules(const World& world) {
  std::vector<std::unique_ptr<Rules>> out;
  if (!start_eal()) return out;
  if (auto hashed = std::make_unique<Hashed>(world); hashed->ready()) {
    out.push_back(std::move(hashed));
  } else {
    std::fprintf(stderr, "rte_hash: %s\n", rte_strerror(rte_errno));
  }
  if (auto classified = std::make_unique<Classified>(world); classified->ready()) {
    out.push_back(std::move(classified));
  } else {
    std::fprintf(stderr, "rte_acl: cannot be built: %s\n", rte_strerror(rte_errno));
  }
  return out;
}

}  // namespace qmasq::bench
