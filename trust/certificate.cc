// SPDX-License-Identifier: Apache-2.0
#include "trust/certificate.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <array>
#include <ctime>

#include "trust/openssl.h"

namespace qmasq::trust {
namespace {

Result<WallTime> time_of(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) {
    return fail(Code::kInvalidArgument, "the certificate has a time that is none");
  }
  return std::chrono::system_clock::from_time_t(::timegm(&parts));
}

Result<std::string> serial_of(const X509* certificate) {
  openssl::BigNumber number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  std::array<unsigned char, 20> bytes{};
  if (!number || BN_is_negative(number.get()) != 0 ||
      BN_num_bytes(number.get()) > static_cast<int>(bytes.size())) {
    return fail(Code::kInvalidArgument, "the certificate's serial number is out of bounds");
  }
  int size = BN_bn2bin(number.get(), bytes.data());
  return openssl::hex(bytes.data(), static_cast<std::size_t>(size));
}

Result<std::string> digest_of(const X509* certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  if (X509_digest(certificate, EVP_sha256(), digest.data(), &size) != 1) {
    return openssl::fail_openssl("cannot hash a certificate");
  }
  return openssl::hex(digest.data(), size);
}

// Exactly one URI: a second would let two readers see two callers.
Result<Identity> identity_of(const X509* certificate) {
  openssl::Names names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  const ASN1_IA5STRING* uri = nullptr;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    if (uri != nullptr) {
      return fail(Code::kInvalidArgument, "the certificate names more than one holder");
    }
    uri = name->d.uniformResourceIdentifier;
  }
  if (uri == nullptr) return fail(Code::kInvalidArgument, "the certificate names no holder");
  // With its length: a NUL inside must not end it.
  return identity_of_uri({reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                          static_cast<std::size_t>(ASN1_STRING_length(uri))});
}

Result<CertificateInfo> info_of(const X509* certificate) {
  CertificateInfo info;
  QMASQ_ASSIGN(info.identity, identity_of(certificate));
  QMASQ_ASSIGN(info.serial, serial_of(certificate));
  QMASQ_ASSIGN(info.fingerprint, digest_of(certificate));
  QMASQ_ASSIGN(info.not_before, time_of(X509_get0_notBefore(certificate)));
  QMASQ_ASSIGN(info.not_after, time_of(X509_get0_notAfter(certificate)));
  return info;
}

std::string utc(WallTime time) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

tl::unexpected<Error> refusal(int reason, const X509* certificate, WallTime now) {
  auto refuse = [](std::string text) { return fail(Code::kUnauthenticated, std::move(text)); };
  auto when = [](Result<WallTime> time) { return time ? utc(*time) : std::string("some time"); };
  switch (reason) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return refuse(fmt::format("the certificate expired on {} (it is {} here)",
                                when(time_of(X509_get0_notAfter(certificate))), utc(now)));
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return refuse(fmt::format("the certificate is not valid before {} (it is {} here)",
                                when(time_of(X509_get0_notBefore(certificate))), utc(now)));
    case X509_V_ERR_INVALID_PURPOSE:
      return refuse("the certificate was made for another purpose");
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return refuse("the certificate was not signed by this installation's CA");
    default:
      return refuse(fmt::format("the certificate is not accepted: {}",
                                X509_verify_cert_error_string(reason)));
  }
}

}  // namespace

Result<CertificateInfo> read_certificate(std::string_view pem) {
  QMASQ_ASSIGN(auto certificate, openssl::parse_certificate(pem));
  return info_of(certificate.get());
}

Result<std::string> fingerprint_of(std::string_view pem) {
  QMASQ_ASSIGN(auto certificate, openssl::parse_certificate(pem));
  return digest_of(certificate.get());
}

Result<WallTime> expiry_of(std::string_view pem) {
  QMASQ_ASSIGN(auto certificate, openssl::parse_certificate(pem));
  return time_of(X509_get0_notAfter(certificate.get()));
}

Result<std::string> find_by_fingerprint(std::string_view chain, std::string_view fingerprint) {
  auto bio = openssl::reader(chain);
  constexpr int kMost = 8;
  for (int i = 0; i < kMost; ++i) {
    openssl::Certificate next(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (!next) break;
    QMASQ_ASSIGN(std::string digest, digest_of(next.get()));
    if (digest == fingerprint) return openssl::to_pem(next.get());
  }
  ERR_clear_error();
  return fail(Code::kNotFound, "no certificate in the chain has this fingerprint");
}

Result<CertificateInfo> verify_certificate(std::string_view pem, std::string_view ca_pem,
                                           Purpose purpose, WallTime now) {
  auto parsed = openssl::parse_certificate(pem);
  if (!parsed) return fail(Code::kUnauthenticated, parsed.error().message);
  QMASQ_ASSIGN(auto ca, openssl::parse_certificate(ca_pem));
  openssl::Store store(X509_STORE_new());
  openssl::StoreContext context(X509_STORE_CTX_new());
  if (!store || !context || X509_STORE_add_cert(store.get(), ca.get()) != 1 ||
      X509_STORE_CTX_init(context.get(), store.get(), parsed->get(), nullptr) != 1) {
    return openssl::fail_openssl("cannot verify a certificate");
  }
  X509_VERIFY_PARAM* wanted = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(wanted, std::chrono::system_clock::to_time_t(now));
  X509_VERIFY_PARAM_set_purpose(
      wanted, purpose == Purpose::kServer ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT);
  // The CA signs what it signs itself: no certificate of ours signs others.
  X509_VERIFY_PARAM_set_depth(wanted, 0);
  if (X509_verify_cert(context.get()) != 1) {
    int reason = X509_STORE_CTX_get_error(context.get());
    X509* at_fault = X509_STORE_CTX_get_current_cert(context.get());
    ERR_clear_error();
    return refusal(reason, at_fault != nullptr ? at_fault : parsed->get(), now);
  }
  auto info = info_of(parsed->get());
  if (!info) return fail(Code::kUnauthenticated, info.error().message);
  return info;
}

}  // namespace qmasq::trust
