// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "common/result.h"

namespace qmasq::trust {

// Who a certificate speaks for. It stands in the certificate as its one URI name:
// "qmasq://controller", "qmasq://hosts/hostA", "qmasq://accesses/alice". Pure.
struct Identity {
  enum class Kind { kController, kHost, kAccess };
  Kind kind = Kind::kController;
  std::string id;  // empty for the controller
  bool operator==(const Identity&) const = default;
};

// "controller", "hosts/hostA", "accesses/alice".
[[nodiscard]] std::string name_of(const Identity& identity);
[[nodiscard]] std::string uri_of(const Identity& identity);
[[nodiscard]] Result<Identity> identity_of_name(std::string_view name);
[[nodiscard]] Result<Identity> identity_of_uri(std::string_view uri);

}  // namespace qmasq::trust
