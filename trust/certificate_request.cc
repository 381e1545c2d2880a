// SPDX-License-Identifier: Apache-2.0
#include "trust/certificate_request.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "trust/openssl.h"

namespace qmasq::trust {
namespace {

constexpr std::size_t kMaxRequest = 16 << 10;

}  // namespace

Result<std::string> make_certificate_request(const PrivateKey& key) {
  openssl::Request request(X509_REQ_new());
  openssl::Bio bio(BIO_new(BIO_s_mem()));
  if (!request || !bio || X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      X509_REQ_set_pubkey(request.get(), key.handle()) != 1 ||
      X509_REQ_sign(request.get(), key.handle(), EVP_sha256()) <= 0 ||
      PEM_write_bio_X509_REQ(bio.get(), request.get()) != 1) {
    return openssl::fail_openssl("cannot make a certificate request");
  }
  return openssl::written(bio.get());
}

Result<PublicKey> read_certificate_request(std::string_view pem) {
  if (pem.empty()) return fail(Code::kInvalidArgument, "there is no certificate request");
  if (pem.size() > kMaxRequest) {
    return fail(Code::kInvalidArgument,
                fmt::format("a certificate request has at most {} bytes", kMaxRequest));
  }
  auto bio = openssl::reader(pem);
  openssl::Request request(PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr));
  if (!request) {
    ERR_clear_error();
    return fail(Code::kInvalidArgument, "this is not a certificate request (PKCS #10) in PEM form");
  }
  std::shared_ptr<EVP_PKEY> key(X509_REQ_get_pubkey(request.get()), EVP_PKEY_free);
  if (!key) {
    ERR_clear_error();
    return fail(Code::kInvalidArgument, "the certificate request has no key that can be used");
  }
  // Before the signature: it costs what its key's kind makes it cost.
  QMASQ_TRY(check_key_kind(key.get()));
  if (X509_REQ_verify(request.get(), key.get()) != 1) {
    ERR_clear_error();
    return fail(Code::kInvalidArgument,
                "the certificate request is not signed with the key that it names");
  }
  return PublicKey(std::move(key));
}

}  // namespace qmasq::trust
