// SPDX-License-Identifier: Apache-2.0
#include "trust/tls.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <cstdlib>
#include <string_view>

#include "trust/stored_identity.h"

namespace qmasq::trust {
namespace {

namespace tls = grpc::experimental;

// A suite of TLS 1.2 that needs a key known beforehand. gRPC gives OpenSSL no such key, so that no
// handshake of TLS 1.2 finds a suite; those of TLS 1.3 are another list, which this leaves alone.
constexpr const char* kSuites = "PSK-AES128-GCM-SHA256";
constexpr const char* kVariable = "GRPC_SSL_CIPHER_SUITES";
constexpr unsigned kReloadSeconds = 5;

Status check_tls13() {
  const char* suites = ::getenv(kVariable);
  if (suites != nullptr && std::string_view(suites) == kSuites) return {};
  return fail(Code::kInternal, "TLS is used before require_tls13()");
}

// What makes a client believe a server. Either it knows the CA, or its fingerprint.
class ControllerVerifier final : public tls::ExternalCertificateVerifier {
 public:
  ControllerVerifier(std::string ca_pem, std::string fingerprint, const Clock& clock)
      : ca_pem_(std::move(ca_pem)), fingerprint_(std::move(fingerprint)), clock_(clock) {}

  bool Verify(tls::TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>,
              grpc::Status* status) override {
    auto checked = check(text(request->peer_cert()), text(request->peer_cert_full_chain()));
    if (!checked) {
      *status = {grpc::StatusCode::UNAUTHENTICATED,
                 "this is not our controller: " + checked.error().message};
    }
    return true;
  }
  void Cancel(tls::TlsCustomVerificationCheckRequest*) override {}

 private:
  static std::string text(grpc::string_ref ref) { return {ref.data(), ref.size()}; }

  Status check(const std::string& certificate, const std::string& chain) const {
    std::string ca = ca_pem_;
    if (ca.empty()) {
      auto shown = find_by_fingerprint(chain, fingerprint_);
      if (!shown) {
        return fail(Code::kUnauthenticated,
                    "it does not show the CA whose fingerprint the join token names");
      }
      ca = std::move(*shown);
    }
    QMASQ_ASSIGN(auto info, verify_certificate(certificate, ca, Purpose::kServer, clock_.wall()));
    if (info.identity.kind == Identity::Kind::kController) return {};
    return fail(Code::kUnauthenticated,
                "its certificate is of " + name_of(info.identity) + ", not of the controller");
  }

  const std::string ca_pem_;
  const std::string fingerprint_;
  const Clock& clock_;
};

Result<std::shared_ptr<grpc::ChannelCredentials>> make_channel_credentials(
    std::shared_ptr<tls::CertificateProviderInterface> provider, const std::string& ca_pem,
    const std::string& fingerprint, const Clock& clock) {
  tls::TlsChannelCredentialsOptions options;
  if (provider) {
    options.set_certificate_provider(std::move(provider));
    options.watch_identity_key_cert_pairs();
  }
  // Ours does all of it, with our words for what is wrong.
  options.set_verify_server_certs(false);
  options.set_check_call_host(false);
  options.set_certificate_verifier(tls::ExternalCertificateVerifier::Create<ControllerVerifier>(
      ca_pem, fingerprint, std::cref(clock)));
  auto credentials = tls::TlsCredentials(options);
  if (!credentials) return fail(Code::kInternal, "cannot make TLS credentials");
  return credentials;
}

std::string property(const grpc::AuthContext& context, const char* name) {
  auto values = context.FindPropertyValues(name);
  return values.empty() ? std::string() : std::string(values[0].data(), values[0].size());
}

}  // namespace

void require_tls13() {
  ::setenv(kVariable, kSuites, 1);
}

Result<std::shared_ptr<grpc::ServerCredentials>> server_credentials(const std::string& directory) {
  QMASQ_TRY(check_tls13());
  // gRPC says of files that it cannot use only that it cannot use them, and to its own log.
  QMASQ_TRY(read_identity(directory));
  const std::string file = identity_file(directory);
  tls::TlsServerCredentialsOptions options(
      std::make_shared<tls::FileWatcherCertificateProvider>(file, file, kReloadSeconds));
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_BUT_DONT_VERIFY);
  auto credentials = tls::TlsServerCredentials(options);
  if (!credentials) return fail(Code::kInternal, "cannot make TLS credentials");
  return credentials;
}

std::string peer_certificate(const grpc::AuthContext& context) {
  return property(context, GRPC_X509_PEM_CERT_PROPERTY_NAME);
}

bool is_tls(const grpc::AuthContext& context) {
  return property(context, GRPC_TRANSPORT_SECURITY_TYPE_PROPERTY_NAME) ==
         GRPC_TLS_TRANSPORT_SECURITY_TYPE;
}

Result<std::shared_ptr<grpc::ChannelCredentials>> client_credentials(const std::string& directory,
                                                                     const Clock& clock) {
  QMASQ_TRY(check_tls13());
  QMASQ_ASSIGN(StoredIdentity stored, read_identity(directory));
  const std::string file = identity_file(directory);
  return make_channel_credentials(
      std::make_shared<tls::FileWatcherCertificateProvider>(file, file, kReloadSeconds),
      stored.ca_certificate, {}, clock);
}

Result<std::shared_ptr<grpc::ChannelCredentials>> joining_credentials(
    const std::string& ca_fingerprint, const Clock& clock) {
  QMASQ_TRY(check_tls13());
  return make_channel_credentials(nullptr, {}, ca_fingerprint, clock);
}

}  // namespace qmasq::trust
