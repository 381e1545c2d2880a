// SPDX-License-Identifier: Apache-2.0
#include "vbond/admission/report.h"

#include "vbond/admission/admission_control.h"

namespace qmasq::vbond {

void report(const AdmissionControl& admission, v1::HostQos& out) {
  out.clear_quotas();
  out.clear_verb_rates();
  for (const QuotaUse& use : admission.quotas()) {
    v1::QuotaUse& to = *out.add_quotas();
    to.set_name(use.name);
    to.set_resource(to_string(use.resource));
    to.set_used(use.used);
    to.set_limit(use.limit.value_or(0));
    to.set_refused(use.refused);
  }
  for (const VerbRateUse& use : admission.verb_rates()) {
    v1::VerbRateUse& to = *out.add_verb_rates();
    to.set_name(use.name);
    to.set_verb(to_string(use.kind));
    to.set_admitted(use.admitted);
    to.set_refused(use.refused);
    to.set_per_second(use.rate.per_second);
    to.set_burst(use.rate.burst);
  }
}

}  // namespace qmasq::vbond
