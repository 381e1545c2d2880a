// SPDX-License-Identifier: Apache-2.0
#include "controller/watch/watch.h"

#include <memory>
#include <utility>

namespace qmasq::controller {
namespace {

constexpr std::chrono::milliseconds kTick{200};
constexpr std::size_t kMaxQueued = 20'000;
constexpr std::size_t kPage = 10'000;
// Revisions that an agent may have missed before a restart of ours and still get as deltas. A
// revision has one log entry or few.
constexpr std::uint64_t kLog = 100'000;
constexpr std::size_t kMaxLogRead = 10 * kLog;

Status read_all(ReadView& view, Commit& all) {
  QMASQ_ASSIGN(all.revision, view.revision());
  ListQuery query{"", kPage};
  for (;;) {
    QMASQ_ASSIGN(auto page, view.list_vpcs(query));
    for (auto& vpc : page)
      all.vpcs.push_back({nullptr, vpc});
    if (page.size() < kPage) break;
    query.after = page.back()->id;
  }
  query = {"", kPage};
  for (;;) {
    QMASQ_ASSIGN(auto page, view.list_hosts(query));
    for (auto& host : page)
      all.hosts.push_back({nullptr, host});
    if (page.size() < kPage) break;
    query.after = page.back()->id;
  }
  GroupQuery groups;
  groups.limit = kPage;
  for (;;) {
    QMASQ_ASSIGN(auto page, view.list_groups(groups));
    for (auto& group : page)
      all.groups.push_back({nullptr, group});
    if (page.size() < kPage) break;
    groups.after_vpc = page.back()->vpc_id;
    groups.after_group = page.back()->id;
  }
  query = {"", kPage};
  for (;;) {
    QMASQ_ASSIGN(auto page, view.list_policies(query));
    for (auto& policy : page)
      all.policies.push_back({nullptr, policy});
    if (page.size() < kPage) break;
    query.after = page.back()->policy.id;
  }
  EndpointQuery endpoints;
  endpoints.limit = kPage;
  for (;;) {
    QMASQ_ASSIGN(auto page, view.list_endpoints(endpoints));
    for (auto& endpoint : page)
      all.endpoints.push_back({nullptr, endpoint});
    if (page.size() < kPage) break;
    endpoints.after_vpc = page.back()->vpc_id;
    endpoints.after_endpoint = page.back()->id;
  }
  return {};
}

}  // namespace

Watch::Watch(Hub::Options options, const Clock& clock, StatusBoard& board,
             ControllerMetrics& metrics)
    : hub_(std::move(options), clock, board, metrics), executor_([this] { hub_.tick(); }, kTick) {}

Status Watch::load(Store& store, const std::function<void(const Commit&)>& each) {
  auto all = std::make_shared<Commit>();
  auto log = std::make_shared<std::vector<LogEntry>>();
  Revision log_from;
  auto read = store.read([&](ReadView& view) -> Status {
    *all = {};
    QMASQ_TRY(read_all(view, *all));
    log_from = Revision{all->revision.value > kLog ? all->revision.value - kLog : 0};
    QMASQ_ASSIGN(*log, view.log(log_from, kMaxLogRead));
    return {};
  });
  QMASQ_TRY(read);
  if (log->size() == kMaxLogRead) {
    // Its end is missing: better none, and every agent gets a snapshot once.
    log->clear();
    log_from = all->revision;
  }
  each(*all);
  post([all, log, log_from](Hub& hub) { hub.load(*all, log_from, *log); });
  return {};
}

void Watch::commit(const Commit& commit) {
  executor_.wait_for_room(kMaxQueued);
  post([copy = commit](Hub& hub) { hub.commit(copy); });
}

void Watch::post(std::function<void(Hub&)> work) {
  executor_.post([this, work = std::move(work)] { work(hub_); });
}

}  // namespace qmasq::controller
