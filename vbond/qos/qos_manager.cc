// SPDX-License-Identifier: Apache-2.0
#include "vbond/qos/qos_manager.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "qmasq/v1/qos.pb.h"
#include "vbond/events/event_log.h"
#include "vbond/qos/hw_counters.h"
#include "vbond/qos/metrics.h"
#include "vbond/qos/nic_limiter.h"
#include "vbond/qos/port_desk.h"
#include "vbond/qos/qos_report.h"
#include "vbond/state/sync_state.h"

namespace qmasq::vbond {
namespace {

using Time = std::chrono::steady_clock::time_point;
using std::chrono::milliseconds;

constexpr milliseconds kFirstRetry{1000};
constexpr milliseconds kLongestRetry{60'000};
// Of one NIC at a time: where it loses its backend, every endpoint would have one.
constexpr std::size_t kMostEvents = 64;

// What was set since the loop looked last.
struct Inbox {
  std::map<EndpointUid, GovernedPtr> endpoints;
  std::optional<std::vector<Nic>> nics;
  std::optional<std::map<std::string, HostNicView>> rates;
  bool in_sync = false;
  std::optional<Time> since;  // the first of them came
  [[nodiscard]] bool empty() const { return endpoints.empty() && !nics && !rates && !in_sync; }
};

bool limits_anything(const std::shared_ptr<const qos::Policy>& policy) {
  return policy && (policy->bandwidth.limits() || policy->quotas != qos::Quotas{} ||
                    policy->verb_rates != qos::VerbRates{});
}

// What the choice of a backend may depend on.
bool same_device(const Nic& a, const Nic& b) {
  return a.device == b.device && a.port == b.port && a.netdev == b.netdev && a.driver == b.driver;
}

}  // namespace

struct QosManager::Impl {
  struct Limited {
    Nic nic;
    std::shared_ptr<NicLimiter> limiter;
    // Of the choice of its backend.
    bool settled = false;
    Time retry_at{};
    milliseconds retry_delay{0};
    std::set<qos::NodeId> told;  // nodes whose limits were said not to hold
    // What is to be said once the agent is in sync; until then nothing can hold.
    std::map<qos::NodeId, LimitChange> unsaid;
  };

  Impl(Options given, Parts given_parts, BackendFor factory)
      : options(std::move(given)),
        parts(std::move(given_parts)),
        backend_for(std::move(factory)),
        desk(parts.wire, parts.clock),
        metrics(parts.registry) {}

  // Any thread.
  template <typename Fill>
  void tell(Fill&& fill);

  // Of the loop's thread, all below.
  void wake();
  void tick();
  bool take_in(Inbox& from);
  void take_nics(std::vector<Nic> now);
  void take_rates();
  void choose_backend(Limited& limited);
  void feed(Limited& limited) const;
  void put(NicLimiter& limiter, const GovernedPtr& endpoint) const;
  void open();
  void program(bool changed, std::optional<Time> since);
  void report(Limited& limited);
  void inspect();
  void sample();
  [[nodiscard]] qos::Backend::VpcOf vpc_of() const;

  const Options options;
  const Parts parts;
  const BackendFor backend_for;
  PortDesk desk;

  // Sync's thread.
  HostUid host;
  bool opened = false;
  PolicyTable::Changed arrived;  // with the change that is being applied

  std::mutex inbox_mutex;
  Inbox inbox;         // guarded by inbox_mutex
  bool woken = false;  // guarded by inbox_mutex: a wake() is posted

  // The loop's thread.
  std::map<EndpointUid, GovernedPtr> governed;
  std::map<std::string, HostNicView> rates;
  bool in_sync = false;
  Time inspect_at{};
  QosMetrics metrics;

