// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "qmasq/v1/auth.grpc.pb.h"
#include "qmasq/v1/security_group.grpc.pb.h"
#include "qmasq/v1/trace.grpc.pb.h"
#include "tests/integration/controller/controller_process.h"
#include "tests/support/temp_dir.h"
#include "trust/authority.h"

namespace qmasq::controller::testing {

// A controller with a CA, and callers of all kinds.
class AuthWorld {
 public:
  AuthWorld();

  // A channel of its own for each call: TLS with what is in the directory.
  [[nodiscard]] std::shared_ptr<grpc::Channel> channel(const std::string& directory);
  // TLS without a certificate.
  [[nodiscard]] std::shared_ptr<grpc::Channel> stranger();
  // The Unix socket, as this process' user.
  [[nodiscard]] std::shared_ptr<grpc::Channel> local() const { return process.channel(); }
  [[nodiscard]] std::string admin() const { return process.data_dir() + "/admin"; }

  // An access with a certificate; gives its directory.
  std::string make_access(const std::string& id, v1::Role role,
                          const std::vector<std::string>& vpcs = {}, int ttl_seconds = 0);
  std::string make_token(const std::string& host, int ttl_seconds = 0);
  grpc::Status join(const std::string& token, const std::string& request, v1::Certificate* out);
  // A host that has joined; gives its directory.
  std::string make_host(const std::string& id);
  // A certificate of another CA for that identity; it believes ours.
  std::string make_forged(const trust::Identity& identity);
  grpc::Status revoke_access(const std::string& id);
  grpc::Status revoke_host(const std::string& id);

  // Newest first, as root sees it.
  std::vector<v1::AuditRecord> audit(const std::string& filter = "");
  // A method by its name, with an empty request.
  static grpc::Status call(const std::shared_ptr<grpc::Channel>& channel,
                           const std::string& method);

  ControllerProcess process;
  SystemClock clock;
  qmasq::testing::TempDir dir;
};

// "qmasq.v1.VpcService/CreateVpc" of all services that the controller has, by their descriptors.
[[nodiscard]] std::vector<std::string> all_methods();

}  // namespace qmasq::controller::testing
