// SPDX-License-Identifier: Apache-2.0
#include "vbond/join/join.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string_view>
#include <utility>

#include "qmasq/v1/auth.grpc.pb.h"
#include "trust/certificate.h"
#include "trust/certificate_request.h"
#include "trust/join_token.h"
#include "trust/secret_file.h"
#include "trust/tls.h"

namespace qmasq::vbond {
namespace {

using Stub = v1::AuthService::Stub;

Error explain(const grpc::Status& status, const std::string& controller) {
  Code code = Code::kUnavailable;
  std::string text =
      fmt::format("cannot reach the controller at {}: {}", controller, status.error_message());
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      break;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      code = Code::kDeadlineExceeded;
      text = fmt::format("the controller at {} does not answer", controller);
      break;
    case grpc::StatusCode::UNIMPLEMENTED:
      code = Code::kUnsupported;
      text = fmt::format("the controller at {} knows no certificates: is it an older version?",
                         controller);
      break;
    default:
      code = status.error_code() == grpc::StatusCode::UNAUTHENTICATED ? Code::kUnauthenticated
                                                                      : Code::kPermissionDenied;
      text = fmt::format("the controller at {} refuses: {}", controller, status.error_message());
  }
  return {code, std::move(text), 0, {}};
}

template <typename Request>
Result<v1::Certificate> call(const JoinOptions& options,
                             const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                             grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                          v1::Certificate*),
                             const Request& request) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  Stub stub(grpc::CreateCustomChannel(options.controller, credentials, arguments));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + options.timeout);
  v1::Certificate made;
  grpc::Status status = (stub.*method)(&context, request, &made);
  if (!status.ok()) return tl::unexpected(explain(status, options.controller));
  return made;
}

// What came is looked at before it takes the place of what we have.
Result<trust::StoredIdentity> keep(const JoinOptions& options, const trust::PrivateKey& key,
                                   const v1::Certificate& made, const Clock& clock) {
  auto info = trust::verify_certificate(made.certificate(), made.ca_certificate(),
                                        trust::Purpose::kClient, clock.wall());
  if (!info) {
    return fail(info.error().code,
                fmt::format("the certificate that the controller made is no good here: {}; does "
                            "this host's clock go right?",
                            info.error().message));
  }
  if (info->identity.kind != trust::Identity::Kind::kHost) {
    return fail(Code::kFailedPrecondition, "the controller made a certificate of " +
                                               trust::name_of(info->identity) +
                                               ", which is no host");
  }
  QMASQ_TRY(
      trust::write_identity(options.certificates, key, made.certificate(), made.ca_certificate()));
  return trust::read_identity(options.certificates);
}

bool is_unix(const std::string& address) {
  return address.rfind("unix:", 0) == 0;
}

}  // namespace

Result<trust::StoredIdentity> join(const JoinOptions& options, const trust::Secret& token,
                                   const Clock& clock) {
  QMASQ_ASSIGN(auto parts, trust::parse_join_token(token.reveal()));
  QMASQ_ASSIGN(auto key, trust::PrivateKey::generate());
  v1::JoinHostRequest request;
  QMASQ_ASSIGN(*request.mutable_certificate_request(), trust::make_certificate_request(key));
  request.set_token(token.reveal());
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (!is_unix(options.controller)) {
    QMASQ_ASSIGN(credentials, trust::joining_credentials(parts.fingerprint, clock));
  }
  QMASQ_ASSIGN(v1::Certificate made, call(options, credentials, &Stub::JoinHost, request));
  auto shown = trust::fingerprint_of(made.ca_certificate());
  if (!shown || *shown != parts.fingerprint) {
    return fail(Code::kUnauthenticated,
                "the controller answers with another CA than the join token names");
  }
  return keep(options, key, made, clock);
}

Result<trust::StoredIdentity> renew(const JoinOptions& options, const Clock& clock) {
  QMASQ_ASSIGN(auto held, trust::read_identity(options.certificates));
  QMASQ_ASSIGN(auto key, trust::PrivateKey::generate());
  v1::RenewCertificateRequest request;
  QMASQ_ASSIGN(*request.mutable_certificate_request(), trust::make_certificate_request(key));
  QMASQ_ASSIGN(auto credentials, trust::client_credentials(options.certificates, clock));
  QMASQ_ASSIGN(v1::Certificate made, call(options, credentials, &Stub::RenewCertificate, request));
  // The same CA: another one is for a new token to bring.
  if (auto info = trust::verify_certificate(made.certificate(), held.ca_certificate,
                                            trust::Purpose::kClient, clock.wall());
      !info) {
    return fail(info.error().code, "the renewed certificate: " + info.error().message);
  }
  *made.mutable_ca_certificate() = held.ca_certificate;
  return keep(options, key, made, clock);
}

Result<trust::Secret> read_token(const std::string& path) {
  constexpr std::size_t kMost = 4096;
  std::string text;
  if (path == "-") {
    std::array<char, kMost> buffer{};
    ssize_t got = 0;
    while (text.size() < kMost &&
           ((got = ::read(STDIN_FILENO, buffer.data(), buffer.size())) > 0 || errno == EINTR)) {
      if (got > 0) text.append(buffer.data(), static_cast<std::size_t>(got));
      errno = 0;
    }
    ::explicit_bzero(buffer.data(), buffer.size());
  } else {
    QMASQ_ASSIGN(trust::Secret whole, trust::read_secret_file(path));
    text = whole.reveal();
  }
  constexpr std::string_view kSpace = " \t\r\n";
  std::size_t begin = text.find_first_not_of(kSpace);
  std::size_t end = text.find_last_not_of(kSpace);
  trust::Secret token(begin == std::string::npos ? "" : text.substr(begin, end - begin + 1));
  ::explicit_bzero(text.data(), text.size());
  if (token.empty()) {
    return fail(Code::kInvalidArgument,
                fmt::format("there is no join token in {}", path == "-" ? "the input" : path));
  }
  return token;
}

}  // namespace qmasq::vbond
