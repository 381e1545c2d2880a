// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "common/result.h"
#include "trust/certificate.h"
#include "trust/key.h"

struct x509_st;  // OpenSSL's X509

namespace qmasq::trust {

struct IssueOptions {
  Identity identity;
  Purpose purpose = Purpose::kClient;
  // From a little before `now`, for clocks that differ, to `now + validity`, but not beyond the
  // CA's own end.
  WallTime now;
  std::chrono::seconds validity{0};
  // Of a server, beside its identity.
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
};

struct IssuedCertificate {
  std::string pem;
  CertificateInfo info;
};

// A CA of one installation. Immutable; any thread.
class Authority {
 public:
  // Signs itself. `name` is for people.
  [[nodiscard]] static Result<Authority> create(std::string_view name, WallTime now,
                                                std::chrono::seconds validity);
  // kInvalidArgument where the key is not the certificate's.
  [[nodiscard]] static Result<Authority> load(std::string_view certificate_pem,
                                              std::string_view key_pem);

  [[nodiscard]] Result<IssuedCertificate> issue(const PublicKey& key,
                                                const IssueOptions& options) const;

  [[nodiscard]] const std::string& certificate() const { return pem_; }
  [[nodiscard]] const std::string& fingerprint() const { return fingerprint_; }
  [[nodiscard]] const PrivateKey& key() const { return key_; }

 private:
  Authority(PrivateKey key, std::shared_ptr<x509_st> certificate, std::string pem,
            std::string fingerprint);
  PrivateKey key_;
  std::shared_ptr<x509_st> certificate_;
  std::string pem_;
  std::string fingerprint_;
};

}  // namespace qmasq::trust
