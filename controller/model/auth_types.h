// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// Who may do what, and who did what, as values. auth.proto tells what each means.
namespace qmasq::controller {

enum class Role : std::uint8_t { kNone = 0, kAdmin = 1, kViewer = 2, kVpcAdmin = 3, kHost = 4 };

struct Access {
  using Time = std::chrono::system_clock::time_point;
  std::string id;
  Role role = Role::kNone;
  std::vector<std::string> vpcs;  // ids, sorted; of a VPC admin
  std::optional<std::uint32_t> user_id;
  std::optional<std::uint32_t> group_id;
  Time create_time;
  std::optional<Time> expire_time;  // of its newest certificate; read, not written
  std::optional<Time> revoke_time;
};
using AccessPtr = std::shared_ptr<const Access>;

// A client certificate that was issued.
struct CertificateRecord {
  using Time = std::chrono::system_clock::time_point;
  std::string serial;
  std::string holder;  // "hosts/hostA", "accesses/alice"
  Time create_time;
  Time expire_time;
  std::optional<Time> revoke_time;
};

struct JoinTokenRecord {
  using Time = std::chrono::system_clock::time_point;
  std::string hash;
  std::string host_id;
  Time create_time;
  Time expire_time;
  std::optional<Time> use_time;
};

struct AuditRecord {
  using Time = std::chrono::system_clock::time_point;
  std::uint64_t sequence = 0;  // the store's
  Time time;                   // the store's
  bool refused = false;
  std::string caller;
  Role role = Role::kNone;
  std::string peer;
  std::string certificate_serial;
  std::string method;
  std::string resource;
  std::string vpc_id;  // that it is in, or empty
  std::string status = "OK";
  std::string message;
  std::string before;
  std::string after;
  std::uint64_t revision = 0;
};

struct AuditQuery {
  std::uint64_t before = 0;  // sequence; 0: from the newest
  // Only of one of these; nothing: of all.
  std::optional<std::vector<std::string>> vpcs;
  std::size_t limit = 100;
};

// How many of each kind the audit log keeps.
struct AuditRetention {
  std::uint64_t mutations = 100'000;
  std::uint64_t refusals = 10'000;
};

// Who a call comes from.
struct Caller {
  enum class Via { kUnix, kTls, kLoopback };
  std::string name = "unknown";  // "accesses/alice", "hosts/hostA", "uid/0", "loopback"
  Role role = Role::kNone;
  std::vector<std::string> vpcs;  // ids, sorted
  std::string peer;
  std::string certificate_serial;
  std::chrono::system_clock::time_point certificate_start;
  std::chrono::system_clock::time_point certificate_end;
  Via via = Via::kTls;

  // Sees only some VPCs, and not that there are others.
  [[nodiscard]] bool scoped() const { return role != Role::kAdmin && role != Role::kViewer; }
  [[nodiscard]] bool sees(std::string_view vpc_id) const {
    return !scoped() || std::binary_search(vpcs.begin(), vpcs.end(), vpc_id, std::less<>());
  }
  // This machine's administrator, who could read the CA's key as well.
  [[nodiscard]] bool local_admin() const { return role == Role::kAdmin && via != Via::kTls; }
};

}  // namespace qmasq::controller
