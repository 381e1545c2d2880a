// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string_view>

#include "common/result.h"
#include "trust/secret.h"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY

namespace qmasq::trust {

// An ECDSA key on P-256, the one kind that we make and take: every TLS stack has it. Immutable; any
// thread.
class PrivateKey {
 public:
  [[nodiscard]] static Result<PrivateKey> generate();
  // The first private key in the text; not encrypted.
  [[nodiscard]] static Result<PrivateKey> from_pem(std::string_view pem);
  // PKCS #8.
  [[nodiscard]] Result<Secret> pem() const;
  [[nodiscard]] evp_pkey_st* handle() const { return key_.get(); }

 private:
  explicit PrivateKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  std::shared_ptr<evp_pkey_st> key_;
};

// Its other half, of somebody else. Immutable; any thread.
class PublicKey {
 public:
  explicit PublicKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  [[nodiscard]] evp_pkey_st* handle() const { return key_.get(); }

 private:
  std::shared_ptr<evp_pkey_st> key_;
};

[[nodiscard]] PublicKey public_half(const PrivateKey& key);
// Whether it is on P-256; kInvalidArgument otherwise.
[[nodiscard]] Status check_key_kind(evp_pkey_st* key);

}  // namespace qmasq::trust