  mutable std::mutex mutex;
  // Changed on the loop's thread under `mutex`; read there without.
  std::map<std::string, Limited> nics;
  std::chrono::system_clock::time_point sampled_at;  // guarded by mutex
};

template <typename Fill>
void QosManager::Impl::tell(Fill&& fill) {
  {
    std::lock_guard lock(inbox_mutex);
    fill(inbox);
    if (!inbox.since) inbox.since = parts.clock.now();
    if (std::exchange(woken, true)) return;
  }
  parts.loop.post([this] { wake(); });
}

qos::Backend::VpcOf QosManager::Impl::vpc_of() const {
  return [this](EndpointUid uid) -> std::optional<VpcUid> {
    auto endpoint = parts.policies.find(uid);
    return endpoint ? std::optional(endpoint->vpc) : std::nullopt;
  };
}

void QosManager::Impl::wake() {
  Inbox now;
  {
    std::lock_guard lock(inbox_mutex);
    now = std::exchange(inbox, {});
    woken = false;
  }
  const bool news = take_in(now);
  program(news, now.since);
}

bool QosManager::Impl::take_in(Inbox& from) {
  if (from.empty()) return false;
  if (from.in_sync) in_sync = true;
  if (from.rates) rates = *std::move(from.rates);
  for (auto& [uid, endpoint] : from.endpoints) {
    if (endpoint) {
      governed[uid] = endpoint;
    } else {
      governed.erase(uid);
    }
    for (auto& [device, limited] : nics) {
      if (endpoint) {
        put(*limited.limiter, endpoint);
      } else {
        limited.limiter->remove(uid);
        limited.told.erase(qos::NodeId::endpoint(uid));
        limited.unsaid.erase(qos::NodeId::endpoint(uid));
      }
    }
  }
  if (from.nics) take_nics(*std::move(from.nics));
  take_rates();
  return true;
}

void QosManager::Impl::put(NicLimiter& limiter, const GovernedPtr& endpoint) const {
  limiter.put(endpoint, desk.find(endpoint->uid).value_or(qos::PortBlock{}));
}

void QosManager::Impl::feed(Limited& limited) const {
  for (const auto& [uid, endpoint] : governed)
    put(*limited.limiter, endpoint);
}

void QosManager::Impl::take_nics(std::vector<Nic> now) {
  auto is_there = [&](const std::string& device) {
    return std::any_of(now.begin(), now.end(),
                       [&](const Nic& nic) { return nic.device == device; });
  };
  std::vector<std::string> gone;
  for (const auto& [device, limited] : nics) {
    if (!is_there(device)) gone.push_back(device);
  }
  for (const std::string& device : gone) {
    // Its interface may still be there, and other traffic on it.
    if (in_sync) nics.at(device).limiter->withdraw();
    metrics.forget(device);
    std::lock_guard lock(mutex);
    nics.erase(device);
  }
  for (Nic& nic : now) {
    auto found = nics.find(nic.device);
    if (found == nics.end()) {
      // One that cannot carry our traffic (yet) needs no limits.
      if (!nic.primary) continue;
      Limited fresh;
      fresh.limiter = std::make_shared<NicLimiter>(nic.device);
      fresh.nic = std::move(nic);
      feed(fresh);
      std::lock_guard lock(mutex);
      nics.emplace(fresh.nic.device, std::move(fresh));
      continue;
    }
    Limited& limited = found->second;
    const bool same = same_device(limited.nic, nic);
    {
      std::lock_guard lock(mutex);
      limited.nic = std::move(nic);
    }
    if (same) continue;
    if (in_sync) limited.limiter->withdraw();
    limited.settled = false;
    limited.retry_at = {};
    limited.retry_delay = milliseconds(0);
  }
  for (auto& [device, limited] : nics)
    choose_backend(limited);
}

void QosManager::Impl::choose_backend(Limited& limited) {
  const Time now = parts.clock.now();
  if (limited.settled || now < limited.retry_at) return;
  auto backend = backend_for(limited.nic, parts.policies);
  limited.settled = backend.has_value() || backend.error().code == Code::kUnsupported;
  if (backend) {
    limited.limiter->set_backend(std::move(*backend), "");
    return;
  }
  limited.limiter->set_backend(nullptr, backend.error().message);
  limited.retry_delay = limited.retry_delay.count() == 0
                            ? kFirstRetry
                            : std::min(2 * limited.retry_delay, kLongestRetry);
  limited.retry_at = now + limited.retry_delay;
}

void QosManager::Impl::take_rates() {
  for (auto& [device, limited] : nics) {
    auto found = rates.find(device);
    const bool by_admin = found != rates.end() && found->second.rate_by_admin;
    BitsPerSecond rate{limited.nic.rate_bps};
    if (found != rates.end() && (by_admin || rate.value == 0)) rate = found->second.rate;
    limited.limiter->set_rate(rate, by_admin);
  }
}

void QosManager::Impl::open() {
  Inbox now;
  {
    std::lock_guard lock(inbox_mutex);
    now = std::exchange(inbox, {});
    // Whoever is posted finds what comes from now on.
  }
  (void)take_in(now);
  for (auto& [device, limited] : nics) {
    auto found = limited.limiter->read_back(vpc_of());
    if (!found) {
      spdlog::warn("NIC {}: what limits it cannot be read: {}", device, found.error().message);
      continue;
    }
    for (const auto& [id, node] : found->nodes) {
      const EndpointUid uid{id.uid};
      if (id.kind == qos::NodeId::Kind::kEndpoint && parts.policies.find(uid)) {
        desk.adopt(uid, node.ports);
      }
    }
  }
}

void QosManager::Impl::program(bool changed, std::optional<Time> since) {
  bool any = false;
  bool stepped = false;
  for (auto& [device, limited] : nics) {
    std::vector<LimitChange> changes;
    if (in_sync) {
      auto pass = limited.limiter->program(parts.clock.now(), vpc_of(), changed);
      if (pass.ok + pass.failed != 0) {
        metrics.count_steps(device, pass.ok, pass.failed);
        stepped = true;
      }
      changes = std::move(pass.changes);
    } else {
      changes = limited.limiter->look();
    }
    any = any || !changes.empty();
    for (LimitChange& change : changes)
      limited.unsaid.insert_or_assign(change.id, std::move(change));
    if (in_sync) report(limited);
  }
  if (stepped && since) metrics.observe_program(parts.clock.now() - *since);
  // A new endpoint has something to report, too.
  if (any || changed) parts.changed();
}

void QosManager::Impl::report(Limited& limited) {
  std::size_t said = 0;
  EventType last = EventType::kLimitUnenforced;
  for (const auto& [id, change] : std::exchange(limited.unsaid, {})) {
    const bool held = change.unenforced.empty();
    // Nobody was told that it did not hold.
    if (held && limited.told.erase(id) == 0) continue;
    if (!held) limited.told.insert(id);
    last = held ? EventType::kLimitEnforced : EventType::kLimitUnenforced;
    if (++said > kMostEvents) continue;
    Event event;
    event.type = last;
    if (id.kind == qos::NodeId::Kind::kEndpoint) event.endpoint = change.name;
    if (held) {
      event.reason = fmt::format("limits of {} on {} hold", change.name, limited.nic.device);
    }
    for (const std::string& text : change.unenforced)
      event.reason += (event.reason.empty() ? "" : "; ") + text;
    parts.events.record(std::move(event));
  }
  if (said <= kMostEvents) return;
  Event event;
  event.type = last;
  event.reason = fmt::format("and {} more changes of limits on {}: `qmasq qos show` has them all",
                             said - kMostEvents, limited.nic.device);
  parts.events.record(std::move(event));
}

void QosManager::Impl::inspect() {
  const Time now = parts.clock.now();
  if (now < inspect_at) return;
  inspect_at = now + options.inspect;
  for (auto& [device, limited] : nics) {
    auto status = limited.limiter->inspect(now, vpc_of());
    if (status) continue;
    Event event;
    event.type = EventType::kLimitUnenforced;
    event.reason = status.error().message;
    parts.events.record(std::move(event));
  }
}

void QosManager::Impl::sample() {
  for (auto& [device, limited] : nics) {
    limited.limiter->sample(parts.clock.now());
    metrics.show(limited.limiter->state(VpcUid{}));
    if (parts.hw != nullptr) metrics.show_hw(device, parts.hw->read(device, limited.nic.port));
  }
  std::lock_guard lock(mutex);
  sampled_at = parts.clock.wall();
}

void QosManager::Impl::tick() {
  bool changed = false;
  for (EndpointUid uid : desk.settle()) {
    auto found = governed.find(uid);
    if (found == governed.end()) continue;
    for (auto& [device, limited] : nics)
      put(*limited.limiter, found->second);
    changed = true;
  }
  for (auto& [device, limited] : nics) {
    if (limited.settled || parts.clock.now() < limited.retry_at) continue;
    choose_backend(limited);
    changed = true;
  }
  if (in_sync) inspect();
  program(changed, std::nullopt);
  sample();
  parts.loop.post_at(parts.clock.now() + options.sample, [this] { tick(); });
}

QosManager::QosManager(Options options, Parts parts, BackendFor backend_for)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(parts), std::move(backend_for))) {
  Impl* impl = impl_.get();
  impl->inspect_at = impl->parts.clock.now() + impl->options.inspect;
  impl->parts.policies.add_listener([impl](const PolicyTable::Changed& changed) {
    impl->arrived.insert(impl->arrived.end(), changed.begin(), changed.end());
  });
  impl->parts.loop.post_at(impl->parts.clock.now() + impl->options.sample,
                           [impl] { impl->tick(); });
}

