// SPDX-License-Identifier: Apache-2.0
// Connections that an agent before this one made: taken in as the kernel has them, asked about
// again once the rules are here.
#include <fmt/format.h>

#include <cerrno>
#include <string>
#include <utility>

#include "conntrack/rule_text.h"
#include "vbond/events/event_log.h"
#include "vbond/rename/connection_event.h"
#include "vbond/rename/connection_journal.h"
#include "vbond/rename/endpoint_table.h"
#include "vbond/rename/metrics.h"
#include "vbond/rename/permission.h"
#include "vbond/rename/renamer.h"
#include "vbond/state/sync_state.h"

namespace qmasq::vbond {
namespace {

namespace qp_mask = uverbs::qp_mask;
using Leg = JournaledConnection::Leg;

// Has or had a peer.
bool has_peer(uverbs::QpState state) {
  return state != uverbs::QpState::kReset && state != uverbs::QpState::kInit;
}

// Some drivers tell nothing of the address, or not all of it.
bool leads_there(const std::optional<Leg>& leg, const uverbs::QueryQpResp& kernel) {
  if (!leg || leg->peer_qpn != kernel.dest_qpn) return false;
  if (kernel.dest.dgid.is_zero()) return true;
  return leg->path.phys.remote == kernel.dest.dgid &&
         (kernel.dest.flow_label == 0 || leg->path.phys.flow_label == kernel.dest.flow_label);
}

// Of the legs that were written, the one that the kernel has.
const Leg* leg_of(const JournaledConnection& known, const uverbs::QueryQpResp& kernel) {
  const bool now = leads_there(known.now, kernel);
  const bool next = leads_there(known.next, kernel);
  // To two endpoints of one host by the same marks: nobody can say which of the two it is.
  if (now && next && known.now->path.peer != known.next->path.peer) return nullptr;
  if (next) return &*known.next;
  return now ? &*known.now : nullptr;
}

}  // namespace

void Renamer::journal(const Connection& connection,
                      const std::optional<JournaledConnection::Leg>& next) const {
  if (parts_.journal == nullptr) return;
  JournaledConnection out;
  out.key = connection.key;
  out.type = connection.type;
  out.qpn = connection.qpn;
  out.address_handle = connection.address_handle;
  out.asked_access = connection.asked_access;
  out.since = connection.since;
  if (connection.path) {
    out.now = Leg{*connection.path, connection.peer_qpn, connection.asked_access};
  }
  out.next = next;
  parts_.journal->put(out);
}

void Renamer::journal(QpKey key) const {
  if (parts_.journal == nullptr) return;
  if (auto held = parts_.connections.find(key)) journal(*held, std::nullopt);
}

void Renamer::journal_intent(const ContextInfo& context, const ModifyPlan& plan) const {
  if (parts_.journal == nullptr) return;
  auto held = parts_.connections.find(plan.key);
  if (!plan.path) {
    // The flags alone; that they may not have come to hold yet makes no difference to the rules.
    if (!held || !held->path || (plan.attr_mask & qp_mask::kAccessFlags) == 0) return;
    held->asked_access = plan.asked_access;
    return journal(*held, std::nullopt);
  }
  if (!held) held = new_connection(context, plan.key);
  held->since = parts_.clock.wall();
  Leg next{*plan.path, held->peer_qpn, held->asked_access};
  if ((plan.attr_mask & qp_mask::kDestQpn) != 0) next.peer_qpn = plan.dest_qpn;
  if ((plan.attr_mask & qp_mask::kAccessFlags) != 0) next.asked_access = plan.asked_access;
  journal(*held, next);
}

void Renamer::restore_qp(const ContextInfo& context, const std::string& endpoint_name,
                         const RestoredQp& found) {
  Connection out = new_connection(context, found.known.key);
  out.endpoint_name = endpoint_name;
  out.type = found.known.type;
  out.qpn = found.known.qpn;
  out.state = found.kernel.state;
  out.asked_access = found.known.asked_access;
  if (has_peer(out.state) && out.type != uverbs::QpType::kUd) {
    const Leg* leg = leg_of(found.known, found.kernel);
    if (leg != nullptr) {
      out.path = std::make_shared<const Path>(leg->path);
      out.asked_access = leg->asked_access;
    }
    out.peer_qpn = found.kernel.dest_qpn;
    out.connected = out.state != uverbs::QpState::kErr;
    out.since =
        found.known.since == decltype(out.since){} ? parts_.clock.wall() : found.known.since;
    out.unadmitted = out.connected;
  }
  journal(out, std::nullopt);
  parts_.connections.put(std::move(out));
}

void Renamer::restore_ah(const ContextInfo& context, const std::string& endpoint_name,
                         const JournaledConnection& known) {
  const std::optional<Leg>& leg = known.next ? known.next : known.now;
  Connection out = new_connection(context, known.key);
  out.endpoint_name = endpoint_name;
  out.type = uverbs::QpType::kUd;
  out.address_handle = known.address_handle;
  if (leg) out.path = std::make_shared<const Path>(leg->path);
  out.connected = true;
  out.unadmitted = true;
  out.since = known.since;
  journal(out, std::nullopt);
  parts_.connections.put(std::move(out));
}

void Renamer::readmit(const ContextInfo& context, QpKey key, const Hands& hands) {
  const auto held = parts_.connections.find(key);
  if (!held || !held->unadmitted) return;
  using Cause = conntrack::Effect::Cause;
  auto settled = [](Connection& record) { record.unadmitted = false; };
  parts_.connections.update(key, settled);
  if (!held->path) {
    return cut(Cause::kRules, *held,
               "made before the agent started again, and the journal does not say to whom", hands);
  }
  auto admitted = admit(context, is_address_handle(key) ? "CREATE_AH" : "MODIFY_QP", key,
                        transport_of(held->type), *held->path);
  if (!admitted) {
    return cut(admitted.error().err == EHOSTUNREACH ? Cause::kPeerGone : Cause::kRules, *held,
               "forbidden while the agent was away: " + admitted.error().reason, hands);
  }
  parts_.connections.update(key, [&](Connection& record) {
    record.verdict = admitted->verdict;
    record.admission = admitted->ticket;
  });
  if (is_address_handle(key) || !hands.query_qp) return;
  // The rules may leave less of the access flags by now, or more.
  const std::uint32_t permitted =
      permitted_access(held->asked_access, admitted->verdict->verdict.on_first);
  const auto kernel = hands.query_qp(key.handle);
  if (!kernel || kernel->access_flags == permitted) return;
  uverbs::ModifyQp command;
  command.qp_handle = key.handle;
  command.attr_mask = qp_mask::kAccessFlags;
  command.access_flags = permitted;
  const int err = hands.modify_qp(command);
  if (err == 0 || (kernel->access_flags & ~permitted) == 0) return;
  parts_.tracker.release(admitted->ticket);
  cut(Cause::kRules, *held,
      fmt::format("operations shrank while the agent was away, and the NIC takes no other access "
                  "flags in state {} (errno {})",
                  state_name(held->state), err),
      hands);
}

std::vector<QpKey> Renamer::unadmitted() const {
  std::vector<QpKey> out;
  for (const Connection& each : parts_.connections.list({})) {
    if (each.unadmitted) out.push_back(each.key);
  }
  return out;
}

}  // namespace qmasq::vbond
