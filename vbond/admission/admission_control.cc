// SPDX-License-Identifier: Apache-2.0
#include "vbond/admission/admission_control.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "common/resource_name.h"

namespace qmasq::vbond {
namespace {

constexpr auto kEventEvery = std::chrono::seconds(1);

const qos::Quotas kNoQuotas;
const qos::VerbRates kNoRates;

std::string amount_text(qos::Resource resource, std::uint64_t amount) {
  return resource == qos::Resource::kPinnedBytes ? fmt::format("{} bytes", amount)
                                                 : std::to_string(amount);
}

}  // namespace

// --- Tenancy ---

Tenancy::Tenancy(const Clock& clock, EventLog& events, std::shared_ptr<Books> books,
                 std::string name, std::string id)
    : clock_(clock),
      events_(events),
      books_(std::move(books)),
      name_(std::move(name)),
      id_(std::move(id)),
      account_(&books_->account) {}

Tenancy::~Tenancy() {
  // The account goes back to the VPC's under its lock, not with the members.
  std::lock_guard lock(books_->mutex);
  const qos::Amounts left = account_.used();
  account_.release(left);
  show();
}

void Tenancy::show() {
  if (row_) row_->show_used(account_.used());
  if (books_->row) books_->row->show_used(books_->account.used());
}

std::optional<std::string> Tenancy::may_tell(Throttle& throttle) {
  const auto now = clock_.now();
  if (throttle.last && now - *throttle.last < kEventEvery) {
    ++throttle.left_out;
    return std::nullopt;
  }
  throttle.last = now;
  const std::uint64_t left_out = std::exchange(throttle.left_out, 0);
  if (left_out == 0) return std::string();
  return fmt::format(" (and {} more since the last such event)", left_out);
}

void Tenancy::record(EventType type, int err, std::string reason, const Asker& asker) {
  Event event;
  event.type = type;
  event.endpoint = name_;
  event.verb = std::string(asker.verb);
  event.err = err;
  event.reason = std::move(reason);
  event.pid = asker.pid;
  event.command = asker.command;
  events_.record(std::move(event));
}

void Tenancy::count(qos::VerbKinds kinds, const std::optional<qos::OverRate>& refused) {
  if (refused) {
    const auto at = static_cast<std::size_t>(refused->kind);
    // Whose rate it was: that one's refusal. The endpoint's metrics have both.
    ++(refused->of_vpc ? books_->verbs : verbs_)[at][0];
    if (row_) row_->count_verb(refused->kind, false);
    return;
  }
  for (std::size_t i = 0; i < qos::kVerbKinds; ++i) {
    const auto kind = static_cast<qos::VerbKind>(i);
    if (!kinds.has(kind)) continue;
    if (gate_.limits(kind)) ++verbs_[i][1];
    if (books_->gate.limits(kind)) ++books_->verbs[i][1];
    if (row_ && (gate_.limits(kind) || books_->gate.limits(kind))) row_->count_verb(kind, true);
  }
}

bool Tenancy::admit(qos::VerbKinds kinds, const Asker& asker) {
  std::optional<qos::OverRate> over;
  std::optional<std::string> more;
  {
    std::lock_guard lock(books_->mutex);
    over = qos::admit(gate_, books_->gate, kinds, clock_.now());
    count(kinds, over);
    if (over) more = may_tell(rate_events_);
  }
  if (!over) return true;
  if (more) {
    record(EventType::kOverRate, EAGAIN,
           fmt::format("{} of {}: more than {} a second (burst {}){}", to_string(over->kind),
                       over->of_vpc ? books_->vpc_name : name_, over->rate.per_second,
                       over->rate.burst, *more),
           asker);
  }
  return false;
}

bool Tenancy::note(qos::VerbKinds kinds) {
  std::lock_guard lock(books_->mutex);
  const bool admitted = !qos::admit(gate_, books_->gate, kinds, clock_.now());
  // A call that was not refused was admitted.
  count(kinds, std::nullopt);
  return admitted;
}

std::optional<OverQuota> Tenancy::reserve(const qos::Amounts& amounts) {
  std::lock_guard lock(books_->mutex);
  auto excess = account_.reserve(amounts);
  if (!excess) {
    show();
    return std::nullopt;
  }
  return OverQuota{excess->resource, excess->account == &books_->account, excess->limit,
                   excess->used, excess->asked};
}

void Tenancy::refuse(const OverQuota& over, const Asker& asker) {
  std::optional<std::string> more;
  {
    std::lock_guard lock(books_->mutex);
    ++(over.of_vpc ? books_->refused : refused_)[static_cast<std::size_t>(over.resource)];
    if (row_) row_->count_refusal(over.resource);
    more = may_tell(quota_events_);
  }
  if (!more) return;
  record(EventType::kOverQuota, EDQUOT,
         fmt::format("{} of {}: {} more than the limit of {} allows, {} in use{}",
                     to_string(over.resource), over.of_vpc ? books_->vpc_name : name_,
                     amount_text(over.resource, over.asked), amount_text(over.resource, over.limit),
                     amount_text(over.resource, over.used), *more),
         asker);
}

void Tenancy::refuse(qos::Resource resource, const std::string& reason, const Asker& asker) {
  std::optional<std::string> more;
  {
    std::lock_guard lock(books_->mutex);
    ++(account_.limits().of(resource) ? refused_
                                      : books_->refused)[static_cast<std::size_t>(resource)];
    if (row_) row_->count_refusal(resource);
    more = may_tell(quota_events_);
  }
  if (more) record(EventType::kOverQuota, EDQUOT, reason + *more, asker);
}

bool Tenancy::limited(qos::Resource resource) const {
  std::lock_guard lock(books_->mutex);
  return account_.limits().of(resource) || books_->account.limits().of(resource);
}

void Tenancy::exchange(const qos::Amounts& more, const qos::Amounts& less) {
  std::lock_guard lock(books_->mutex);
  account_.charge(more);
  account_.release(less);
  show();
}

qos::Amounts Tenancy::used() const {
  std::lock_guard lock(books_->mutex);
  return account_.used();
}

// --- AdmissionControl ---

AdmissionControl::AdmissionControl(const Clock& clock, EventLog& events,
                                   prometheus::Registry& registry)
    : clock_(clock), events_(events), metrics_(registry) {}

AdmissionControl::~AdmissionControl() {
  // Rows refer to metrics_; tenancies may live on.
  std::lock_guard lock(mutex_);
  while (!governed_.empty())
    forget(governed_.begin()->first);
}

std::shared_ptr<Tenancy::Books> AdmissionControl::books_of(const std::string& vpc_name,
                                                           const std::string& vpc_id) {
  // An endpoint does not change its VPC, and a VPC goes after its endpoints: the name will do.
  auto& known = books_[vpc_name];
  if (auto books = known.lock()) return books;
  auto books = std::make_shared<Books>(vpc_name, vpc_id);
  known = books;
  std::erase_if(books_, [](const auto& each) { return each.second.expired(); });
  return books;
}

std::shared_ptr<Tenancy> AdmissionControl::find_or_make(EndpointUid uid, const std::string& name) {
  if (auto at = governed_.find(uid); at != governed_.end()) return at->second;
  if (auto at = others_.find(uid); at != others_.end()) {
    if (auto tenancy = at->second.lock()) return tenancy;
    others_.erase(at);
  }
  auto parsed = parse_endpoint_name(name);
  const std::string vpc_id = parsed ? parsed->vpc : "";
  auto books = books_of(vpc_name(vpc_id), vpc_id);
  return std::shared_ptr<Tenancy>(
      new Tenancy(clock_, events_, std::move(books), name, parsed ? parsed->endpoint : name));
}

std::shared_ptr<Tenancy> AdmissionControl::tenancy(EndpointUid uid, const std::string& name) {
  std::lock_guard lock(mutex_);
  auto tenancy = find_or_make(uid, name);
  if (!governed_.contains(uid)) {
    std::erase_if(others_, [](const auto& each) { return each.second.expired(); });
    others_[uid] = tenancy;
  }
  return tenancy;
}

void AdmissionControl::govern(const std::shared_ptr<Tenancy>& tenancy,
                              const GovernedEndpoint& endpoint) {
  Books& books = *tenancy->books_;
  const auto now = clock_.now();
  const qos::VerbRates& own_rates = endpoint.own ? endpoint.own->verb_rates : kNoRates;
  const qos::VerbRates& vpc_rates = endpoint.of_vpc ? endpoint.of_vpc->verb_rates : kNoRates;
  std::lock_guard lock(books.mutex);
  if (!tenancy->row_) {
    tenancy->row_ = std::make_unique<AdmissionMetrics::Row>(metrics_, books.vpc_id, tenancy->id_);
    if (books.governed++ == 0)
      books.row = std::make_unique<AdmissionMetrics::Row>(metrics_, books.vpc_id, "");
  }
  tenancy->account_.set_limits(endpoint.own ? endpoint.own->quotas : kNoQuotas);
  books.account.set_limits(endpoint.of_vpc ? endpoint.of_vpc->quotas : kNoQuotas);
  tenancy->gate_.set_rates(own_rates, now);
  books.gate.set_rates(vpc_rates, now);
  tenancy->row_->show_limits(tenancy->account_.limits());
  tenancy->row_->show_rates(own_rates);
  books.row->show_limits(books.account.limits());
  tenancy->show();
  tenancy->rated_.store(tenancy->gate_.limits() || books.gate.limits(), std::memory_order_relaxed);
}

void AdmissionControl::forget(EndpointUid uid) {
  auto at = governed_.find(uid);
  if (at == governed_.end()) return;
  auto tenancy = std::move(at->second);
  governed_.erase(at);
  others_[uid] = tenancy;  // until its contexts are closed
  Books& books = *tenancy->books_;
  std::lock_guard lock(books.mutex);
  tenancy->row_.reset();
  if (--books.governed == 0) books.row.reset();
}

void AdmissionControl::policies_changed(const PolicyTable::Changed& changed) {
  std::lock_guard lock(mutex_);
  for (const auto& [uid, endpoint] : changed) {
    if (!endpoint) {
      forget(uid);
      continue;
    }
    auto& tenancy = governed_[uid];
    if (!tenancy) {
      governed_.erase(uid);
      auto made = find_or_make(uid, endpoint->name);
      others_.erase(uid);
      governed_[uid] = made;
      govern(made, *endpoint);
    } else {
      govern(tenancy, *endpoint);
    }
  }
}

std::vector<std::shared_ptr<Tenancy>> AdmissionControl::governed() const {
  std::vector<std::shared_ptr<Tenancy>> out;
  for (const auto& [uid, tenancy] : governed_)
    out.push_back(tenancy);
  std::sort(out.begin(), out.end(),
            [](const auto& a, const auto& b) { return a->name_ < b->name_; });
  return out;
}

template <typename OfVpc, typename OfEndpoint>
void AdmissionControl::visit(OfVpc of_vpc, OfEndpoint of_endpoint) const {
  std::lock_guard lock(mutex_);
  const auto all = governed();
  const Books* last = nullptr;
  for (const auto& tenancy : all) {
    const Books& books = *tenancy->books_;
    if (&books == last) continue;
    last = &books;
    std::lock_guard books_lock(books.mutex);
    of_vpc(books);
  }
  for (const auto& tenancy : all) {
    std::lock_guard books_lock(tenancy->books_->mutex);
    of_endpoint(*tenancy);
  }
}

std::vector<QuotaUse> AdmissionControl::quotas() const {
  std::vector<QuotaUse> out;
  auto add = [&](const std::string& name, const qos::Account& account, const auto& refused) {
    for (std::size_t i = 0; i < qos::kResources; ++i) {
      const auto resource = static_cast<qos::Resource>(i);
      out.push_back(
          {name, resource, account.used(resource), account.limits().of(resource), refused[i]});
    }
  };
  visit([&](const Books& books) { add(books.vpc_name, books.account, books.refused); },
        [&](const Tenancy& each) { add(each.name_, each.account_, each.refused_); });
  return out;
}

std::vector<VerbRateUse> AdmissionControl::verb_rates() const {
  std::vector<VerbRateUse> out;
  auto add = [&](const std::string& name, const qos::VerbGate& gate, const auto& counts) {
    for (std::size_t i = 0; i < qos::kVerbKinds; ++i) {
      const auto kind = static_cast<qos::VerbKind>(i);
      if (const qos::VerbRate* rate = gate.rate(kind))
        out.push_back({name, kind, *rate, counts[i][1], counts[i][0]});
    }
  };
  visit([&](const Books& books) { add(books.vpc_name, books.gate, books.verbs); },
        [&](const Tenancy& each) { add(each.name_, each.gate_, each.verbs_); });
  return out;
}

}  // namespace qmasq::vbond
