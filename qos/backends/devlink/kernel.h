// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "qos/backends/devlink/rates.h"

namespace qmasq::qos::devlink {

// Rate objects of the running kernel, over generic netlink. In the network namespace of the calling
// thread, as devlink devices belong to one. Changes need CAP_NET_ADMIN; an answer is waited for
// some seconds, as drivers talk to firmware.
//
// kUnsupported: this kernel has no devlink. kNotFound: there is no such device in this namespace.
[[nodiscard]] Result<std::unique_ptr<Rates>> open_kernel_rates(const Handle& handle);

}  // namespace qmasq::qos::devlink
