// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/net_types.h"
#include "qos/admission/account.h"
#include "qos/admission/verb_gate.h"
#include "vbond/admission/metrics.h"
#include "vbond/events/event_log.h"
#include "vbond/qos/policy_table.h"

// Quotas and verb rates of the endpoints of this host. What a call may do is asked here before the
// kernel sees it: over a quota is EDQUOT, over a rate EAGAIN. An endpoint's own policy and its
// VPC's both hold, the latter for the sum of the VPC's endpoints on this host.
namespace qmasq::vbond {

class AdmissionControl;

// Who asks, for events.
struct Asker {
  std::string_view verb;
  pid_t pid = 0;
  const std::string& command;
};

// A quota that is in the way.
struct OverQuota {
  qos::Resource resource = qos::Resource::kQueuePairs;
  bool of_vpc = false;
  std::uint64_t limit = 0;
  std::uint64_t used = 0;
  std::uint64_t asked = 0;
};

// An endpoint of this host as the verb path sees it. Lives as long as somebody holds it: what an
// endpoint that is gone still has goes on counting for its VPC until it is freed. Thread-safe;
// nothing here blocks or calls out, but for events.
class Tenancy {
 public:
  ~Tenancy();
  Tenancy(const Tenancy&) = delete;
  Tenancy& operator=(const Tenancy&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }  // "vpcs/blue/endpoints/a"
  [[nodiscard]] bool same_vpc(const Tenancy& other) const { return books_ == other.books_; }

  // --- verb rates ---
  // Whether there is any rate to ask: one load, all that a call costs without.
  [[nodiscard]] bool rated() const { return rated_.load(std::memory_order_relaxed); }
  // A token of each kind from the endpoint and its VPC, or none and false: EAGAIN, counted, with an
  // event.
  [[nodiscard]] bool admit(qos::VerbKinds kinds, const Asker& asker);
  // For a call that frees something, and is never refused: takes what there is. False: it would
  // have been too many.
  [[nodiscard]] bool note(qos::VerbKinds kinds);

  // --- quotas ---
  // All of it or nothing.
  [[nodiscard]] std::optional<OverQuota> reserve(const qos::Amounts& amounts);
  // Counts the refusal, with an event: EDQUOT.
  void refuse(const OverQuota& over, const Asker& asker);
  // As refuse(), for what no account can show.
  void refuse(qos::Resource resource, const std::string& reason, const Asker& asker);
  [[nodiscard]] bool limited(qos::Resource resource) const;
  // In one step: `more` is there whatever the limits say, `less` is not any more.
  void exchange(const qos::Amounts& more, const qos::Amounts& less);
  void release(const qos::Amounts& amounts) { exchange({}, amounts); }
  [[nodiscard]] qos::Amounts used() const;

 private:
  friend class AdmissionControl;

  // What the endpoints of a VPC share.
  struct Books {
    Books(std::string name, std::string id) : vpc_name(std::move(name)), vpc_id(std::move(id)) {}
    const std::string vpc_name;  // "vpcs/blue"
    const std::string vpc_id;    // "blue"
    mutable std::mutex mutex;    // guards all below, and all of its tenancies
    qos::Account account;
    qos::VerbGate gate;
    std::unique_ptr<AdmissionMetrics::Row> row;  // while an endpoint is governed
    std::size_t governed = 0;
    std::array<std::uint64_t, qos::kResources> refused{};
    std::array<std::array<std::uint64_t, 2>, qos::kVerbKinds> verbs{};  // refused, admitted
  };
  // At most one event a second; the others are counted in the next.
  struct Throttle {
    std::optional<std::chrono::steady_clock::time_point> last;
    std::uint64_t left_out = 0;
  };

  Tenancy(const Clock& clock, EventLog& events, std::shared_ptr<Books> books, std::string name,
          std::string id);
  // REQUIRES of these: books_->mutex held.
  void show();
  void count(qos::VerbKinds kinds, const std::optional<qos::OverRate>& refused);
  [[nodiscard]] std::optional<std::string> may_tell(Throttle& throttle);
  void record(EventType type, int err, std::string reason, const Asker& asker);

