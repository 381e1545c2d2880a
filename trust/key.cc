// SPDX-License-Identifier: Apache-2.0
#include "trust/key.h"

#include <openssl/pem.h>

#include <array>

#include "trust/openssl.h"

namespace qmasq::trust {
namespace {

std::shared_ptr<EVP_PKEY> share(EVP_PKEY* key) {
  return {key, EVP_PKEY_free};
}

// Never asks at a terminal, which OpenSSL does by default.
int no_passphrase(char*, int, int, void*) {
  return -1;
}

}  // namespace

Status check_key_kind(EVP_PKEY* key) {
  std::array<char, 32> group{};
  std::size_t size = 0;
  if (EVP_PKEY_is_a(key, "EC") == 1 &&
      EVP_PKEY_get_group_name(key, group.data(), group.size(), &size) == 1 &&
      std::string_view(group.data(), size) == "prime256v1") {
    return {};
  }
  return fail(Code::kInvalidArgument, "the key is not an ECDSA key on the curve P-256");
}

Result<PrivateKey> PrivateKey::generate() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  if (key == nullptr) return openssl::fail_openssl("cannot make a key");
  return PrivateKey(share(key));
}

Result<PrivateKey> PrivateKey::from_pem(std::string_view pem) {
  auto bio = openssl::reader(pem);
  EVP_PKEY* key = PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr);
  if (key == nullptr) {
    return openssl::fail_openssl("there is no private key in PEM form", Code::kInvalidArgument);
  }
  PrivateKey out(share(key));
  QMASQ_TRY(check_key_kind(key));
  return out;
}

Result<Secret> PrivateKey::pem() const {
  openssl::Bio bio(BIO_new(BIO_s_secmem()));
  if (!bio || PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr,
                                            nullptr) != 1) {
    return openssl::fail_openssl("cannot write a key");
  }
  return Secret(openssl::written(bio.get()));
}

PublicKey public_half(const PrivateKey& key) {
  EVP_PKEY_up_ref(key.handle());
  return PublicKey(share(key.handle()));
}

}  // namespace qmasq::trust
