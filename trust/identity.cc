// SPDX-License-Identifier: Apache-2.0
#include "trust/identity.h"

#include "common/resource_name.h"

namespace qmasq::trust {
namespace {

constexpr std::string_view kScheme = "qmasq://";

}  // namespace

std::string name_of(const Identity& identity) {
  switch (identity.kind) {
    case Identity::Kind::kHost:
      return host_name(identity.id);
    case Identity::Kind::kAccess:
      return access_name(identity.id);
    case Identity::Kind::kController:
      break;
  }
  return "controller";
}

std::string uri_of(const Identity& identity) {
  return std::string(kScheme) + name_of(identity);
}

Result<Identity> identity_of_name(std::string_view name) {
  if (name == "controller") return Identity{};
  if (name.starts_with("hosts/")) {
    QMASQ_ASSIGN(std::string id, parse_host_name(name));
    return Identity{Identity::Kind::kHost, std::move(id)};
  }
  QMASQ_ASSIGN(std::string id, parse_access_name(name));
  return Identity{Identity::Kind::kAccess, std::move(id)};
}

Result<Identity> identity_of_uri(std::string_view uri) {
  if (!uri.starts_with(kScheme)) {
    return fail(Code::kInvalidArgument, "the name in the certificate is not one of ours");
  }
  return identity_of_name(uri.substr(kScheme.size()));
}

}  // namespace qmasq::trust
