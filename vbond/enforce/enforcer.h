// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>

#include "common/clock.h"
#include "conntrack/tracker.h"
#include "vbond/netlink/loop.h"
#include "vbond/state/change.h"

namespace qmasq::vbond {

class ConnectionTable;
class PolicyMetrics;

// Keeps the connections of this host in step with the rules: gives each change of the state to the
// tracker, and has what becomes of connections carried out on a thread of its own, so that a verb
// that is on its way holds up no change.
//
// Register it behind the PeerMap and the EndpointTable among the observers of the state.
class Enforcer final : public ChangeObserver {
 public:
  // Carries effects out, in their order; blocks until done. On the worker's thread. Called without
  // any, too, when there are UD QPs: what rules they live by, only their end shows.
  using Carry = std::function<void(std::span<const conntrack::Effect>)>;
  // Nothing is owned. `worker` must be stopped before this and what `carry` uses go.
  Enforcer(conntrack::Tracker& tracker, const conntrack::GroupSets& sets,
           const ConnectionTable& connections, netlink::Loop& worker, const Clock& clock,
           PolicyMetrics* metrics, Carry carry);

  [[nodiscard]] Status check(const Change& change) override;
  void apply(const Change& change) override;

 private:
  conntrack::Tracker& tracker_;
  const conntrack::GroupSets& sets_;
  const ConnectionTable& connections_;
  netlink::Loop& worker_;
  const Clock& clock_;
  PolicyMetrics* const metrics_;  // null: nothing is counted
  const Carry carry_;
};

}  // namespace qmasq::vbond
