// SPDX-License-Identifier: Apache-2.0
#include "vbond/qos/nic_limiter.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace qmasq::vbond {
namespace {

using qos::NodeId;
using Kind = qos::NodeId::Kind;
using std::chrono::milliseconds;

constexpr milliseconds kFirstRetry{1000};
constexpr milliseconds kLongestRetry{60'000};

// What readbacks say of the NIC's own node where it is not the backend that limits it.
constexpr BitsPerSecond kUntold{10'000'000'000'000};

const qos::Bandwidth kNoLimits;

const qos::Bandwidth& bandwidth_of(const std::shared_ptr<const qos::Policy>& policy) {
  return policy ? policy->bandwidth : kNoLimits;
}

// Whether the kernel's rate is what we asked for: backends round, and ticks do.
bool near(BitsPerSecond asked, BitsPerSecond found, BitsPerSecond granularity) {
  const std::uint64_t apart = asked > found ? asked.value - found.value : found.value - asked.value;
  return apart <= std::max(granularity.value, asked.value / 100);
}

// What can be told from a readback: bursts and weights are not in every kernel's answer.
bool matches(const qos::Node& ours, const qos::Node& found, const qos::Capabilities& can) {
  if (ours.parent != found.parent || ours.ports != found.ports) return false;
  // A backend that limits nothing there has nothing to tell.
  const bool is_inner = ours.id.kind == Kind::kVpc || ours.id.kind == Kind::kEndpoint;
  if (!is_inner && found.maximum == kUntold) return true;
  if (can.guarantee && !near(ours.guaranteed, found.guaranteed, can.granularity)) return false;
  return !can.maximum || near(ours.maximum, found.maximum, can.granularity);
}

}  // namespace

void NicLimiter::set_backend(std::unique_ptr<qos::Backend> backend, std::string why_not) {
  backend_ = std::move(backend);
  swept_ = false;
  std::lock_guard lock(mutex_);
  if (backend_ == nullptr && why_not_ == why_not && backend_name_.empty()) return;
  backend_name_ = backend_ ? backend_->name() : "";
  capabilities_ = backend_ ? std::optional(backend_->capabilities()) : std::nullopt;
  why_not_ = std::move(why_not);
  read_ = false;
  attempted_ = false;
  read_error_.clear();
  sample_error_.clear();
  all_dirty_ = true;
  retry_delay_ = milliseconds(0);
  for (const auto& [id, node] : programmed_.nodes)
    totals_.removed(id);
  start_over({});
}

void NicLimiter::doubt(NodeId id) {
  dirty_.insert(id);
  if (id == NodeId::nic()) all_dirty_ = true;
  if (id.kind != Kind::kVpc) return;
  auto vpc = vpcs_.find(VpcUid{id.uid});
  if (vpc == vpcs_.end()) return;
  for (EndpointUid uid : vpc->second.endpoints)
    dirty_.insert(NodeId::endpoint(uid));
}

void NicLimiter::start_over(qos::Plan programmed) {
  // All that failed is to be done again, or need not be done any more.
  for (const auto& [id, why] : std::exchange(failures_, {}))
    doubt(id);
  planner_.assume(programmed);
  planned_ = programmed;
  programmed_ = std::move(programmed);
}

void NicLimiter::set_rate(BitsPerSecond rate, bool by_admin) {
  std::lock_guard lock(mutex_);
  by_admin_ = by_admin;
  if (rate_ == rate) return;
  rate_ = rate;
  planner_.set_rate(rate);
  all_dirty_ = true;
}

void NicLimiter::put_vpc(const GovernedEndpoint& endpoint) {
  auto [found, fresh] = vpcs_.try_emplace(endpoint.vpc);
  Vpc& vpc = found->second;
  vpc.endpoints.insert(endpoint.uid);
  vpc.name = endpoint.vpc_name;
  dirty_.insert(NodeId::vpc(endpoint.vpc));
  if (!fresh && vpc.policy == endpoint.of_vpc) return;
  vpc.policy = endpoint.of_vpc;
  planner_.put_vpc(endpoint.vpc, bandwidth_of(vpc.policy));
}

void NicLimiter::put(const GovernedPtr& endpoint, qos::PortBlock ports) {
  std::lock_guard lock(mutex_);
  put_vpc(*endpoint);
  endpoints_[endpoint->uid] = {endpoint, ports};
  dirty_.insert(NodeId::endpoint(endpoint->uid));
  if (ports.count == 0) {
    planner_.remove_endpoint(endpoint->uid);
  } else {
    planner_.put_endpoint(endpoint->uid, endpoint->vpc, bandwidth_of(endpoint->own), ports);
  }
}

void NicLimiter::remove(EndpointUid endpoint) {
  std::lock_guard lock(mutex_);
  remove_locked(endpoint);
}

void NicLimiter::remove_locked(EndpointUid uid) {
  auto found = endpoints_.find(uid);
  if (found == endpoints_.end()) return;
  const VpcUid vpc_uid = found->second.governed->vpc;
  endpoints_.erase(found);
  planner_.remove_endpoint(uid);
  dirty_.insert(NodeId::endpoint(uid));
  auto vpc = vpcs_.find(vpc_uid);
  dirty_.insert(NodeId::vpc(vpc_uid));
  vpc->second.endpoints.erase(uid);
  if (!vpc->second.endpoints.empty()) return;
  vpcs_.erase(vpc);
  planner_.remove_vpc(vpc_uid);
}

void NicLimiter::fail_later(Time now) {
  retry_delay_ =
      retry_delay_.count() == 0 ? kFirstRetry : std::min(2 * retry_delay_, kLongestRetry);
  retry_at_ = now + retry_delay_;
}

Result<qos::Plan> NicLimiter::read_back(const qos::Backend::VpcOf& vpc_of) {
  if (backend_ == nullptr) return qos::Plan{};
  auto found = backend_->readback(vpc_of);
  std::lock_guard lock(mutex_);
  if (!found) {
    read_error_ = found.error().message;
    all_dirty_ = true;
    return found;
  }
  read_error_.clear();
  read_ = true;
  all_dirty_ = true;
  start_over(*found);
  return found;
}

std::vector<qos::Step> NicLimiter::next_steps(Time now, bool changed) {
  if (!failures_.empty()) {
    const bool due = now >= retry_at_;
    // Where the root cannot be had, nothing can: not for each change that comes by.
    if (!due && (!changed || failures_.contains(NodeId::nic()))) return {};
    start_over(programmed_);
  }
  std::vector<qos::Step> steps = planner_.take_changes();
  qos::apply(steps.begin(), steps.end(), planned_);
  if (steps.empty()) retry_delay_ = milliseconds(0);
  return steps;
}

NicLimiter::Pass NicLimiter::program(Time now, const qos::Backend::VpcOf& vpc_of, bool changed) {
  Pass pass;
  carry_out(now, vpc_of, changed, pass);
  std::lock_guard lock(mutex_);
  pass.changes = judge();
  return pass;
}

std::vector<LimitChange> NicLimiter::look() {
  std::lock_guard lock(mutex_);
  return judge();
}

void NicLimiter::carry_out(Time now, const qos::Backend::VpcOf& vpc_of, bool changed, Pass& pass) {
  if (backend_ == nullptr) return;
  bool read = false;
  {
    std::lock_guard lock(mutex_);
    read = read_;
    if (!read && now < retry_at_) return;
  }
  if (!read) {
    const bool done = read_back(vpc_of).has_value();
    std::lock_guard lock(mutex_);
    if (!done) return fail_later(now);
    retry_delay_ = milliseconds(0);
    retry_at_ = {};
  }
  std::vector<qos::Step> steps;
  {
    std::lock_guard lock(mutex_);
    steps = next_steps(now, changed);
    if (!std::exchange(attempted_, true)) all_dirty_ = true;
  }
  if (steps.empty() && swept_) return;
  const std::vector<Status> results = backend_->program(steps);
  swept_ = true;
  std::lock_guard lock(mutex_);
  if (std::all_of(results.begin(), results.end(),
                  [](const Status& one) { return one.has_value(); }))
    retry_delay_ = milliseconds(0);
  absorb(steps, results, now, pass);
}

void NicLimiter::absorb(const std::vector<qos::Step>& steps, const std::vector<Status>& results,
                        Time now, Pass& pass) {
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const qos::Step& step = steps[i];
    const NodeId id = step.node.id;
    dirty_.insert(id);
    const bool done = i < results.size() && results[i].has_value();
    if (!done) {
      ++pass.failed;
      doubt(id);
      failures_.try_emplace(
          id, i < results.size() ? results[i].error().message : "the backend gave no answer");
      continue;
    }
    ++pass.ok;
    auto at = steps.begin() + static_cast<std::ptrdiff_t>(i);
    qos::apply(at, at + 1, programmed_);
    if (step.kind == qos::Step::Kind::kAdd) totals_.added(id);
    if (step.kind == qos::Step::Kind::kRemove) {
      totals_.removed(id);
      const bool gone = id.kind == Kind::kEndpoint ? !endpoints_.contains(EndpointUid{id.uid})
                        : id.kind == Kind::kVpc    ? !vpcs_.contains(VpcUid{id.uid})
                                                   : false;
      if (gone) totals_.forget(id);
    }
  }
  if (!failures_.empty() && now >= retry_at_) fail_later(now);
}

