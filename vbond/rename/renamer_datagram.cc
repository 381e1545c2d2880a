// SPDX-License-Identifier: Apache-2.0
// UD: each address handle is a connection by itself, and a UD QP lives while rules could admit it.
#include <fmt/format.h>

#include <cerrno>
#include <utility>

#include "vbond/events/event_log.h"
#include "vbond/rename/connection_event.h"
#include "vbond/rename/endpoint_table.h"
#include "vbond/rename/nic_table.h"
#include "vbond/rename/policy_metrics.h"
#include "vbond/rename/renamer.h"
#include "vbond/state/sync_state.h"

namespace qmasq::vbond {

using conntrack::Transport;

Verdict<AddressHandlePlan> Renamer::before_create_ah(const ContextInfo& context, QpKey key,
                                                     uverbs::CreateAh& command) {
  auto decided = [&]() -> Verdict<AddressHandlePlan> {
    NicPtr nic = parts_.nics.find(context.nic);
    if (nic == nullptr) return refuse(ENODEV, fmt::format("NIC {} is gone", context.nic));
    auto path = find_path(context, *nic, command.dest, Qpn{}, Qpn{});
    if (!path) return tl::unexpected(std::move(path).error());
    auto admitted = admit(context, "CREATE_AH", key, Transport::kUd, **path);
    if (!admitted) return tl::unexpected(std::move(admitted).error());
    command.dest = wire_dest(**path, command.dest);
    Connection intended = new_connection(context, key);
    intended.type = uverbs::QpType::kUd;
    intended.path = *path;
    intended.since = parts_.clock.wall();
    journal(intended, std::nullopt);
    return AddressHandlePlan{key, std::move(*path), admitted->ticket, std::move(admitted->verdict)};
  };
  Verdict<AddressHandlePlan> plan = decided();
  if (!plan) report_refusal(context, "CREATE_AH", plan.error());
  return plan;
}

void Renamer::after_create_ah(const ContextInfo& context, const AddressHandlePlan& plan,
                              uverbs::ErrnoOr<std::uint32_t> handle) {
  if (!handle) {
    forget(plan.key);
    parts_.tracker.release(plan.admission);
    return;
  }
  Connection made = new_connection(context, plan.key);
  made.type = uverbs::QpType::kUd;
  made.address_handle = *handle;
  made.path = plan.path;
  made.verdict = plan.verdict;
  made.admission = plan.admission;
  made.connected = true;
  made.since = parts_.clock.wall();
  journal(made, std::nullopt);
  auto won = std::make_shared<const ConnectionEvent>(EventType::kConnected, made, made.path, Qpn{},
                                                     nullptr);
  parts_.connections.put(std::move(made));
  report(std::move(won));
  report_admitted(plan.key);
  show();
}

void Renamer::ah_destroyed(QpKey key) {
  auto gone = parts_.connections.remove(key);
  if (!gone) return;
  forget(key);
  parts_.tracker.release(gone->admission);
  report_end(*gone, "address handle destroyed");
  show();
}

bool Renamer::may_use_datagrams(EndpointUid uid) const {
  EndpointPtr endpoint = parts_.endpoints.find(uid);
  return endpoint != nullptr &&
         parts_.tracker.could_use(uid, endpoint->gids.front().address(), Transport::kUd);
}

std::vector<QpKey> Renamer::barred_datagrams() const {
  std::vector<QpKey> out;
  // Before that an endpoint that is not here may just not have come yet.
  if (!parts_.sync.in_sync()) return out;
  for (const QpKey& key : parts_.connections.datagram_queue_pairs()) {
    const auto held = parts_.connections.find(key);
    if (held && !may_use_datagrams(held->endpoint)) out.push_back(key);
  }
  return out;
}

void Renamer::bar_datagram(QpKey key, const Hands& hands) {
  const auto held = parts_.connections.find(key);
  // One in RESET neither sends nor receives, and is asked about before it leaves it.
  if (!held || held->state == uverbs::QpState::kReset || held->state == uverbs::QpState::kErr)
    return;
  if (may_use_datagrams(held->endpoint)) return;
  cut(conntrack::Effect::Cause::kRules, *held,
      fmt::format("no rule of the security groups of {} admits ud any more", held->endpoint_name),
      hands);
}

}  // namespace qmasq::vbond
