// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <google/protobuf/message.h>

#include <atomic>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "controller/auth/call_limits.h"
#include "controller/auth/permissions.h"
#include "controller/metrics.h"
#include "controller/store/store.h"

// What was done, in the transaction that did it, and what was refused, beside.
namespace qmasq::controller {

// Longest JSON of a resource that a record holds, bytes; what is longer is cut and says so.
inline constexpr std::size_t kMaxAuditJson = 16 << 10;

// A record with who and how; what it was about is for the caller to fill in.
[[nodiscard]] AuditRecord audit_record(const Caller& caller, std::string_view method);
[[nodiscard]] std::string audit_json(const google::protobuf::Message& message);
// Appends what the transaction did to resources: the one that the method is about, before and
// after. Nothing where nothing changed.
[[nodiscard]] Status audit_change(WriteView& view, const Caller& caller, std::string_view method,
                                  const AuditRetention& retention);

// Records of refusals. They are somebody else's to cause, so there are only so many: a few of each
// peer, some of all; then they are counted, and the next record says how many are missing. Any
// thread; blocks for a write.
class RefusalLog {
 public:
  RefusalLog(Store& store, const Clock& clock, ControllerMetrics& metrics,
             const AuditRetention& retention)
      : store_(store), clock_(clock), metrics_(metrics), retention_(retention) {}

  void note(const Caller& caller, std::string_view method, const Subject& subject,
            const Error& why);

 private:
  Store& store_;
  const Clock& clock_;
  ControllerMetrics& metrics_;
  const AuditRetention retention_;
  CallLimits limits_;
  std::atomic<std::uint64_t> dropped_{0};
};

// "192.0.2.7" of "192.0.2.7:51234"; what is no address and port comes back as it is.
[[nodiscard]] std::string peer_address(const std::string& peer);
// "PERMISSION_DENIED".
[[nodiscard]] std::string status_name(Code code);

}  // namespace qmasq::controller
