// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "common/result.h"
#include "trust/certificate.h"
#include "trust/key.h"

// A directory that holds who we are: "identity.pem" (0600: private key, certificate, the CA's
// certificate) and "ca.pem" (whom we believe). Key and certificate are one file so that renewing
// both is one rename, and who reads them while that happens gets a pair. Blocking; any thread.
namespace qmasq::trust {

[[nodiscard]] std::string identity_file(const std::string& directory);
[[nodiscard]] std::string ca_file(const std::string& directory);

struct StoredIdentity {
  PrivateKey key;
  CertificateInfo info;
  std::string certificate;
  std::string ca_certificate;
};

// kNotFound where there is none. Files open to others are refused. Not verified: an expired one is
// for its reader to deal with.
[[nodiscard]] Result<StoredIdentity> read_identity(const std::string& directory);
// Makes the directory (0700) where it is missing.
[[nodiscard]] Status write_identity(const std::string& directory, const PrivateKey& key,
                                    const std::string& certificate,
                                    const std::string& ca_certificate);

}  // namespace qmasq::trust