  const Clock& clock_;
  EventLog& events_;
  const std::shared_ptr<Books> books_;
  const std::string name_;
  const std::string id_;  // "a"
  std::atomic<bool> rated_{false};
  // Guarded by books_->mutex.
  qos::Account account_;
  qos::VerbGate gate_;
  std::unique_ptr<AdmissionMetrics::Row> row_;  // while it is governed
  Throttle quota_events_;
  Throttle rate_events_;
  std::array<std::uint64_t, qos::kResources> refused_{};
  std::array<std::array<std::uint64_t, 2>, qos::kVerbKinds> verbs_{};
};

// Amounts that were reserved for something that is about to be; released with this unless kept.
class Charge {
 public:
  Charge() = default;
  Charge(std::shared_ptr<Tenancy> tenancy, const qos::Amounts& amounts)
      : tenancy_(std::move(tenancy)), amounts_(amounts) {}
  ~Charge() { drop(); }
  Charge(Charge&& other) noexcept
      : tenancy_(std::exchange(other.tenancy_, nullptr)), amounts_(other.amounts_) {}
  Charge& operator=(Charge&& other) noexcept {
    if (this == &other) return *this;
    drop();
    tenancy_ = std::exchange(other.tenancy_, nullptr);
    amounts_ = other.amounts_;
    return *this;
  }
  // The caller answers for the amounts from now on.
  void keep() { tenancy_.reset(); }
  void drop() {
    if (auto tenancy = std::exchange(tenancy_, nullptr)) tenancy->release(amounts_);
  }

 private:
  std::shared_ptr<Tenancy> tenancy_;
  qos::Amounts amounts_{};
};

// Use of one limit, for `qmasq qos show`.
struct QuotaUse {
  std::string name;  // "vpcs/blue" or "vpcs/blue/endpoints/a"
  qos::Resource resource = qos::Resource::kQueuePairs;
  std::uint64_t used = 0;
  std::optional<std::uint64_t> limit;
  std::uint64_t refused = 0;
};
struct VerbRateUse {
  std::string name;
  qos::VerbKind kind = qos::VerbKind::kVerbs;
  qos::VerbRate rate;
  std::uint64_t admitted = 0;
  std::uint64_t refused = 0;
};

// Follows the policies and has a Tenancy for each endpoint. Thread-safe.
//
// Wiring: policies.add_listener([&](const auto& changed) { admission.policies_changed(changed); })
// before the first change. The PolicyTable need not come before the EndpointTable among the
// observers: an endpoint that attaches a program before its policies are known has no limits for
// that moment, and what it makes is counted.
class AdmissionControl {
 public:
  // Nothing is owned.
  AdmissionControl(const Clock& clock, EventLog& events, prometheus::Registry& registry);
  ~AdmissionControl();
  AdmissionControl(const AdmissionControl&) = delete;
  AdmissionControl& operator=(const AdmissionControl&) = delete;

  void policies_changed(const PolicyTable::Changed& changed);

  // The endpoint's; made if need be. `name`: "vpcs/blue/endpoints/a".
  [[nodiscard]] std::shared_ptr<Tenancy> tenancy(EndpointUid uid, const std::string& name);

  // Of all VPCs and endpoints that are governed, VPCs first, by name; all resources.
  [[nodiscard]] std::vector<QuotaUse> quotas() const;
  // Only those that have a rate.
  [[nodiscard]] std::vector<VerbRateUse> verb_rates() const;

 private:
  using Books = Tenancy::Books;

  // REQUIRES of these: mutex_ held.
  [[nodiscard]] std::shared_ptr<Tenancy> find_or_make(EndpointUid uid, const std::string& name);
  [[nodiscard]] std::shared_ptr<Books> books_of(const std::string& vpc_name,
                                                const std::string& vpc_id);
  void govern(const std::shared_ptr<Tenancy>& tenancy, const GovernedEndpoint& endpoint);
  void forget(EndpointUid uid);
  // Names in order.
  [[nodiscard]] std::vector<std::shared_ptr<Tenancy>> governed() const;
  // Each VPC's books once, then each endpoint, in the order of names, each under its own lock.
  template <typename OfVpc, typename OfEndpoint>
  void visit(OfVpc of_vpc, OfEndpoint of_endpoint) const;

  const Clock& clock_;
  EventLog& events_;
  AdmissionMetrics metrics_;
  mutable std::mutex mutex_;  // guards all below; taken before a Books' mutex
  std::unordered_map<EndpointUid, std::shared_ptr<Tenancy>> governed_;
  std::unordered_map<EndpointUid, std::weak_ptr<Tenancy>> others_;
  std::unordered_map<std::string, std::weak_ptr<Books>> books_;
};

}  // namespace qmasq::vbond