Status NicLimiter::inspect(Time now, const qos::Backend::VpcOf& vpc_of) {
  if (backend_ == nullptr) return {};
  {
    std::lock_guard lock(mutex_);
    if (!read_ || !attempted_) return {};
  }
  auto found = backend_->readback(vpc_of);
  std::lock_guard lock(mutex_);
  if (!found) {
    if (read_error_ != found.error().message) all_dirty_ = true;
    read_error_ = found.error().message;
    return {};
  }
  if (!read_error_.empty()) all_dirty_ = true;
  read_error_.clear();
  qos::Plan have = *std::move(found);
  std::size_t lacking = 0;
  for (const auto& [id, ours] : programmed_.nodes) {
    auto there = have.nodes.find(id);
    if (there != have.nodes.end() && matches(ours, there->second, *capabilities_)) {
      there->second = ours;
      continue;
    }
    ++lacking;
    if (there == have.nodes.end()) totals_.removed(id);
  }
  const auto foreign = std::count_if(have.nodes.begin(), have.nodes.end(), [&](const auto& node) {
    return !programmed_.nodes.contains(node.first);
  });
  if (lacking == 0 && foreign == 0) return {};
  const std::size_t of = programmed_.nodes.size();
  retry_at_ = now;
  all_dirty_ = true;
  start_over(std::move(have));
  return fail(Code::kFailedPrecondition,
              fmt::format("somebody changed what limits {}: {} of {} nodes are gone or different, "
                          "{} are there that should not be; programming them again",
                          device_, lacking, of, foreign));
}

void NicLimiter::withdraw() {
  if (backend_ == nullptr) return;
  std::vector<qos::Step> steps;
  {
    std::lock_guard lock(mutex_);
    steps = qos::diff(programmed_, {});
  }
  if (!steps.empty()) (void)backend_->program(steps);
  set_backend(nullptr, "the NIC is gone");
}

void NicLimiter::sample(Time now) {
  if (backend_ == nullptr) return;
  {
    std::lock_guard lock(mutex_);
    if (!read_ || !capabilities_->counters) return;
    if (programmed_.nodes.empty()) return;
  }
  auto counters = backend_->counters();
  std::lock_guard lock(mutex_);
  sample_error_ = counters ? "" : counters.error().message;
  if (!counters) return;
  std::erase_if(*counters,
                [&](const auto& entry) { return !programmed_.nodes.contains(entry.first); });
  totals_.sample(*counters, now);
}

}  // namespace qmasq::vbond