QosManager::~QosManager() = default;

void QosManager::set_host(HostUid uid) {
  impl_->host = uid;
}

Status QosManager::check(const Change&) {
  return {};
}

void QosManager::apply(const Change& change) {
  Impl& self = *impl_;
  if (!std::exchange(self.opened, true)) {
    auto promise = std::make_shared<std::promise<void>>();
    auto done = promise->get_future();
    self.parts.loop.post([&self, promise] {
      self.open();
      promise->set_value();
    });
    promise.reset();  // a loop that has stopped drops the task: the future is ready then, too
    done.wait();
  }
  auto changed = std::exchange(self.arrived, {});
  self.desk.follow(changed);

  std::optional<std::map<std::string, HostNicView>> rates;
  if (change.snapshot) rates.emplace();
  for (HostUid uid : change.removed_hosts) {
    if (uid == self.host) rates.emplace();
  }
  for (const HostView& host : change.hosts) {
    if (host.uid != self.host) continue;
    rates.emplace();
    for (const HostNicView& nic : host.nics)
      rates->emplace(nic.device, nic);
  }
  if (changed.empty() && !rates) return;
  self.tell([&](Inbox& inbox) {
    for (auto& [uid, endpoint] : changed)
      inbox.endpoints[uid] = std::move(endpoint);
    if (rates) inbox.rates = std::move(rates);
  });
}

