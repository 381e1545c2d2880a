// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "vbond/bond/binder.h"
#include "vbond/netlink/types.h"

// What the interface of an endpoint is worth: a function of values.
namespace qmasq::vbond {

// `links`, `addresses`: of the whole namespace. `problems`: the overlay's, or empty. Fills state,
// message and observed_addresses. Addresses that are not the endpoint's are named in the message
// and otherwise ignored; link-local ones are nobody's business.
[[nodiscard]] BondStatus judge(const EndpointView& endpoint, const std::string& interface,
                               std::span<const netlink::Link> links,
                               std::span<const netlink::Address> addresses,
                               const std::string& problems);

}  // namespace qmasq::vbond
