// SPDX-License-Identifier: Apache-2.0
#include "trust/join_token.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>

#include "trust/openssl.h"

namespace qmasq::trust {
namespace {

constexpr std::string_view kVersion = "qmasq1";
constexpr std::size_t kSecretBytes = 32;
constexpr std::size_t kSecretText = 43;
constexpr std::size_t kFingerprintText = 64;
constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string base64url(const unsigned char* bytes, std::size_t count) {
  std::string out;
  unsigned bits = 0;
  unsigned have = 0;
  for (std::size_t i = 0; i < count; ++i) {
    bits = (bits << 8) | bytes[i];
    have += 8;
    while (have >= 6) {
      have -= 6;
      out += kAlphabet[(bits >> have) & 63];
    }
  }
  if (have > 0) out += kAlphabet[(bits << (6 - have)) & 63];
  return out;
}

bool all_of(std::string_view text, std::string_view alphabet) {
  return text.find_first_not_of(alphabet) == std::string_view::npos;
}

}  // namespace

Result<Secret> make_join_token(std::string_view ca_fingerprint) {
  std::array<unsigned char, kSecretBytes> bytes{};
  if (RAND_bytes(bytes.data(), bytes.size()) != 1) {
    return openssl::fail_openssl("cannot make a secret");
  }
  std::string token(kVersion);
  token += '.';
  token += base64url(bytes.data(), bytes.size());
  token += '.';
  token += ca_fingerprint;
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return Secret(std::move(token));
}

Result<JoinTokenParts> parse_join_token(std::string_view token) {
  auto wrong = [] {
    return fail(Code::kInvalidArgument,
                "this is not a join token: it has the form qmasq1.SECRET.FINGERPRINT, in one line");
  };
  if (token.size() != kVersion.size() + kSecretText + kFingerprintText + 2) return wrong();
  std::string_view secret = token.substr(kVersion.size() + 1, kSecretText);
  std::string_view fingerprint = token.substr(token.size() - kFingerprintText);
  if (!token.starts_with(kVersion) || token[kVersion.size()] != '.' ||
      token[kVersion.size() + 1 + kSecretText] != '.' || !all_of(secret, kAlphabet) ||
      !all_of(fingerprint, "0123456789abcdef")) {
    return wrong();
  }
  return JoinTokenParts{Secret(std::string(secret)), std::string(fingerprint)};
}

Result<std::string> hash_join_secret(const Secret& secret) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  const auto& text = secret.reveal();
  if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) {
    return openssl::fail_openssl("cannot hash a token");
  }
  return openssl::hex(digest.data(), size);
}

bool equal_secrets(std::string_view one, std::string_view other) {
  return one.size() == other.size() && CRYPTO_memcmp(one.data(), other.data(), one.size()) == 0;
}

}  // namespace qmasq::trust
