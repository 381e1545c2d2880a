// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <google/protobuf/message.h>

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "common/result.h"
#include "controller/model/auth_types.h"

// What each method demands of its caller. A method that is not in the list is nobody's: a new one
// is refused until somebody has thought about it. Pure.
namespace qmasq::controller {

enum class Need {
  kNothing,  // a proof of its own is in the request (JoinHost)
  kKnown,    // anybody who is somebody
  kRead,     // admins, viewers; VPC admins what is theirs
  kWrite,    // admins; VPC admins in what is theirs
  kOversee,  // admins and viewers
  kAdmin,    // admins
  kHost,     // a host; an admin of this machine
};

struct Permission {
  std::string_view method;  // "VpcService/CreateVpc"
  Need need = Need::kAdmin;
  // Fields of the request that name a VPC or something in one: "name", "vpc.name". Names of VPCs
  // that the caller may not see are refused with the words for those that do not exist.
  std::array<std::string_view, 2> names = {};
  // Bytes; no request of the method needs more.
  std::size_t max_request = 1 << 20;
};

[[nodiscard]] std::span<const Permission> permissions();
// Null: there is no such method.
[[nodiscard]] const Permission* find_permission(std::string_view method);

// kPermissionDenied: this caller may not; kNotFound: it is about a VPC that it does not see.
// `request` may be null where there is none yet.
[[nodiscard]] Status check_permission(const Caller& caller, const Permission& permission,
                                      const google::protobuf::Message* request);

// What a request is about, as it says itself: the first of its names, cut to 200 bytes of printable
// ASCII; and the id of the VPC in it, if it is one.
struct Subject {
  std::string resource;
  std::string vpc_id;
};
[[nodiscard]] Subject subject_of(const Permission& permission,
                                 const google::protobuf::Message& request);
// "admin", "vpc-admin".
[[nodiscard]] std::string_view to_string(Role role);

}  // namespace qmasq::controller
