// SPDX-License-Identifier: Apache-2.0
#include "controller/service/fleet_queries.h"

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "common/resource_name.h"

namespace qmasq::controller {
namespace {

constexpr std::chrono::milliseconds kPatience{2000};
constexpr int kMostConnections = 100;

// Answers on their way; outlives the caller's wait.
struct Waiting {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<v1::Answer> answers;
  std::size_t missing = 0;
};

}  // namespace

std::vector<v1::Answer> FleetQueries::ask(const std::vector<HostUid>& hosts,
                                          const v1::Query& query) {
  auto waiting = std::make_shared<Waiting>();
  waiting->answers.resize(hosts.size());
  waiting->missing = hosts.size();
  for (v1::Answer& answer : waiting->answers)
    answer.set_error("no answer in time");
  watch_.post([waiting, hosts, query](Hub& hub) {
    for (std::size_t i = 0; i < hosts.size(); ++i) {
      hub.ask(hosts[i], query, kPatience, [waiting, i](v1::Answer answer) {
        {
          std::lock_guard lock(waiting->mutex);
          waiting->answers[i] = std::move(answer);
          --waiting->missing;
        }
        waiting->changed.notify_all();
      });
    }
  });
  std::unique_lock lock(waiting->mutex);
  // A little longer than the hub waits: it knows better why there is no answer.
  waiting->changed.wait_for(lock, 2 * kPatience, [&] { return waiting->missing == 0; });
  return waiting->answers;
}

v1::Impact FleetQueries::impact(VpcUid vpc, const v1::ImpactQuery& question) {
  struct Fleet {
    std::mutex mutex;
    std::condition_variable changed;
    bool known = false;
    std::vector<HostUid> hosts;
    std::vector<std::string> names;
  };
  auto fleet = std::make_shared<Fleet>();
  watch_.post([fleet, vpc](Hub& hub) {
    std::lock_guard lock(fleet->mutex);
    for (const auto& [uid, count] : hub.world().hosts_of(vpc)) {
      auto host = hub.world().host(HostUid{uid});
      if (!host) continue;
      fleet->hosts.push_back(host->uid);
      fleet->names.push_back(host_name(host->id));
    }
    fleet->known = true;
    fleet->changed.notify_all();
  });
  {
    std::unique_lock lock(fleet->mutex);
    fleet->changed.wait_for(lock, kPatience, [&] { return fleet->known; });
  }
  std::vector<HostUid> hosts;
  std::vector<std::string> names;
  {
    std::lock_guard lock(fleet->mutex);
    hosts = fleet->hosts;
    names = fleet->names;
  }
  v1::Query query;
  *query.mutable_impact() = question;
  const std::vector<v1::Answer> answers = ask(hosts, query);

  v1::Impact out;
  std::vector<const v1::AffectedConnection*> affected;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const v1::Answer& answer = answers[i];
    if (!answer.error().empty() || !answer.has_impact()) {
      out.add_unknown_hosts(names[i]);
      continue;
    }
    out.set_cut_count(out.cut_count() + answer.impact().cut_count());
    out.set_narrowed_count(out.narrowed_count() + answer.impact().narrowed_count());
    for (const auto& connection : answer.impact().connections())
      affected.push_back(&connection);
  }
  std::stable_partition(affected.begin(), affected.end(),
                        [](const auto* connection) { return connection->cut(); });
  for (const auto* connection : affected) {
    if (out.connections_size() == kMostConnections) break;
    *out.add_connections() = *connection;
  }
  return out;
}

}  // namespace qmasq::controller
