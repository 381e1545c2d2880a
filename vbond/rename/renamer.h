// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/net_types.h"
#include "vbond/rename/connection_journal.h"
#include "vbond/rename/connection_table.h"
#include "vbond/rename/verdict.h"
#include "vbond/rename/wire_policy.h"
#include "vbond/uverbs/device.h"
#include "vbond/uverbs/objects.h"
#include "vbond/uverbs/qp.h"

namespace qmasq::vbond {

class EndpointTable;
class EventLog;
class EventSource;
class NicTable;
struct Nic;
class PeerMap;
class PolicyMetrics;
class RenameMetrics;
class SyncState;

// What before_modify decided and after_modify records.
struct ModifyPlan {
  QpKey key;
  std::uint32_t attr_mask = 0;
  uverbs::QpState state = uverbs::QpState::kReset;  // counts with qp_mask::kState
  uverbs::QpState state_before = uverbs::QpState::kReset;
  Qpn dest_qpn;  // counts with qp_mask::kDestQpn
  PathPtr path;  // set with qp_mask::kAv
  // Set with `path`: what the rules said of it. after_modify() must be called, whatever happens.
  conntrack::Ticket admission;
  conntrack::VerdictPtr verdict;
  std::uint32_t asked_access = 0;  // counts with qp_mask::kAccessFlags in attr_mask
};

// What before_create_ah decided and after_create_ah records.
struct AddressHandlePlan {
  QpKey key;
  PathPtr path;
  conntrack::Ticket admission;
  conntrack::VerdictPtr verdict;
};

// What a change of the rules takes to carry out on a context: errno of the kernel's, 0 done.
struct Hands {
  std::function<int(const uverbs::ModifyQp&)> modify_qp;
  std::function<int(std::uint32_t kernel_handle)> destroy_ah;
  std::function<uverbs::ErrnoOr<uverbs::QueryQpResp>(std::uint32_t handle)> query_qp = {};
};

struct RenameOptions {
  // XRC connects like RC, but a target QP can be opened by other processes of the same XRC domain,
  // which this table does not follow.
  bool allow_xrc = false;
};

// Virtual to physical and back: decides on values, does no I/O, holds no state but the tables it is
// given. Thread-safe; calls for one context come one at a time.
//
// Refusals made here are already in the event log and the metrics when they are returned.
// Errnos: EHOSTUNREACH no such peer in the VPC, or its host has no NIC to send to; EACCES the
// security groups forbid the connection, or the QP type altogether; EDQUOT the VPC has too many
// connections here; EOPNOTSUPP QP type or alternate path; EAGAIN no state from the controller yet,
// or no UDP source port left to tell the endpoint's packets by; ENODEV the context's endpoint or
// NIC is gone; EPERM a privileged Q_Key; EINVAL as the kernel gives it.
class Renamer {
 public:
  struct Parts {
    const SyncState& sync;
    const EndpointTable& endpoints;
    const PeerMap& peers;
    const NicTable& nics;
    conntrack::Tracker& tracker;
    ConnectionTable& connections;
    EventLog& events;
    const Clock& clock;
    const WirePolicy& wire;
    RenameMetrics* metrics = nullptr;  // none: nothing is counted
    PolicyMetrics* policy_metrics = nullptr;
    ConnectionJournal* journal = nullptr;  // none: nothing survives the agent
  };
  // Nothing is owned; all parts must outlive this.
  Renamer(Parts parts, RenameOptions options) : parts_(parts), options_(options) {}

  // Before CREATE_QP runs, and after it did. A QP that is not announced is taken in at its first
  // successful MODIFY_QP, with type 0.
  [[nodiscard]] Verdict<void> check_create_qp(const ContextInfo& context, uverbs::QpType type);
  void qp_created(const ContextInfo& context, std::uint32_t handle, Qpn qpn, uverbs::QpType type);
  void qp_destroyed(const ContextInfo& context, std::uint32_t handle);

  // Rewrites `command` in place to what the agent may execute. On refusal `command` must not be
  // executed.
  [[nodiscard]] Verdict<ModifyPlan> before_modify(const ContextInfo& context,
                                                  uverbs::ModifyQp& command);
  // `err`: what the kernel answered (errno, 0 done). A command that failed changes nothing.
  void after_modify(const ContextInfo& context, const ModifyPlan& plan, int err);

  // Before CREATE_AH runs, and after it did: `handle` is the kernel's, or the errno. As with
  // MODIFY_QP, whoever was given a plan must call after_create_ah(). REQUIRES:
  // is_address_handle(key), and no such key before.
  [[nodiscard]] Verdict<AddressHandlePlan> before_create_ah(const ContextInfo& context, QpKey key,
                                                            uverbs::CreateAh& command);
  void after_create_ah(const ContextInfo& context, const AddressHandlePlan& plan,
                       uverbs::ErrnoOr<std::uint32_t> handle);
  void ah_destroyed(QpKey key);

