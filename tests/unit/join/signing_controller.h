// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>

#include "common/clock.h"
#include "qmasq/v1/auth.grpc.pb.h"
#include "tests/support/temp_dir.h"
#include "trust/authority.h"
#include "trust/certificate_request.h"
#include "trust/join_token.h"
#include "trust/stored_identity.h"
#include "trust/tls.h"

namespace qmasq::test {

// What of a controller a joining agent meets: a CA, TLS, one token that is good once.
class SigningController final : public v1::AuthService::Service {
 public:
  explicit SigningController(std::string host = "hostA")
      : host_(std::move(host)),
        authority_(*trust::Authority::create("test", clock_.wall(), std::chrono::hours(1000))) {
    auto key = *trust::PrivateKey::generate();
    trust::IssueOptions options;
    options.purpose = trust::Purpose::kServer;
    options.now = clock_.wall();
    options.validity = std::chrono::hours(10);
    auto issued = *authority_.issue(trust::public_half(key), options);
    EXPECT_TRUE(
        trust::write_identity(directory_.file("tls"), key, issued.pem, authority_.certificate()));
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", *trust::server_credentials(directory_.file("tls")),
                             &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    token_ = trust::make_join_token(authority_.fingerprint())->reveal();
  }
  ~SigningController() override {
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
  }

  grpc::Status JoinHost(grpc::ServerContext*, const v1::JoinHostRequest* request,
                        v1::Certificate* out) override {
    if (request->token() != token_ || used_.exchange(true)) {
      return {grpc::StatusCode::UNAUTHENTICATED, "the token was used already, or is none of ours"};
    }
    return sign(request->certificate_request(), out);
  }
  grpc::Status RenewCertificate(grpc::ServerContext* context,
                                const v1::RenewCertificateRequest* request,
                                v1::Certificate* out) override {
    auto info =
        trust::verify_certificate(trust::peer_certificate(*context->auth_context()),
                                  authority_.certificate(), trust::Purpose::kClient, clock_.wall());
    if (!info || revoked) {
      return {grpc::StatusCode::UNAUTHENTICATED, "the certificate of hosts/hostA was revoked"};
    }
    ++renewals;
    return sign(request->certificate_request(), out);
  }

  [[nodiscard]] std::string address() const { return fmt::format("127.0.0.1:{}", port_); }
  [[nodiscard]] const std::string& token() const { return token_; }
  [[nodiscard]] const trust::Authority& authority() const { return authority_; }

  std::atomic<std::int64_t> seconds{3600};  // of the certificates that it makes
  std::atomic<bool> revoked = false;
  std::atomic<int> renewals = 0;

 private:
  grpc::Status sign(const std::string& request, v1::Certificate* out) {
    auto key = trust::read_certificate_request(request);
    if (!key) return {grpc::StatusCode::INVALID_ARGUMENT, key.error().message};
    trust::IssueOptions options;
    options.identity = {trust::Identity::Kind::kHost, host_};
    options.now = clock_.wall();
    options.validity = std::chrono::seconds(seconds.load());
    auto issued = authority_.issue(*key, options);
    if (!issued) return {grpc::StatusCode::INTERNAL, issued.error().message};
    out->set_certificate(issued->pem);
    out->set_ca_certificate(authority_.certificate());
    return grpc::Status::OK;
  }

  const std::string host_;
  SystemClock clock_;
  testing::TempDir directory_;
  trust::Authority authority_;
  int port_ = 0;
  std::string token_;
  std::atomic<bool> used_ = false;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace qmasq::test
