// SPDX-License-Identifier: Apache-2.0
#include "trust/stored_identity.h"

#include <fmt/format.h>

#include "trust/openssl.h"
#include "trust/secret_file.h"

namespace qmasq::trust {

std::string identity_file(const std::string& directory) {
  return directory + "/identity.pem";
}

std::string ca_file(const std::string& directory) {
  return directory + "/ca.pem";
}

Result<StoredIdentity> read_identity(const std::string& directory) {
  const std::string path = identity_file(directory);
  QMASQ_ASSIGN(Secret text, read_secret_file(path));
  QMASQ_ASSIGN(std::string ca, read_text_file(ca_file(directory)));
  auto parse = [&]() -> Result<StoredIdentity> {
    QMASQ_ASSIGN(PrivateKey key, PrivateKey::from_pem(text.reveal()));
    QMASQ_ASSIGN(auto certificate, openssl::parse_certificate(text.reveal()));
    if (X509_check_private_key(certificate.get(), key.handle()) != 1) {
      return openssl::fail_openssl("the key does not belong to the certificate",
                                   Code::kFailedPrecondition);
    }
    std::string pem = openssl::to_pem(certificate.get());
    QMASQ_ASSIGN(auto info, read_certificate(pem));
    return StoredIdentity{std::move(key), std::move(info), std::move(pem), std::move(ca)};
  };
  auto parsed = parse();
  if (!parsed) return with_context(std::move(parsed).error(), path);
  return parsed;
}

Status write_identity(const std::string& directory, const PrivateKey& key,
                      const std::string& certificate, const std::string& ca_certificate) {
  QMASQ_TRY(make_secret_directory(directory));
  QMASQ_ASSIGN(Secret key_text, key.pem());
  Secret text(key_text.reveal() + certificate + ca_certificate);
  QMASQ_TRY(write_file_atomically(ca_file(directory), ca_certificate, 0644));
  return write_file_atomically(identity_file(directory), text.reveal(), 0600);
}

}  // namespace qmasq::trust
