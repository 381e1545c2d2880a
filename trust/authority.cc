// SPDX-License-Identifier: Apache-2.0
#include "trust/authority.h"

#include <fmt/format.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>

#include "trust/openssl.h"

namespace qmasq::trust {
namespace {

constexpr std::chrono::minutes kClockSkew{5};

// 128 random bits: nobody can guess the next one, and no two are alike.
bool set_serial(X509* certificate) {
  std::array<unsigned char, 16> bytes{};
  if (RAND_bytes(bytes.data(), bytes.size()) != 1) return false;
  openssl::BigNumber number(BN_bin2bn(bytes.data(), bytes.size(), nullptr));
  return number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool set_times(X509* certificate, WallTime from, WallTime to) {
  using std::chrono::system_clock;
  return ASN1_TIME_set(X509_getm_notBefore(certificate), system_clock::to_time_t(from)) !=
             nullptr &&
         ASN1_TIME_set(X509_getm_notAfter(certificate), system_clock::to_time_t(to)) != nullptr;
}

bool set_common_name(X509_NAME* name, std::string_view text) {
  // The field holds 64 bytes; it is for people, the URI decides.
  text = text.substr(0, 64);
  return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(text.data()),
                                    static_cast<int>(text.size()), -1, 0) == 1;
}

bool add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  openssl::Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool add_name(GENERAL_NAMES* names, int type, const std::string& text) {
  GENERAL_NAME* name =
      a2i_GENERAL_NAME(nullptr, nullptr, nullptr, type, const_cast<char*>(text.c_str()), 0);
  if (name == nullptr) return false;
  if (sk_GENERAL_NAME_push(names, name) > 0) return true;
  GENERAL_NAME_free(name);
  return false;
}

// By hand, not as text for OpenSSL's parser: a name with a comma would become two.
bool add_names(X509* certificate, const IssueOptions& options) {
  openssl::Names names(sk_GENERAL_NAME_new_null());
  if (!names || !add_name(names.get(), GEN_URI, uri_of(options.identity))) return false;
  for (const auto& dns : options.dns_names)
    if (!add_name(names.get(), GEN_DNS, dns)) return false;
  for (const auto& ip : options.ip_addresses)
    if (!add_name(names.get(), GEN_IPADD, ip)) return false;
  return X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_APPEND) ==
         1;
}

std::shared_ptr<X509> share(openssl::Certificate certificate) {
  return {certificate.release(), X509_free};
}

}  // namespace

Authority::Authority(PrivateKey key, std::shared_ptr<X509> certificate, std::string pem,
                     std::string fingerprint)
    : key_(std::move(key)),
      certificate_(std::move(certificate)),
      pem_(std::move(pem)),
      fingerprint_(std::move(fingerprint)) {}

Result<Authority> Authority::create(std::string_view name, WallTime now,
                                    std::chrono::seconds validity) {
  QMASQ_ASSIGN(PrivateKey key, PrivateKey::generate());
  openssl::Certificate made(X509_new());
  X509* raw = made.get();
  if (raw == nullptr || X509_set_version(raw, X509_VERSION_3) != 1 || !set_serial(raw) ||
      !set_times(raw, now - kClockSkew, now + validity) ||
      !set_common_name(X509_get_subject_name(raw), name) ||
      X509_set_issuer_name(raw, X509_get_subject_name(raw)) != 1 ||
      X509_set_pubkey(raw, key.handle()) != 1 ||
      !add_extension(raw, raw, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
      !add_extension(raw, raw, NID_key_usage, "critical,keyCertSign,cRLSign") ||
      !add_extension(raw, raw, NID_subject_key_identifier, "hash") ||
      X509_sign(raw, key.handle(), EVP_sha256()) <= 0) {
    return openssl::fail_openssl("cannot make a CA");
  }
  std::string pem = openssl::to_pem(raw);
  QMASQ_ASSIGN(std::string fingerprint, fingerprint_of(pem));
  return Authority(std::move(key), share(std::move(made)), std::move(pem), std::move(fingerprint));
}

Result<Authority> Authority::load(std::string_view certificate_pem, std::string_view key_pem) {
  QMASQ_ASSIGN(auto certificate, openssl::parse_certificate(certificate_pem));
  QMASQ_ASSIGN(PrivateKey key, PrivateKey::from_pem(key_pem));
  if (X509_check_private_key(certificate.get(), key.handle()) != 1) {
    return openssl::fail_openssl("the CA's key does not belong to its certificate",
                                 Code::kInvalidArgument);
  }
  std::string pem = openssl::to_pem(certificate.get());
  QMASQ_ASSIGN(std::string fingerprint, fingerprint_of(pem));
  return Authority(std::move(key), share(std::move(certificate)), std::move(pem),
                   std::move(fingerprint));
}

Result<IssuedCertificate> Authority::issue(const PublicKey& key,
                                           const IssueOptions& options) const {
  QMASQ_TRY(check_key_kind(key.handle()));
  QMASQ_ASSIGN(WallTime end, expiry_of(pem_));
  if (options.validity <= std::chrono::seconds(0) || end <= options.now) {
    return fail(Code::kFailedPrecondition, "the CA has expired: it must be made anew");
  }
  end = std::min(end, options.now + options.validity);
  const bool server = options.purpose == Purpose::kServer;
  openssl::Certificate made(X509_new());
  X509* raw = made.get();
  X509* issuer = certificate_.get();
  if (raw == nullptr || X509_set_version(raw, X509_VERSION_3) != 1 || !set_serial(raw) ||
      !set_times(raw, options.now - kClockSkew, end) ||
      !set_common_name(X509_get_subject_name(raw), name_of(options.identity)) ||
      X509_set_issuer_name(raw, X509_get_subject_name(issuer)) != 1 ||
      X509_set_pubkey(raw, key.handle()) != 1 ||
      !add_extension(raw, issuer, NID_basic_constraints, "critical,CA:FALSE") ||
      !add_extension(raw, issuer, NID_key_usage, "critical,digitalSignature") ||
      !add_extension(raw, issuer, NID_ext_key_usage, server ? "serverAuth" : "clientAuth") ||
      !add_extension(raw, issuer, NID_subject_key_identifier, "hash") ||
      !add_extension(raw, issuer, NID_authority_key_identifier, "keyid:always") ||
      !add_names(raw, options) || X509_sign(raw, key_.handle(), EVP_sha256()) <= 0) {
    return openssl::fail_openssl("cannot issue a certificate");
  }
  IssuedCertificate issued{openssl::to_pem(raw), {}};
  QMASQ_ASSIGN(issued.info, read_certificate(issued.pem));
  return issued;
}

}  // namespace qmasq::trust
