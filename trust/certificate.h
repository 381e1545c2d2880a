// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "common/result.h"
#include "trust/identity.h"

// X.509 certificates in PEM form. What comes from a peer is hostile. Pure; any thread.
namespace qmasq::trust {

using WallTime = std::chrono::system_clock::time_point;

struct CertificateInfo {
  Identity identity;
  std::string serial;       // hexadecimal, lower case
  std::string fingerprint;  // SHA-256 of its DER form, hexadecimal, lower case
  WallTime not_before;
  WallTime not_after;
};

// What it says; nothing is verified. kInvalidArgument where it is no certificate of ours.
[[nodiscard]] Result<CertificateInfo> read_certificate(std::string_view pem);
// Of any certificate, the CA's for example.
[[nodiscard]] Result<std::string> fingerprint_of(std::string_view pem);
[[nodiscard]] Result<WallTime> expiry_of(std::string_view pem);
// The certificate with that fingerprint among those in `chain`; kNotFound.
[[nodiscard]] Result<std::string> find_by_fingerprint(std::string_view chain,
                                                      std::string_view fingerprint);

enum class Purpose { kServer, kClient };
// Whether this CA signed it, for this purpose, and it is valid at `now`; kUnauthenticated says
// which of these is not so. Revocation is another matter.
[[nodiscard]] Result<CertificateInfo> verify_certificate(std::string_view pem,
                                                         std::string_view ca_pem, Purpose purpose,
                                                         WallTime now);

}  // namespace qmasq::trust