void QosManager::in_sync() {
  impl_->tell([](Inbox& inbox) { inbox.in_sync = true; });
}

void QosManager::update_nics(const HostNics& now) {
  impl_->tell([&](Inbox& inbox) { inbox.nics = now.nics; });
}

LimitReport QosManager::report_of(EndpointUid endpoint) const {
  LimitReport out;
  auto governed = impl_->parts.policies.find(endpoint);
  if (governed == nullptr) return out;
  out.configured = limits_anything(governed->own) || limits_anything(governed->of_vpc);
  if (!out.configured) return out;
  std::vector<std::shared_ptr<NicLimiter>> limiters;
  {
    std::lock_guard lock(impl_->mutex);
    for (const auto& [device, limited] : impl_->nics)
      limiters.push_back(limited.limiter);
  }
  for (const auto& limiter : limiters)
    limiter->report(endpoint, out.unenforced);
  return out;
}

namespace {

// What is not of the VPC goes.
void keep_only(const std::string& vpc, v1::HostQos& out) {
  auto foreign = [&](const auto& use) {
    return use.name() != vpc && use.name().rfind(vpc + "/", 0) != 0;
  };
  auto& quotas = *out.mutable_quotas();
  quotas.erase(std::remove_if(quotas.begin(), quotas.end(), foreign), quotas.end());
  auto& rates = *out.mutable_verb_rates();
  rates.erase(std::remove_if(rates.begin(), rates.end(), foreign), rates.end());
}

}  // namespace

std::string QosManager::vpc_name(VpcUid uid) const {
  for (const GovernedPtr& endpoint : impl_->parts.policies.list()) {
    if (endpoint->vpc == uid) return endpoint->vpc_name;
  }
  return {};
}

v1::HostQos QosManager::describe(VpcUid only) const {
  struct One {
    std::string netdev;
    std::shared_ptr<NicLimiter> limiter;
  };
  v1::HostQos out;
  out.set_host(impl_->options.host);
  out.set_revision(impl_->parts.sync.status().held.value);
  std::vector<One> nics;
  std::chrono::system_clock::time_point when;
  {
    std::lock_guard lock(impl_->mutex);
    for (const auto& [device, limited] : impl_->nics)
      nics.push_back({limited.nic.netdev, limited.limiter});
    when = impl_->sampled_at;
  }
  const auto since = when.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  out.mutable_time()->set_seconds(seconds.count());
  out.mutable_time()->set_nanos(static_cast<std::int32_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(since - seconds).count()));
  for (const One& one : nics)
    *out.add_nics() = to_proto(one.limiter->state(only), one.netdev);
  impl_->parts.add_use(out);
  if (only.value != 0) keep_only(vpc_name(only), out);
  return out;
}

}  // namespace qmasq::vbond
