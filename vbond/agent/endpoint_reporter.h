// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <mutex>
#include <set>

#include "vbond/bond/binder.h"
#include "vbond/intercept/interceptor.h"
#include "vbond/qos/qos_manager.h"
#include "vbond/rename/connection_table.h"
#include "vbond/sync/sync_client.h"

namespace qmasq::vbond {

// Tells the controller how the endpoints of this host stand: their bond, how many programs and QPs
// they have, and whether their limits hold. Thread-safe.
class EndpointReporter {
 public:
  // Nothing is owned.
  EndpointReporter(const Binder& binder, const Interceptor& interceptor,
                   const ConnectionTable& connections, const QosManager& qos, SyncClient& sync)
      : binder_(binder),
        interceptor_(interceptor),
        connections_(connections),
        qos_(qos),
        sync_(sync) {}

  // Takes stock. What did not change is not sent again.
  void refresh();

 private:
  const Binder& binder_;
  const Interceptor& interceptor_;
  const ConnectionTable& connections_;
  const QosManager& qos_;
  SyncClient& sync_;
  std::mutex mutex_;
  std::set<EndpointUid> reported_;  // guarded by mutex_
};

[[nodiscard]] EndpointReport make_report(const BondStatus& bond);

}  // namespace qmasq::vbond
