// SPDX-License-Identifier: Apache-2.0
#include "controller/auth/live_calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "common/resource_name.h"

namespace qmasq::controller {

Result<std::uint64_t> LiveCalls::add(std::string caller, std::string serial, End end) {
  std::lock_guard lock(mutex_);
  std::size_t& count = count_[caller];
  if (count >= kMostOfOne) {
    return fail(Code::kResourceExhausted,
                fmt::format("{} has {} calls that wait: end some first", caller, count));
  }
  ++count;
  calls_[++last_] = {std::move(caller), std::move(serial), std::move(end)};
  return last_;
}

void LiveCalls::forget(const std::string& caller) {
  auto found = count_.find(caller);
  if (found != count_.end() && --found->second == 0) count_.erase(found);
}

void LiveCalls::remove(std::uint64_t id) {
  std::lock_guard lock(mutex_);
  auto found = calls_.find(id);
  if (found == calls_.end()) return;
  forget(found->second.caller);
  calls_.erase(found);
}

void LiveCalls::apply(const Commit& commit) {
  std::vector<std::string> serials;
  std::vector<std::string> names;
  for (const auto& certificate : commit.certificates)
    if (certificate.revoke_time) serials.push_back(certificate.serial);
  for (const auto& access : commit.accesses)
    if (access->revoke_time) names.push_back(access_name(access->id));
  if (serials.empty() && names.empty()) return;
  auto has = [](const std::vector<std::string>& all, const std::string& one) {
    return !one.empty() && std::find(all.begin(), all.end(), one) != all.end();
  };
  std::vector<Call> ended;
  {
    std::lock_guard lock(mutex_);
    for (auto it = calls_.begin(); it != calls_.end();) {
      if (has(serials, it->second.serial) || has(names, it->second.caller)) {
        forget(it->second.caller);
        ended.push_back(std::move(it->second));
        it = calls_.erase(it);
      } else {
        ++it;
      }
    }
  }
  // Without the lock: what ends a call may lead to remove().
  for (Call& call : ended) {
    call.end(Error{Code::kUnauthenticated, fmt::format("{} was revoked", call.caller), 0, {}});
  }
}

}  // namespace qmasq::controller