  // Carries out what a change of the state made of a connection, unless the QP has another one by
  // now.
  void enforce(const conntrack::Effect& effect, const Hands& hands);
  // UD QPs whom the rules of their endpoint let talk to nobody any more, and the end of one of them
  // if it is still so.
  [[nodiscard]] std::vector<QpKey> barred_datagrams() const;
  void bar_datagram(QpKey key, const Hands& hands);

  // Turns the kernel's answer back. Whatever the kernel put there, no GID of it gets through: both
  // address vectors are what the tenant last set, or zero.
  void after_query_qp(const ContextInfo& context, std::uint32_t handle,
                      uverbs::QueryQpResp& response);

  // QUERY_GID_ENTRY: EINVAL port or index out of range, like the kernel; the table has no holes.
  [[nodiscard]] Verdict<uverbs::GidEntry> gid_entry(const ContextInfo& context, std::uint32_t port,
                                                    std::uint32_t index) const;
  // QUERY_GID_TABLE: all ports, in order. Empty when the endpoint is gone.
  [[nodiscard]] std::vector<uverbs::GidEntry> gid_table(const ContextInfo& context) const;
  // gid_tbl_len of QUERY_PORT.
  [[nodiscard]] std::uint32_t gid_table_length(const ContextInfo& context) const;
  // node_guid and sys_image_guid of QUERY_DEVICE, whose own values tell the NIC's MAC. Zero when
  // the endpoint is gone.
  [[nodiscard]] uverbs::Guid device_guid(const ContextInfo& context) const;

  // All QPs of the context are gone.
  void context_closed(const ContextInfo& context);

  // --- after a restart of the agent ---
  struct RestoredQp {
    JournaledConnection known;  // with nothing but the key where the journal has nothing
    uverbs::QueryQpResp kernel;
  };
  // Takes in what the kernel has. No rule is asked, and no event says that it has connected.
  void restore_qp(const ContextInfo& context, const std::string& endpoint_name,
                  const RestoredQp& found);
  void restore_ah(const ContextInfo& context, const std::string& endpoint_name,
                  const JournaledConnection& known);
  // Those that are not admitted yet; and one of them: admitted, or cut. REQUIRES: the state of the
  // controller is here.
  [[nodiscard]] std::vector<QpKey> unadmitted() const;
  void readmit(const ContextInfo& context, QpKey key, const Hands& hands);

 private:
  [[nodiscard]] Verdict<ModifyPlan> decide(const ContextInfo& context,
                                           uverbs::ModifyQp& command) const;
  // `own`, `peer`: 0 where there is none.
  [[nodiscard]] Verdict<PathPtr> find_path(const ContextInfo& context, const Nic& nic,
                                           const uverbs::QpDest& want, Qpn own, Qpn peer) const;
  // What goes to the NIC in place of what the tenant asked for.
  [[nodiscard]] static uverbs::QpDest wire_dest(const Path& path, const uverbs::QpDest& asked);
  // Asks the security groups. The admission has its ticket.
  [[nodiscard]] Verdict<conntrack::Admission> admit(const ContextInfo& context, const char* verb,
                                                    QpKey key, conntrack::Transport transport,
                                                    const Path& path) const;
  // What the rules leave of the access flags that the tenant wants goes into the command.
  void narrow_access(ModifyPlan& plan, uverbs::ModifyQp& command) const;
  void narrow(const conntrack::Effect& effect, const Connection& held, const Hands& hands);
  void cut(conntrack::Effect::Cause cause, const Connection& held, std::string why,
           const Hands& hands);
  [[nodiscard]] bool may_use_datagrams(EndpointUid endpoint) const;
  void report_shadow(const ContextInfo& context, const char* verb, const Path& path,
                     const std::vector<conntrack::ShadowHit>& hits) const;
  [[nodiscard]] Verdict<void> check_transport(const ContextInfo& context,
                                              uverbs::QpType type) const;
  void report_admitted(QpKey key) const;
  void report_refusal(const ContextInfo& context, const char* verb, const Refusal& refusal);
  void report_end(const Connection& connection, const char* why);
  void report(std::shared_ptr<const EventSource> event);
  void show();
  [[nodiscard]] Connection new_connection(const ContextInfo& context, QpKey key) const;
  // What is to be known of it after a restart; `next`: before the kernel is asked.
  void journal(const Connection& connection,
               const std::optional<JournaledConnection::Leg>& next) const;
  void journal(QpKey key) const;
  void journal_intent(const ContextInfo& context, const ModifyPlan& plan) const;
  void forget(QpKey key) const {
    if (parts_.journal != nullptr) parts_.journal->remove(key);
  }

  const Parts parts_;
  const RenameOptions options_;
};

}  // namespace qmasq::vbond
