// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "common/rate.h"
#include "common/result.h"
#include "controller/store/store.h"
#include "qmasq/v1/qos.pb.h"

// Whether what hosts promise fits into what their NICs have. Used around a change, inside its
// transaction.
namespace qmasq::controller {

// Something on a host that is more than there is.
struct Excess {
  enum class Kind {
    kGuarantee,  // the guarantee of one policy, more than a NIC has
    kMaximum,    // the maximum of one policy, more than a NIC has
    kVpc,        // guarantees of a VPC's endpoints, together more than the VPC's maximum
    kNic,        // all guarantees together, more than a NIC has
  };
  Kind kind = Kind::kNic;
  std::string host_id;
  std::string device;   // but of kVpc
  VpcUid vpc;           // of kVpc
  QosPolicyUid policy;  // of kGuarantee and kMaximum; of kVpc: the VPC's
  BitsPerSecond asked;
  BitsPerSecond available;
};

using Oversubscriptions = std::vector<v1::Oversubscription>;

// What was too much before the change, and what is after it. Refuses what the change makes worse:
// what was forced once stands in nobody's way who does not add to it. Not thread-safe.
class GuaranteeCheck {
 public:
  struct Options {
    bool force = false;
    bool validate_only = false;
  };
  // The request's field at fault.
  using FieldOf = std::function<std::string(const Excess&)>;

  // Before the change. `hosts`: all on which it may make something worse. Costs some lookups for
  // each, and what has a policy there.
  [[nodiscard]] static Result<GuaranteeCheck> begin(ReadView& view,
                                                    std::vector<HostReference> hosts);
  // After the change. kFailedPrecondition: it asks for too much and is not forced. Otherwise what
  // does not fit on these hosts, if anybody is to be told (forced or validate_only), at most 100.
  [[nodiscard]] Result<Oversubscriptions> finish(ReadView& view, const Options& options,
                                                 const FieldOf& field_of) const;

 private:
  std::vector<HostReference> hosts_;
  std::vector<std::vector<Excess>> before_;  // by host
};

}  // namespace qmasq::controller
